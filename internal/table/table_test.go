package table

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/smithy/smithytest"
	"github.com/statordb/stator/internal/stream"
	"github.com/statordb/stator/internal/wirejson"
)

// TestTable runs the cases in testdata. Each file is a session with a new store that has one table.
//
// Commands:
//
//	create NAME=TYPE [NAME=TYPE] [ttl=NAME] [stream=VIEW] [recovery]
//	INDEX global|local partition=NAME:TYPE [sort=NAME:TYPE] [keys-only] [state=STATE]
//	…
//		creates the table: its partition and sort key, and its indexes, which project everything by default
//
//	index NAME
//		adds a global index with the partition key color:S that is being filled; later writes still use the old description
//
//	drop [linger]
//		deletes the table, after a minute in DELETING with linger; later writes still use its description
//
//	write [exclusive] [inject]
//	put ITEM | insert ITEM | delete ITEM | exists ITEM | keep ITEM
//	[held ITEM]
//	…
//		applies mutations in one transaction and prints each one's old item, new item and write units; or why it was refused.
//		insert fails if the item exists; exists changes nothing, but fails if the item does not exist; keep changes nothing. held is
//		an item that a transaction uses meanwhile. inject has the test mode fail it.
//
//	read [index=NAME] [limit=N] [reverse] [having=NAME] [only=NAME] [whole] [count] [memory=BYTES]
//	[partition ITEM]
//	[start ITEM]
//		reads a page of the table or index: all of it, sorted as text because its order has no meaning, or of one partition key, in order;
//		after start, which has the keys. having filters, only projects, whole fetches the items of an index's entries, count returns none.
//
//	segments n=N [index=NAME]
//		reads N segments of the table or index one after the other, and prints all items, sorted as text
//
//	stats
//		prints the counters: items and bytes of the table and its indexes
//
//	records
//		prints the number of old images for recovery, and the change records of the stream
//
//	expire [at=TIME]
//		deletes expired items, at a time, and prints how many; and how many entries the TTL index has now
//
// Items are in DynamoDB's JSON, times in the form of RFC 3339. <text*n> is n times the text.
func TestTable(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := newSession(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "create":
				return s.create(t, d)
			case "index":
				_, err := s.Catalog.Change(t.Context(), s.table.Namespace, s.table.Name, func(now *catalog.Table) error {
					now.Indexes = append(now.Indexes, &catalog.Index{
						ID: 1, Name: d.CmdArgs[0].Key, Global: true, State: catalog.Creating, Projection: catalog.Projection{Type: "ALL"},
						Key: catalog.KeySchema{Partition: keyAttribute(t, "color:S")},
					})
					return nil
				})
				return outcome(err)
			case "drop":
				linger := time.Duration(0)
				if d.HasArg("linger") {
					linger = time.Minute
				}
				_, err := s.Catalog.Delete(t.Context(), s.table.Namespace, s.table.Name, linger, func(*catalog.Table) error { return nil })
				return outcome(err)
			case "write":
				return s.write(t, d)
			case "read":
				return s.read(t, d)
			case "segments":
				return s.segments(t, d)
			case "stats":
				return s.stats(t)
			case "records":
				return s.records(t)
			case "expire":
				return s.expire(t, d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// session is a store with one table, and its clock.
type session struct {
	Store
	table *catalog.Table // as it was created
	clock time.Time
}

func newSession(t *testing.T) *session {
	s := &session{clock: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)}
	s.Now = func() time.Time { return s.clock }
	store, err := pebblekv.Open(pebblekv.Options{Now: s.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.KV = kv.Checked(store)
	s.Catalog, err = catalog.Open(t.Context(), s.KV, catalog.Options{
		Coordinator: cluster.NewSolo(t.Context(), nil), Now: s.Now, Meters: metering.NewRegistry(s.Now),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func outcome(err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	return "ok\n"
}

var types = map[string]attribute.Type{"S": attribute.TypeS, "N": attribute.TypeN, "B": attribute.TypeB}

// keyAttribute parses NAME:TYPE.
func keyAttribute(t *testing.T, text string) []catalog.KeyAttribute {
	name, typ, _ := strings.Cut(text, ":")
	if types[typ] == 0 {
		t.Fatalf("key attribute %q has no type", text)
	}
	return []catalog.KeyAttribute{{Name: name, Type: types[typ]}}
}

func (s *session) create(t *testing.T, d *datadriven.TestData) string {
	def := &catalog.Table{Name: "table", OnDemandBilling: true}
	for _, arg := range d.CmdArgs {
		switch {
		case arg.Key == "ttl":
			def.TTL = &catalog.TTL{Attribute: arg.Vals[0], State: catalog.Enabled}
		case arg.Key == "stream":
			def.StartStream(arg.Vals[0], "label", kv.AtMillis(s.clock.UnixMilli()))
		case arg.Key == "recovery":
			def.Recovery = &catalog.Recovery{Days: 35}
		case def.Key.Partition == nil:
			def.Key.Partition = keyAttribute(t, arg.Key+":"+arg.Vals[0])
		default:
			def.Key.Sort = keyAttribute(t, arg.Key+":"+arg.Vals[0])
		}
	}
	for i, line := range lines(d) {
		words := strings.Fields(line)
		x := &catalog.Index{ID: uint8(i + 1), Name: words[0], Global: words[1] == "global", Projection: catalog.Projection{Type: "ALL"}}
		for _, word := range words[2:] {
			switch name, value, _ := strings.Cut(word, "="); name {
			case "partition":
				x.Key.Partition = keyAttribute(t, value)
			case "sort":
				x.Key.Sort = keyAttribute(t, value)
			case "keys-only":
				x.Projection.Type = "KEYS_ONLY"
			case "state":
				x.State = value
			default:
				d.Fatalf(t, "unknown setting %s", word)
			}
		}
		def.Indexes = append(def.Indexes, x)
	}
	_, err := s.Catalog.Create(t.Context(), def)
	s.table = s.Catalog.Get(def.Namespace, def.Name)
	return outcome(err)
}

func lines(d *datadriven.TestData) []string {
	if d.Input == "" {
		return nil
	}
	return strings.Split(d.Input, "\n")
}

// parse parses an item in DynamoDB's JSON.
func parse(t *testing.T, text string) attribute.Item {
	text = smithytest.Expand(text)
	var r wirejson.Reader
	r.Reset([]byte(text))
	it := attribute.ReadItem(&r).Clone()
	if err := r.Err(); err != nil || !r.Done() {
		t.Fatalf("%s: %v", text, err)
	}
	return it
}

// render returns the item in DynamoDB's JSON, with long runs of a byte as <text*n>.
func render(it attribute.Item) string {
	if it == nil {
		return "none"
	}
	return smithytest.Shorten(string(it.AppendJSON(nil)))
}

var (
	errExists  = errors.New("the item exists")
	errMissing = errors.New("the item does not exist")
)

func (s *session) write(t *testing.T, d *datadriven.TestData) string {
	var muts []Mutation
	var held kv.Txn
	for _, line := range lines(d) {
		what, text, _ := strings.Cut(line, " ")
		it := parse(t, text)
		m := Mutation{Table: s.table, Key: it}
		switch what {
		case "put":
			m.Next = func(attribute.Item) (attribute.Item, error) { return it, nil }
		case "insert":
			m.Check = func(old attribute.Item) error {
				if old != nil {
					return errExists
				}
				return nil
			}
			m.Next = func(attribute.Item) (attribute.Item, error) { return it, nil }
		case "delete":
			m.Next = func(attribute.Item) (attribute.Item, error) { return nil, nil }
		case "exists":
			m.Check = func(old attribute.Item) error {
				if old == nil {
					return errMissing
				}
				return nil
			}
		case "keep":
			m.Next = func(old attribute.Item) (attribute.Item, error) { return old, nil }
		case "held":
			var err error
			if held, err = s.KV.Begin(t.Context(), kv.TxnOpt{Hint: [][]byte{s.table.AppendItemKey(nil, it)}, Exclusive: true}); err != nil {
				t.Fatal(err)
			}
			continue
		default:
			d.Fatalf(t, "unknown mutation %s", line)
		}
		muts = append(muts, m)
	}
	s.Inject = nil
	if d.HasArg("inject") {
		s.Inject = func(context.Context, *catalog.Table, metering.Use, bool) error { return errors.New("injected") }
	}
	results, err := s.Write(t.Context(), muts, WriteOpt{KeepOld: true, Exclusive: d.HasArg("exclusive")})
	if held != nil {
		if err := held.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	if failed, ok := errors.AsType[*FailedError](err); ok {
		var out strings.Builder
		for _, err := range failed.Errors {
			fmt.Fprintf(&out, "refused: %v\n", err)
		}
		return out.String()
	}
	if err != nil {
		return outcome(err)
	}
	var out strings.Builder
	for _, r := range results {
		fmt.Fprintf(&out, "%s -> %s: %v", render(r.Old), render(r.New), r.Units.Table)
		for _, x := range r.Units.Indexes {
			fmt.Fprintf(&out, ", %s %v", x.Name, x.Units)
		}
		out.WriteByte('\n')
	}
	return out.String()
}

// budget is the Memory of a page, in bytes.
type budget int

func (b *budget) Take(bytes int) bool { *b -= budget(bytes); return *b >= 0 }

func (s *session) read(t *testing.T, d *datadriven.TestData) string {
	q := PageQuery{Table: s.table, Reverse: d.HasArg("reverse"), FetchItem: d.HasArg("whole"), CountOnly: d.HasArg("count")}
	var id uint8
	key := &s.table.Key
	var name string
	if d.MaybeScanArgs(t, "index", &name) {
		if q.Index = s.table.Index(name); q.Index == nil {
			d.Fatalf(t, "no index %s", name)
		}
		id, key = q.Index.ID, &q.Index.Key
	}
	d.MaybeScanArgs(t, "limit", &q.Limit)
	if memory := 0; d.MaybeScanArgs(t, "memory", &memory) {
		q.Memory = (*budget)(&memory)
	}
	var having, only string
	if d.MaybeScanArgs(t, "having", &having) {
		q.Filter = func(it attribute.Item) bool { return it.Get(having) != nil }
	}
	if d.MaybeScanArgs(t, "only", &only) {
		q.Project = func(it attribute.Item) attribute.Item {
			return it.Project(func(name []byte) bool { return string(name) == only })
		}
	}
	q.Range = SegmentRange(s.table, id, 0, 1)
	ordered := false
	for _, line := range lines(d) {
		what, text, _ := strings.Cut(line, " ")
		it := parse(t, text)
		switch what {
		case "partition":
			ordered = true
			prefix := s.table.AppendPartition(nil, id, catalog.AppendKeyValues(nil, key.Partition, it))
			q.Range = kv.Prefix(prefix)
		case "start":
			var ok bool
			if q.Start, ok = StorageKey(s.table, q.Index, it); !ok {
				return "start lacks a key attribute\n"
			}
		}
	}
	p, err := s.ReadPage(t.Context(), q)
	if err != nil {
		return outcome(err)
	}
	defer p.Close()
	var list []string
	for _, it := range p.Items {
		list = append(list, render(it))
	}
	if !ordered {
		slices.Sort(list)
	}
	list = append(list, fmt.Sprintf("%d of %d, %d bytes, last %s", p.Count, p.Scanned, p.Bytes, render(p.Last)))
	if q.FetchItem {
		list[len(list)-1] += fmt.Sprintf(", fetched %v", p.Fetched)
	}
	return strings.Join(list, "\n") + "\n"
}

func (s *session) segments(t *testing.T, d *datadriven.TestData) string {
	var n int64
	var name string
	d.ScanArgs(t, "n", &n)
	q := PageQuery{Table: s.table}
	var id uint8
	if d.MaybeScanArgs(t, "index", &name) {
		q.Index = s.table.Index(name)
		id = q.Index.ID
	}
	var list []string
	for i := range n {
		q.Range = SegmentRange(s.table, id, i, n)
		p, err := s.ReadPage(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			list = append(list, render(it))
		}
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(list)
	return strings.Join(list, "\n") + "\n"
}

func (s *session) stats(t *testing.T) string {
	now := s.Catalog.Get(s.table.Namespace, s.table.Name)
	stats, err := s.Catalog.Stats(t.Context(), now)
	if err != nil {
		t.Fatal(err)
	}
	out := fmt.Sprintf("table: %d items, %d bytes\n", stats.Items(0), stats.Bytes(0))
	for _, x := range now.Indexes {
		out += fmt.Sprintf("%s: %d items, %d bytes\n", x.Name, stats.Items(x.ID), stats.Bytes(x.ID))
	}
	return out
}

// each calls visit for every key with a prefix.
func (s *session) each(t *testing.T, prefix []byte, visit func(key, val []byte) error) {
	snap, err := s.KV.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = kv.Each(t.Context(), snap, kv.Prefix(prefix), visit)
	if err := errors.Join(err, snap.Close()); err != nil {
		t.Fatal(err)
	}
}

func (s *session) records(t *testing.T) string {
	images := 0
	s.each(t, keyspace.Past(s.table.ID), func(key, val []byte) error { images++; return nil })
	out := fmt.Sprintf("%d images\n", images)
	s.each(t, keyspace.Changes(s.table.ID), func(key, val []byte) error {
		r, err := stream.DecodeRecord(val, func(name []byte) bool { return s.table.Key.Has(string(name)) })
		if err != nil {
			return err
		}
		by := map[stream.Cause]string{stream.ByRequest: "request", stream.ByTTL: "TTL"}
		out += fmt.Sprintf("%v by %s: %s -> %s\n", r.Event, by[r.Cause], render(r.Old), render(r.New))
		return nil
	})
	return out
}

func (s *session) expire(t *testing.T, d *datadriven.TestData) string {
	var text string
	if d.MaybeScanArgs(t, "at", &text) {
		var err error
		if s.clock, err = time.Parse(time.RFC3339, text); err != nil {
			t.Fatal(err)
		}
	}
	deleted, err := s.Expire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := 0
	s.each(t, keyspace.Expiries(s.table.ID), func(key, val []byte) error { left++; return nil })
	return fmt.Sprintf("%d deleted, %d left in the index\n", deleted, left)
}
