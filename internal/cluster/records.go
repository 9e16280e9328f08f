package cluster

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Info is what a server publishes about itself.
type Info struct {
	ID      string
	URL     string   `json:",omitempty"` // where clients reach it
	DAX     []string `json:",omitempty"` // where its DAX node listens, host:port
	DAXTLS  []string `json:",omitempty"` // the same, over TLS
	Version string   `json:",omitempty"`
	Format  int      `json:",omitempty"` // the newest storage format that it understands
	Started int64    // milliseconds since 1970, by its own clock
}

// Server is a server's record.
type Server struct {
	Info
	Beat uint64 // incremented at each renewal
	Seen uint64 // number of the last log entry that it has acknowledged
}

// freeze is the record of the current freeze. Token identifies it, since the same server may freeze the same key again.
type freeze struct {
	Holder string
	Token  uint64
	Key    []byte
}

// entry is a log entry.
type entry struct {
	Key    []byte `json:",omitempty"` // the key that changed or is frozen
	Freeze uint64 `json:",omitempty"` // the token of a freeze that begins; 0 for a change
}

// get reads a JSON record; it returns false if there is none.
func get(r kv.Reader, key []byte, into any) (bool, error) {
	raw, err := r.Get(key)
	if err != nil || raw == nil {
		return false, err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return false, fmt.Errorf("record %q: %w", key, err)
	}
	return true, nil
}

func put(txn kv.Txn, key []byte, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return txn.Put(key, raw)
}

// lastEntry returns the number of the log's last entry; 0 if it is empty.
func lastEntry(r kv.Reader) (uint64, error) {
	raw, err := r.Get(keyspace.ClusterLog())
	if err != nil || raw == nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(raw), nil
}

// log appends entries in the transaction, and returns the number of the last one. All writers of the log conflict on
// its counter, which gives the entries their order.
func log(txn kv.Txn, list ...entry) (uint64, error) {
	n, err := lastEntry(txn)
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		n++
		if err := put(txn, keyspace.ClusterEntry(n), e); err != nil {
			return 0, err
		}
	}
	return n, txn.Put(keyspace.ClusterLog(), binary.BigEndian.AppendUint64(nil, n))
}

// Servers returns the records of all servers of a store.
func Servers(ctx context.Context, r kv.Reader) (list []Server, err error) {
	err = kv.Each(ctx, r, kv.Prefix(keyspace.ClusterServers()), func(_, val []byte) error {
		var s Server
		if err := json.Unmarshal(val, &s); err != nil {
			return err
		}
		list = append(list, s)
		return nil
	})
	return list, err
}

// Lease says which server holds a job.
type Lease struct{ Job, Holder string }

// Leases returns all leases.
func Leases(ctx context.Context, r kv.Reader) (list []Lease, err error) {
	prefix := keyspace.ClusterLeases()
	err = kv.Each(ctx, r, kv.Prefix(prefix), func(key, val []byte) error {
		list = append(list, Lease{string(key[len(prefix):]), string(val)})
		return nil
	})
	return list, err
}

// State is the state of the servers that share a store, for operators.
type State struct {
	Servers []Server
	Leases  []Lease
	Log     uint64 // number of the last log entry
	Frozen  []byte // key that is being changed; nil for none
	Holder  string // id of the server that changes it
}

// Read returns the state of the servers of a store.
func Read(ctx context.Context, r kv.Reader) (s State, err error) {
	if s.Servers, err = Servers(ctx, r); err != nil {
		return s, err
	}
	if s.Leases, err = Leases(ctx, r); err != nil {
		return s, err
	}
	if s.Log, err = lastEntry(r); err != nil {
		return s, err
	}
	var f freeze
	found, err := get(r, keyspace.ClusterFreeze(), &f)
	if found {
		s.Frozen, s.Holder = f.Key, f.Holder
	}
	return s, err
}
