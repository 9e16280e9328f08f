package pitr

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/wirejson"
)

// TestHistory runs the cases in testdata. Each file is a session with a new store, whose clock the cases set.
//
// Commands:
//
//	write [table=ID] [unrecorded]
//	TIME
//	put ITEM
//	delete ITEM
//	…
//		writes items, whose primary key is the string id, in one transaction at a time; unrecorded while recovery is off
//
//	state at=TIME|now [table=ID] [parts=N]
//		prints the items at a time, sorted by id; with parts, it reads N equal parts of the hash space one after the other
//
//	changes from=TIME to=TIME|now [table=ID]
//		prints how items have changed between two times, sorted by id
//
//	records [table=ID]
//		prints the number of records of each day
//
//	trim before=TIME|all [table=ID]
//		deletes whole days of the history
//
// Items are in DynamoDB's JSON, times in the form of RFC 3339. The table is 1 by default.
func TestHistory(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := newSession(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			table := uint32(1)
			d.MaybeScanArgs(t, "table", &table)
			switch d.Cmd {
			case "write":
				return s.write(t, d, table)
			case "state":
				return s.state(t, d, table)
			case "changes":
				return s.changes(t, d, table)
			case "records":
				return s.records(t, table)
			case "trim":
				before := Latest
				if text := argument(t, d, "before"); text != "all" {
					before = at(t, text)
				}
				if err := Trim(t.Context(), s.kv, table, before); err != nil {
					t.Fatal(err)
				}
				return s.records(t, table)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// session is a store and its clock.
type session struct {
	kv  kv.Store
	now time.Time
}

func newSession(t *testing.T) *session {
	s := new(session)
	store, err := pebblekv.Open(pebblekv.Options{Now: func() time.Time { return s.now }})
	if err != nil {
		t.Fatal(err)
	}
	s.kv = kv.Checked(store)
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// argument returns the value of a command's argument.
func argument(t *testing.T, d *datadriven.TestData, name string) (text string) {
	d.ScanArgs(t, name, &text)
	return text
}

func parseTime(t *testing.T, text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// at returns the first timestamp of a time's millisecond; Latest for now.
func at(t *testing.T, text string) kv.TS {
	if text == "now" {
		return Latest
	}
	return kv.AtMillis(parseTime(t, text).UnixMilli())
}

// parse parses an item in DynamoDB's JSON, and returns its storage key too.
func parse(t *testing.T, table uint32, text string) (key []byte, it attribute.Item) {
	var r wirejson.Reader
	r.Reset([]byte(text))
	it = attribute.ReadItem(&r).Clone()
	if err := r.Err(); err != nil || !r.Done() || it.Get("id") == nil {
		t.Fatalf("%s: %v", text, err)
	}
	partition := keyspace.AppendValue(nil, it.Get("id"))
	return keyspace.AppendPartition(nil, table, 0, partition, keyspace.KeysBounded), it
}

func (s *session) write(t *testing.T, d *datadriven.TestData, table uint32) string {
	when, rest, _ := strings.Cut(d.Input, "\n")
	s.now = parseTime(t, when)
	type write struct {
		key  []byte
		item attribute.Item // nil to delete it
	}
	var writes []write
	var hint [][]byte
	for _, line := range strings.Split(rest, "\n") {
		what, text, _ := strings.Cut(line, " ")
		key, it := parse(t, table, text)
		switch what {
		case "put":
		case "delete":
			it = nil
		default:
			d.Fatalf(t, "unknown write %s", line)
		}
		writes, hint = append(writes, write{key, it}), append(hint, key)
	}
	err := kv.Update(t.Context(), s.kv, kv.TxnOpt{Hint: hint, Stamped: true}, func(txn kv.Txn) error {
		var buf []byte
		for _, w := range writes {
			old, err := txn.Get(w.key)
			if err != nil {
				return err
			}
			if !d.HasArg("unrecorded") {
				if buf, err = Put(txn, w.key, attribute.Item(old), buf); err != nil {
					return err
				}
			}
			if w.item == nil {
				err = txn.Delete(w.key, 0)
			} else {
				err = txn.Put(w.key, w.item)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return "ok\n"
}

// read calls fn with a snapshot.
func (s *session) read(t *testing.T, fn func(context.Context, kv.Reader) error) {
	snap, err := s.kv.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := fn(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
}

// sorted returns the lines sorted; for none, it says so. It also checks that the suffixes of their keys ascend.
func sorted(t *testing.T, suffixes [][]byte, lines []string) string {
	for i := 1; i < len(suffixes); i++ {
		if bytes.Compare(suffixes[i-1], suffixes[i]) >= 0 {
			t.Error("items are not in key order")
		}
	}
	if len(lines) == 0 {
		return "nothing\n"
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func (s *session) state(t *testing.T, d *datadriven.TestData, table uint32) string {
	parts := 1
	d.MaybeScanArgs(t, "parts", &parts)
	var suffixes [][]byte
	var lines []string
	for i := range parts {
		var part Part
		if parts > 1 {
			part = Part{Start: keyspace.HashBound(i, parts), End: keyspace.HashBound(i+1, parts)}
		}
		s.read(t, func(ctx context.Context, r kv.Reader) error {
			return State(ctx, r, table, part, at(t, argument(t, d, "at")), func(suffix []byte, it attribute.Item) error {
				text := string(it.AppendJSON(nil))
				key, _ := parse(t, table, text)
				if !bytes.Equal(keyspace.Suffix(key), suffix) {
					t.Errorf("%s has the key of another item", text)
				}
				if in := keyspace.HashPart(key, parts); in != i {
					t.Errorf("%s is in part %d, not %d", text, in, i)
				}
				suffixes, lines = append(suffixes, bytes.Clone(suffix)), append(lines, text)
				return nil
			})
		})
	}
	return sorted(t, suffixes, lines)
}

func (s *session) changes(t *testing.T, d *datadriven.TestData, table uint32) string {
	image := func(it attribute.Item) string {
		if it == nil {
			return "none"
		}
		return string(it.AppendJSON(nil))
	}
	var suffixes [][]byte
	var lines []string
	s.read(t, func(ctx context.Context, r kv.Reader) error {
		return Changes(ctx, r, table, at(t, argument(t, d, "from")), at(t, argument(t, d, "to")), func(c *Change) error {
			some := firstOf(c.Old, c.New, c.Some)
			line := fmt.Sprintf("%s: %s -> %s, last at %s", some.Get("id").Bytes(), image(c.Old), image(c.New),
				time.UnixMilli(c.Last.Millis()).UTC().Format(time.RFC3339Nano))
			if c.Old == nil && c.New == nil {
				line += ", was " + image(c.Some)
			}
			suffixes, lines = append(suffixes, bytes.Clone(c.Suffix)), append(lines, line)
			return nil
		})
	})
	return sorted(t, suffixes, lines)
}

// firstOf returns the first item that is not nil.
func firstOf(list ...attribute.Item) attribute.Item {
	for _, it := range list {
		if it != nil {
			return it
		}
	}
	return nil
}

func (s *session) records(t *testing.T, table uint32) string {
	count := map[string]int{}
	s.read(t, func(ctx context.Context, r kv.Reader) error {
		prefix := keyspace.Past(table)
		return kv.Each(ctx, r, kv.Prefix(prefix), func(key, val []byte) error {
			day, _, _, _ := keyspace.SplitPast(key)
			count[time.Unix(int64(day)*24*3600, 0).UTC().Format(time.DateOnly)]++
			return Check(key, val)
		})
	})
	var lines []string
	for day, n := range count {
		lines = append(lines, fmt.Sprint(day, " ", n))
	}
	return sorted(t, nil, lines)
}

// TestDamaged checks that damaged records are reported, not read.
func TestDamaged(t *testing.T) {
	s := newSession(t)
	item, _ := parse(t, 1, `{"id":{"S":"a"}}`)
	good := keyspace.AppendPast(nil, item, 1_000_000_000_000, uint64(kv.AtMillis(1_000_000_000_000)))
	for _, c := range []struct {
		name     string
		key, val []byte
		damaged  bool
	}{
		{"missing item", good, []byte{0}, false},
		{"item", good, append([]byte{1}, attribute.NewItem()...), false},
		{"empty value", good, []byte{}, true},
		{"unknown first byte", good, []byte{2}, true},
		{"missing item with content", good, []byte{0, 1}, true},
		{"truncated key", good[:8], []byte{0}, true},
		{"another key", item, []byte{0}, true},
	} {
		if err := Check(c.key, c.val); (err != nil) != c.damaged {
			t.Errorf("%s: Check: %v", c.name, err)
		}
	}
	err := kv.Update(t.Context(), s.kv, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Put(good, []byte{2}) })
	if err != nil {
		t.Fatal(err)
	}
	s.read(t, func(ctx context.Context, r kv.Reader) error {
		if State(ctx, r, 1, Part{}, 0, func([]byte, attribute.Item) error { return nil }) == nil {
			t.Error("State reads a damaged record")
		}
		if Changes(ctx, r, 1, 0, Latest, func(*Change) error { return nil }) == nil {
			t.Error("Changes reads a damaged record")
		}
		return nil
	})
}
