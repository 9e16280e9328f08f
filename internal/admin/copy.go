package admin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Copied describes what Copy copied and verified.
type Copied struct {
	Tables  int
	Records int64 // items, index entries, change records and everything else
	Bytes   int64 // total size of their keys and values
	// Checksum is the sum of the 64-bit xxHashes of all records. It does not depend on their order, and equals the source's.
	Checksum uint64
}

// ErrNotEmpty means that the target of a copy already contains data.
var ErrNotEmpty = errors.New("there are data already")

// Copy copies a consistent snapshot of all data from the data directory of a stopped server, or from a storage (by URL, see
// Options.Storage), whose servers may run, to a new data directory or an empty storage. It then reads the copy back and
// compares the number and checksum of the records. progress may be nil; it is called every 10,000 records with the bytes copied
// so far. After an error the target is incomplete and must be discarded.
func Copy(ctx context.Context, from, to string, progress func(bytes int64)) (_ *Copied, err error) {
	source, err := engine.OpenTool(ctx, from, true, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := engine.OpenTarget(ctx, to)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	if err := checkEmpty(ctx, target); err != nil {
		return nil, fmt.Errorf("the target of the copy: %w", err)
	}
	if _, format, err := readCluster(ctx, target); err != nil {
		return nil, err
	} else if format < keyspace.FormatVersion { // the target is empty, so nothing keeps it at an old format
		if _, err := UpgradeStorage(ctx, to); err != nil {
			return nil, fmt.Errorf("the target of the copy: %w", err)
		}
	}
	snap, err := source.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	var sum Copied
	err = target.Load(ctx, func(put func(key, val []byte) error) error {
		return eachCopied(ctx, snap, func(key, val []byte) error {
			sum.add(key, val)
			if progress != nil && sum.Records%10000 == 0 {
				progress(sum.Bytes)
			}
			return put(key, val)
		})
	})
	if err != nil {
		return nil, err
	}
	ids, err := counted(ctx, snap)
	if err != nil {
		return nil, err
	}
	// The target's clock must not fall behind the copied stamps: later writes must sort after them.
	clock, err := source.Now(ctx)
	if err != nil {
		return nil, err
	}
	err = kv.Update(ctx, target, kv.TxnOpt{}, func(txn kv.Txn) error {
		for _, id := range ids {
			n, err := snap.Counters(keyspace.Counters(id))
			if err != nil {
				return err
			}
			if err := txn.SetCounters(keyspace.Counters(id), n); err != nil {
				return err
			}
		}
		return txn.Put(keyspace.Clock(), binary.BigEndian.AppendUint64(nil, uint64(clock)))
	})
	if err != nil {
		return nil, err
	}
	return &sum, compareCopy(ctx, target, &sum, snap, ids)
}

// add counts one record. The checksum is a sum, so that it does not depend on the order of records; a zero byte separates key
// and value.
func (c *Copied) add(key, val []byte) {
	c.Records++
	c.Bytes += int64(len(key) + len(val))
	var h xxhash.Digest
	h.Reset()
	_, _ = h.Write(key) // a hash never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(val)
	c.Checksum += h.Sum64()
	if strings.HasPrefix(string(key), string(keyspace.TableRecords())) {
		c.Tables++
	}
}

// eachCopied calls visit for every record, except those that describe the store itself (servers, format, clock) and counters.
func eachCopied(ctx context.Context, r kv.Reader, visit func(key, val []byte) error) error {
	return kv.Each(ctx, r, kv.Range{}, func(key, val []byte) error {
		if keyspace.Local(key) {
			return nil
		}
		return visit(key, val)
	})
}

// counted returns the IDs of the tables and backups that have counters. Counters are merge operands, so Copy sets them
// separately.
func counted(ctx context.Context, r kv.Reader) (ids []uint32, err error) {
	tables, err := catalog.ReadTables(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		ids = append(ids, t.ID)
	}
	backups, err := catalog.ReadBackups(ctx, r)
	for _, b := range backups {
		ids = append(ids, b.Data)
	}
	return ids, err
}

// compareCopy reads the whole copy back and compares its records and counters with those of the source.
func compareCopy(ctx context.Context, target kv.Store, want *Copied, source kv.Reader, ids []uint32) (err error) {
	snap, err := target.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	var got Copied
	err = eachCopied(ctx, snap, func(key, val []byte) error {
		got.add(key, val)
		return nil
	})
	if err != nil {
		return err
	}
	if got != *want {
		return fmt.Errorf("the copy is not like the source: %d records with checksum %016x, not %d with %016x", got.Records, got.Checksum, want.Records, want.Checksum)
	}
	for _, id := range ids {
		a, err1 := source.Counters(keyspace.Counters(id))
		b, err2 := snap.Counters(keyspace.Counters(id))
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if fmt.Sprint(a) != fmt.Sprint(b) {
			return fmt.Errorf("the copy is not like the source: table %d counts %v, not %v", id, b, a)
		}
	}
	return nil
}

// checkEmpty fails with ErrNotEmpty if the store contains any record that a copy would write.
func checkEmpty(ctx context.Context, store kv.Store) error {
	r, err := store.Latest(ctx)
	if err != nil {
		return err
	}
	err = eachCopied(ctx, r, func([]byte, []byte) error { return ErrNotEmpty })
	return errors.Join(err, r.Close())
}
