package catalog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metering"
)

// TestCatalog runs the cases in testdata. Each file is a session with a new store, whose clock starts at 2024-05-01T00:00:00Z.
//
// Tables are named ACCOUNT/REGION/NAME. Commands:
//
//	open [max=N]
//		opens the catalog anew over the same store, with a limit of tables for each account and region; Recover follows
//
//	clock at=TIME
//		sets the clock
//
//	create TABLE [creating=SECONDS] [stream=LABEL] [recovery] [read=UNITS] [write=UNITS]
//		creates a table with the partition key id, and puts one key in each part of its data
//
//	change TABLE
//	protect | index NAME ATTRIBUTE | unindex NAME | updating SECONDS | stream LABEL | end-stream | fail
//	…
//		changes a table
//
//	delete TABLE [linger=SECONDS] [refuse]
//	finish
//		delete a table, after a time in DELETING; finish does what is due
//
//	show TABLE
//		prints a table, and whether the description that was shown before has been replaced since
//
//	list ACCOUNT/REGION [after=NAME] [limit=N]
//	streams ACCOUNT/REGION [table=NAME]
//	backups
//	left ID
//		print names, streams or backups; left prints which data the table with that id still has
//
//	arn
//	ARN
//	…
//		prints the table that each ARN is of, and its backup
func TestCatalog(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		s := newSession(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "open":
				maximum := 0
				d.MaybeScanArgs(t, "max", &maximum)
				s.open(t, maximum)
				return outcome(s.Recover(t.Context()))
			case "clock":
				var text string
				d.ScanArgs(t, "at", &text)
				var err error
				s.clock, err = time.Parse(time.RFC3339Nano, text)
				return outcome(err)
			case "create":
				return s.create(t, d)
			case "change":
				return s.change(t, d)
			case "delete":
				return s.delete(t, d)
			case "finish":
				return outcome(s.FinishDeletes(t.Context()))
			case "show":
				return s.show(t, d)
			case "list":
				var after string
				d.MaybeScanArgs(t, "after", &after)
				ns, _ := parseName(d.CmdArgs[0].Key)
				return fmt.Sprintln(s.Names(ns, after))
			case "streams":
				return s.streams(t, d)
			case "backups":
				return s.backups()
			case "left":
				var id uint32
				if _, err := fmt.Sscan(d.CmdArgs[0].Key, &id); err != nil {
					t.Fatal(err)
				}
				return s.left(t, id)
			case "arn":
				return arns(d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

// TestManyTables visits all tables, as background work does every second, and recovers, as a start does. A visit may allocate next to
// nothing, and recovery nothing for each table.
func TestManyTables(t *testing.T) {
	const tables = 200
	s := newSession(t)
	id := []KeyAttribute{{Name: "id", Type: attribute.TypeS}}
	for i := range tables {
		def := &Table{Namespace: Namespace{"000000000000", "us-east-1"}, Name: fmt.Sprint("table-", i), Key: KeySchema{Partition: id}, Attributes: id}
		if taken, err := s.Create(t.Context(), def); err != nil || taken != nil {
			t.Fatal(taken, err)
		}
	}
	visited := 0
	visit := func() {
		visited = 0
		for range s.Tables() {
			visited++
		}
	}
	recovery := func() {
		if err := s.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(10, visit); n > 4 {
		t.Errorf("visiting %d tables allocates %v times", tables, n)
	}
	if n := testing.AllocsPerRun(10, recovery); n >= tables {
		t.Errorf("recovering with %d tables allocates %v times", tables, n)
	}
	visit()
	if visited != tables {
		t.Errorf("visited %d tables of %d", visited, tables)
	}
}

// session is a catalog over a store, and its clock.
type session struct {
	*Catalog
	kv    kv.Store
	clock time.Time
	shown map[string]*Table
}

func newSession(t *testing.T) *session {
	s := &session{clock: time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC), shown: map[string]*Table{}}
	store, err := pebblekv.Open(pebblekv.Options{Now: s.now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	s.kv = kv.Checked(store)
	s.open(t, 0)
	return s
}

func (s *session) now() time.Time { return s.clock }

func (s *session) open(t *testing.T, maximum int) {
	var err error
	s.Catalog, err = Open(t.Context(), s.kv, Options{
		Coordinator: cluster.NewSolo(t.Context(), nil), Now: s.now, Meters: metering.NewRegistry(s.now), MaxTables: maximum,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func outcome(err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	return "ok\n"
}

// parseName splits ACCOUNT/REGION/NAME.
func parseName(text string) (ns Namespace, name string) {
	parts := strings.SplitN(text+"//", "/", 4)
	return Namespace{parts[0], parts[1]}, parts[2]
}

// seconds returns the duration that an argument gives in seconds; 0 without the argument.
func (s *session) seconds(t *testing.T, d *datadriven.TestData, name string) time.Duration {
	n := 0
	d.MaybeScanArgs(t, name, &n)
	return time.Duration(n) * time.Second
}

func (s *session) create(t *testing.T, d *datadriven.TestData) string {
	ns, name := parseName(d.CmdArgs[0].Key)
	id := []KeyAttribute{{Name: "id", Type: attribute.TypeS}}
	def := &Table{Namespace: ns, Name: name, Key: KeySchema{Partition: id}, Attributes: id}
	d.MaybeScanArgs(t, "read", &def.Throughput.Read)
	d.MaybeScanArgs(t, "write", &def.Throughput.Write)
	if d.HasArg("creating") {
		def.CreatingUntil = s.clock.Add(s.seconds(t, d, "creating")).UnixMilli()
	}
	if label := ""; d.MaybeScanArgs(t, "stream", &label) {
		def.StartStream("KEYS_ONLY", label, kv.AtMillis(s.clock.UnixMilli()))
	}
	if d.HasArg("recovery") {
		def.Recovery = &Recovery{Days: 35}
	}
	taken, err := s.Create(t.Context(), def)
	switch {
	case err != nil:
		return outcome(err)
	case taken != nil:
		return fmt.Sprintf("taken by table %d\n", taken.ID)
	}
	err = kv.Update(t.Context(), s.kv, kv.TxnOpt{}, func(txn kv.Txn) error {
		for _, p := range places(def.ID) {
			if err := txn.Put(append(bytes.Clone(p.prefix), 'x'), nil); err != nil {
				return err
			}
		}
		return txn.Add(keyspace.Counters(def.ID), []int64{1, 10})
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("table %d\n", def.ID)
}

// place is where a table has keys.
type place struct {
	name   string
	prefix []byte
}

func places(id uint32) []place {
	return []place{
		{"items", keyspace.AppendIndexPrefix(nil, id, 0)}, {"index", keyspace.AppendIndexPrefix(nil, id, 1)},
		{"expiries", keyspace.Expiries(id)}, {"backfills", keyspace.Backfills(id)}, {"history", keyspace.Past(id)},
	}
}

func (s *session) left(t *testing.T, id uint32) string {
	snap, err := s.kv.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	var names []string
	for _, p := range places(id) {
		some := false
		if err := kv.Each(t.Context(), snap, kv.Prefix(p.prefix), func(key, val []byte) error { some = true; return nil }); err != nil {
			t.Fatal(err)
		}
		if some {
			names = append(names, p.name)
		}
	}
	stats, err := ReadStats(snap, id)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v, %d items, %d bytes\n", names, stats.Items(0), stats.Bytes(0))
}

func (s *session) change(t *testing.T, d *datadriven.TestData) string {
	ns, name := parseName(d.CmdArgs[0].Key)
	now, err := s.Change(t.Context(), ns, name, func(def *Table) error {
		for _, line := range strings.Split(d.Input, "\n") {
			words := append(strings.Fields(line), "", "")
			switch words[0] {
			case "protect":
				def.DeletionProtection = true
			case "index":
				id, _ := def.FreeIndexID()
				key := KeyAttribute{Name: words[2], Type: attribute.TypeS}
				if !slices.Contains(def.Attributes, key) {
					def.Attributes = append(def.Attributes, key)
				}
				def.Indexes = append(def.Indexes, &Index{ID: id, Name: words[1], Global: true, Key: KeySchema{Partition: []KeyAttribute{key}}})
			case "unindex":
				def.RemoveIndex(def.Index(words[1]).ID)
			case "updating":
				var n int
				if _, err := fmt.Sscan(words[1], &n); err != nil {
					return err
				}
				def.UpdatingUntil = s.clock.Add(time.Duration(n) * time.Second).UnixMilli()
			case "stream":
				def.StartStream("KEYS_ONLY", words[1], kv.AtMillis(s.clock.UnixMilli()))
			case "end-stream":
				def.EndStream(kv.AtMillis(s.clock.UnixMilli()))
			case "fail":
				return errors.New("the change failed")
			default:
				d.Fatalf(t, "unknown change %s", line)
			}
		}
		return nil
	})
	if err == nil && now == nil {
		return "no such table\n"
	}
	return outcome(err)
}

func (s *session) delete(t *testing.T, d *datadriven.TestData) string {
	ns, name := parseName(d.CmdArgs[0].Key)
	gone, err := s.Delete(t.Context(), ns, name, s.seconds(t, d, "linger"), func(*Table) error {
		if d.HasArg("refuse") {
			return errors.New("the deletion is refused")
		}
		return nil
	})
	if err == nil && gone == nil {
		return "no such table\n"
	}
	if err == nil {
		return fmt.Sprintf("table %d is %s\n", gone.ID, gone.Status(s.clock))
	}
	return outcome(err)
}

func (s *session) show(t *testing.T, d *datadriven.TestData) string {
	full := d.CmdArgs[0].Key
	ns, name := parseName(full)
	var out strings.Builder
	now := s.Get(ns, name)
	if now == nil {
		out.WriteString("no such table\n")
	} else {
		fmt.Fprintf(&out, "%d %s %s, serves %v, protected %v\n",
			now.ID, now.ARN(), now.Status(s.clock), now.Serves(s.clock), now.DeletionProtection)
		var attributes []string
		for _, a := range now.Attributes {
			attributes = append(attributes, a.Name)
		}
		fmt.Fprintf(&out, "attributes %v\n", attributes)
		for _, x := range now.Indexes {
			fmt.Fprintf(&out, "index %d %s\n", x.ID, x.Name)
		}
		if now.Stream != nil {
			fmt.Fprintf(&out, "stream %s, active %v\n", now.Stream.Label, now.Stream.Active())
			for _, shard := range now.Stream.Shards {
				fmt.Fprintf(&out, "shard %d: %08x to %08x, open %v\n", shard.Number, shard.Low, shard.High, shard.End == 0)
			}
		}
	}
	if old := s.shown[full]; old != nil {
		done, err := old.Use(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if done != nil {
			done()
			out.WriteString("since the last show: the same\n")
		} else {
			out.WriteString("since the last show: replaced\n")
		}
	}
	s.shown[full] = now
	return out.String()
}

func (s *session) streams(t *testing.T, d *datadriven.TestData) string {
	ns, _ := parseName(d.CmdArgs[0].Key)
	var table string
	d.MaybeScanArgs(t, "table", &table)
	var out strings.Builder
	for _, r := range s.Streams(ns, table) {
		open := 0
		for _, shard := range r.Shards {
			if shard.End == 0 {
				open++
			}
		}
		fmt.Fprintf(&out, "%s of table %d, enabled %v, %d of %d shards open\n", r.ARN(), r.TableID, r.Enabled, open, len(r.Shards))
		if found := s.Stream(r.ARN()); found == nil || found.ARN() != r.ARN() {
			t.Errorf("%s is not found by its ARN", r.ARN())
		}
	}
	if out.Len() == 0 {
		return "none\n"
	}
	return out.String()
}

func (s *session) backups() string {
	var list []string
	for _, b := range s.Backups.All() {
		arn, _, _ := strings.Cut(b.ARN(), b.ID)
		number, _, _ := strings.Cut(b.ID, "-")
		list = append(list, fmt.Sprintf("%s%s-… %s %s %s of table %d: %d items, %d bytes, until %s", arn, number, b.Name, b.Type, b.Status,
			b.Data, b.Items, b.Bytes, time.UnixMilli(b.Expires).UTC().Format(time.RFC3339)))
	}
	if list == nil {
		return "none\n"
	}
	slices.Sort(list)
	return strings.Join(list, "\n") + "\n"
}

func arns(d *datadriven.TestData) string {
	var out strings.Builder
	for _, arn := range strings.Split(d.Input, "\n") {
		ns, table, ok := TableFromARN(arn)
		if !ok {
			out.WriteString("no table\n")
			continue
		}
		fmt.Fprintf(&out, "account %s, region %s, table %s\n", ns.Account, ns.Region, table)
	}
	return out.String()
}
