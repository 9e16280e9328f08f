package catalog

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"

	"github.com/statordb/stator/internal/capacity"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Stream is a table's stream of change records. It is divided in shards by the hash of the partition key; a shard that is
// closed has children.
type Stream struct {
	Enabled  bool
	ViewType string
	Label    string  // the time at which it was enabled; part of its ARN
	Created  int64   `json:",omitempty"` // milliseconds since 1970
	Ended    int64   `json:",omitempty"` // milliseconds since 1970
	Shards   []Shard `json:",omitempty"` // oldest first
	Policy   *Policy `json:",omitempty"`

	open []*openShard
}

// Shard is a part of a stream: the change records of the items with Low <= hash < High, from one time to another.
type Shard struct {
	Number    uint32 // in its keys; never used again in its table
	ID        string
	Parent    string `json:",omitempty"` // ID of the shard of which it is a child
	Low, High uint64
	Start     kv.TS
	End       kv.TS `json:",omitempty"` // 0 while it is open
}

// openShard is a shard that records are written to, and how many were since it was published.
type openShard struct {
	*Shard
	written atomic.Int64
}

// StreamRef is a stream with what must be known of its table to read it, even after the table has gone.
type StreamRef struct {
	Namespace
	Table   string
	TableID uint32
	Key     KeySchema
	Stream
}

// ARN returns the stream's Amazon Resource Name.
func (r *StreamRef) ARN() string { return ARN(r.Namespace, r.Table) + "/stream/" + r.Label }

// Active reports whether there is a stream and changes are recorded in it.
func (s *Stream) Active() bool { return s != nil && s.Enabled }

// Shard returns the shard of that ID, or nil.
func (s *Stream) Shard(id string) *Shard {
	for i := range s.Shards {
		if s.Shards[i].ID == id {
			return &s.Shards[i]
		}
	}
	return nil
}

// Record counts a record of an item whose partition key has the hash, and returns the number of the shard that it belongs to.
func (s *Stream) Record(hash uint32) uint32 {
	for _, o := range s.open {
		if uint64(hash) < o.High {
			o.written.Add(1)
			return o.Number
		}
	}
	panic("catalog: a stream has no shard for a hash")
}

// Written returns how many records were written to an open shard since the table was published last.
func (s *Stream) Written(number uint32) int64 {
	for _, o := range s.open {
		if o.Number == number {
			return o.written.Load()
		}
	}
	return 0
}

// prepare finds the open shards. They are sorted by their hashes.
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

// OpenShard adds a shard. It may be called in Catalog.Change alone, where nobody writes.
func (t *Table) OpenShard(at kv.TS, parent string, low, high uint64) {
	t.LastShard++
	t.Stream.Shards = append(t.Stream.Shards, Shard{
		Number: t.LastShard, ID: fmt.Sprintf("shardId-%020d-%08x", at.Millis(), rand.Uint32()),
		Parent: parent, Low: low, High: high, Start: at,
	})
}

// MaxOpenShards is how many shards of a stream are open at most.
const MaxOpenShards = 64

// StartStream gives the table a new stream, with a shard for each partition that AWS would give the table. It may be called
// before Catalog.Create or in Catalog.Change.
func (t *Table) StartStream(viewType, label string, at kv.TS) {
	t.Stream = &Stream{Enabled: true, ViewType: viewType, Label: label, Created: at.Millis()}
	n := uint64(min(t.partitions(), MaxOpenShards))
	for i := range n {
		t.OpenShard(at, "", i*keyspace.HashSpace/n, (i+1)*keyspace.HashSpace/n)
	}
}

// partitions is in how many partitions AWS divides a new table for its throughput, provisioned or warm.
func (t *Table) partitions() int {
	read, write := t.Throughput.Read, t.Throughput.Write
	if t.Warm != nil {
		read, write = max(read, t.Warm.Read), max(write, t.Warm.Write)
	}
	return capacity.Partitions(float64(read), float64(write), 0)
}

// EndStream closes all shards of the table's stream. It may be called in Catalog.Change alone.
func (t *Table) EndStream(at kv.TS) { t.Stream.end(at) }

func (s *Stream) end(at kv.TS) {
	s.Enabled, s.Ended = false, at.Millis()
	for i := range s.Shards {
		if s.Shards[i].End == 0 {
			s.Shards[i].End = at
		}
	}
}

// ref returns what stays of the table's stream when it has ended.
func (t *Table) ref() *StreamRef {
	return &StreamRef{Namespace: t.Namespace, Table: t.Name, TableID: t.ID, Key: t.Key, Stream: *t.Stream}
}
