package catalog

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/throttle"
)

// Stream is a table's stream of change records, divided into shards by the hash of the partition key. A shard that was split
// or rotated is closed and has children.
type Stream struct {
	Enabled  bool
	ViewType string
	Label    string  // time at which it was enabled; part of its ARN
	Created  int64   `json:",omitempty"` // milliseconds since 1970
	Ended    int64   `json:",omitempty"` // milliseconds since 1970
	Shards   []Shard `json:",omitempty"` // oldest first
	Policy   *Policy `json:",omitempty"`
	Tags     []Tag   `json:",omitempty"`

	open []*openShard
}

// Shard is a part of a stream: the change records of items with Low <= hash < High, made from Start until End.
type Shard struct {
	Number    uint32 // used in keys; unique in its table forever
	ID        string
	Parent    string `json:",omitempty"` // ID of the parent shard
	Low, High uint64
	Start     kv.TS
	End       kv.TS `json:",omitempty"` // 0 while it is open
}

// openShard is a shard that accepts records. written counts those since the table was last published.
type openShard struct {
	*Shard
	written atomic.Int64
}

// StreamRef is a stream together with what is needed to read it after its table is gone.
type StreamRef struct {
	Namespace
	Table   string
	TableID uint32
	Key     KeySchema
	Stream
}

// ARN returns the stream's Amazon Resource Name.
func (r *StreamRef) ARN() string { return ARN(r.Namespace, r.Table) + "/stream/" + r.Label }

// Active reports whether the stream exists and records changes.
func (s *Stream) Active() bool { return s != nil && s.Enabled }

// Shard returns the shard with that ID, or nil.
func (s *Stream) Shard(id string) *Shard {
	for i := range s.Shards {
		if s.Shards[i].ID == id {
			return &s.Shards[i]
		}
	}
	return nil
}

// Record counts a change record of an item, and returns the number of the shard for its hash. The open shards cover all hashes.
func (s *Stream) Record(hash uint32) uint32 {
	for _, o := range s.open {
		if uint64(hash) < o.High {
			o.written.Add(1)
			return o.Number
		}
	}
	panic("catalog: a stream has no shard for a hash")
}

// Written returns how many records an open shard has received since the table was last published.
func (s *Stream) Written(number uint32) int64 {
	for _, o := range s.open {
		if o.Number == number {
			return o.written.Load()
		}
	}
	return 0
}

// prepare collects the open shards, sorted by their hashes.
func (s *Stream) prepare() {
	s.open = nil
	for i := range s.Shards {
		if s.Shards[i].End == 0 {
			s.open = append(s.open, &openShard{Shard: &s.Shards[i]})
		}
	}
	for i := range s.open {
		for j := i; j > 0 && s.open[j].Low < s.open[j-1].Low; j-- {
			s.open[j], s.open[j-1] = s.open[j-1], s.open[j]
		}
	}
}

// OpenShard adds a shard. Call it only within Catalog.Change, which excludes writers of the table.
func (t *Table) OpenShard(at kv.TS, parent string, low, high uint64) {
	t.LastShard++
	t.Stream.Shards = append(t.Stream.Shards, Shard{
		Number: t.LastShard, ID: fmt.Sprintf("shardId-%020d-%08x", at.Millis(), rand.Uint32()),
		Parent: parent, Low: low, High: high, Start: at,
	})
}

// MaxOpenShards bounds the open shards of a stream.
const MaxOpenShards = 64

// StartStream gives the table a new stream, with one shard for each partition that AWS would give the table. It may be
// called before Catalog.Create or within Catalog.Change.
func (t *Table) StartStream(viewType, label string, at kv.TS) {
	t.Stream = &Stream{Enabled: true, ViewType: viewType, Label: label, Created: at.Millis()}
	n := uint64(min(t.partitions(), MaxOpenShards))
	for i := range n {
		t.OpenShard(at, "", i*keyspace.HashSpace/n, (i+1)*keyspace.HashSpace/n)
	}
}

// partitions returns how many partitions AWS would give a new table with this throughput, provisioned or requested as warm.
func (t *Table) partitions() int {
	read, write := t.Throughput.Read, t.Throughput.Write
	if t.Warm != nil && !t.Warm.Kept {
		read, write = max(read, t.Warm.Read), max(write, t.Warm.Write)
	}
	return throttle.Partitions(float64(read), float64(write), 0)
}

// EndStream closes all shards of the table's stream. It may only be called within Catalog.Change.
func (t *Table) EndStream(at kv.TS) { t.Stream.end(at) }

func (s *Stream) end(at kv.TS) {
	s.Enabled, s.Ended = false, at.Millis()
	for i := range s.Shards {
		if s.Shards[i].End == 0 {
			s.Shards[i].End = at
		}
	}
}

// ref returns the table's stream as it can be read even without the table.
func (t *Table) ref() *StreamRef {
	return &StreamRef{Namespace: t.Namespace, Table: t.Name, TableID: t.ID, Key: t.Key, Stream: *t.Stream}
}
