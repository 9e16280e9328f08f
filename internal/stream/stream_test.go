package stream

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/metering"
)

func TestRecord(t *testing.T) {
	old := attribute.NewItem(attribute.Field{Name: "id", Value: attribute.String("a")}, attribute.Field{Name: "v", Value: attribute.Number("1")})
	next := attribute.NewItem(attribute.Field{Name: "id", Value: attribute.String("a")}, attribute.Field{Name: "v", Value: attribute.Number("2")})
	isKey := func(name []byte) bool { return string(name) == "id" }
	for _, c := range []struct {
		view      string
		old, next attribute.Item
		event     Event
		hasOld    bool
		hasNew    bool
	}{
		{KeysOnly, nil, next, Insert, false, false},
		{KeysOnly, old, nil, Remove, false, false},
		{NewImage, old, next, Modify, false, true},
		{NewImage, old, nil, Remove, false, false},
		{OldImage, nil, next, Insert, false, false},
		{OldImage, old, next, Modify, true, false},
		{NewAndOldImages, old, next, Modify, true, true},
	} {
		raw := AppendRecord(nil, c.view, c.old, c.next, ByTTL, isKey)
		r, err := DecodeRecord(raw, isKey)
		if err != nil || r.Event != c.event || r.Cause != ByTTL || (r.Old != nil) != c.hasOld || (r.New != nil) != c.hasNew ||
			r.Keys.Len() != 1 || r.Keys.Get("id").Text() != "a" {
			t.Errorf("%v: %+v, %v", c, r, err)
		}
		for n := range raw {
			if _, err := DecodeRecord(raw[:n], isKey); err == nil {
				t.Errorf("%s: the first %d bytes are a record", c.view, n)
			}
		}
	}
}

func TestSequenceNumbers(t *testing.T) {
	last := ""
	for _, p := range []Position{{1, 0}, {1, 1}, {1, 99}, {2, 0}, {kv.AtMillis(1795602335139), 7}} {
		number := p.SequenceNumber()
		if len(number) < 21 || number <= last {
			t.Errorf("%v is %s, behind %s", p, number, last)
		}
		last = number
		if got, ok := ParseSequenceNumber(number); !ok || got != p {
			t.Errorf("%s is read as %v", number, got)
		}
	}
	for _, text := range []string{"", "12345678901234567890", "abcdefghijklmnopqrstu", fmt.Sprintf("%040d", 0)[:21] + "x"} {
		if p, ok := ParseSequenceNumber(text); ok {
			t.Errorf("%q is read as %v", text, p)
		}
	}
}

// TestDue checks which shards are closed: old ones get one child, busy ones two.
func TestDue(t *testing.T) {
	ctx := context.Background()
	began := time.UnixMilli(1_000_000_000_000)
	store, err := pebblekv.Open(pebblekv.Options{Now: func() time.Time { return began }})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	tables, err := catalog.Open(ctx, store, catalog.Options{Coordinator: cluster.NewSolo(ctx, nil), Now: time.Now, Meters: metering.NewRegistry(time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	start := kv.AtMillis(began.UnixMilli())
	made := 0
	open := func() *catalog.Table {
		made++
		table := &catalog.Table{Name: fmt.Sprint("table", made)}
		table.StartStream(KeysOnly, "label", start)
		if _, err := tables.Create(ctx, table); err != nil {
			t.Fatal(err)
		}
		return tables.Get(table.Namespace, table.Name)
	}
	for _, c := range []struct {
		after                 time.Duration
		written               int
		elapsed               time.Duration
		rotate, split, forget bool
	}{
		{time.Hour, 0, time.Minute, false, false, false},
		{time.Hour, 60_000, time.Minute, false, false, false},
		{time.Hour, 60_001, time.Minute, false, true, false},
		{4 * time.Hour, 0, time.Minute, true, false, false},
		{5 * time.Hour, 60_001, time.Minute, false, true, false},
		{5 * time.Hour, 60_001, 0, true, false, false},
	} {
		s := open().Stream
		for range c.written {
			s.Record(7)
		}
		rotate, split, forget := due(s, began.Add(c.after), c.elapsed)
		if (rotate != nil) != c.rotate || (split != nil) != c.split || forget != c.forget {
			t.Errorf("%+v: rotate %v, split %v, forget %v", c, rotate, split, forget)
		}
	}
	table := open()
	table, err = tables.Change(ctx, table.Namespace, table.Name, func(t *catalog.Table) error {
		Renew(t, start+1000, func(*catalog.Shard) int { return 2 })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	shards := table.Stream.Shards
	if len(shards) != 3 || shards[0].End != start+1000 || shards[1].High != shards[2].Low || shards[1].Low != 0 || shards[2].High != keyspace.HashSpace ||
		shards[1].Parent != shards[0].ID || shards[2].Parent != shards[0].ID || shards[1].Start != shards[0].End {
		t.Fatalf("split in two: %+v", shards)
	}
	s := table.Stream
	if low, high := s.Record(0), s.Record(keyspace.HashSpace-1); low != shards[1].Number || high != shards[2].Number {
		t.Errorf("records go to shards %d and %d", low, high)
	}
	if _, _, forget := due(s, began.Add(25*time.Hour), 0); !forget {
		t.Error("a shard that was closed a day ago was kept")
	}
}
