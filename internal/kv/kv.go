// Package kv is the storage seam: an ordered, transactional key-value store. Nothing above it knows which engine runs.
//
// Start with [Store], which begins transactions ([Txn]) and opens snapshots ([Snapshot]). Callers write with [Update], which
// retries conflicts, and read with [ReadLatest], [Each] or an [Iterator].
//
// Every engine keeps these promises. Package kvtest checks them; [Checked] checks the callers.
//
//	K1  Keys are ordered by their bytes. Empty keys are not used; empty values are allowed.
//	K2  A transaction is atomic and, unless the caller chose otherwise, durable when Commit returns nil.
//	K3  A transaction that has read a key that it also hints, writes or guards commits only if that key has not changed in
//	    between; otherwise Commit returns ErrConflict and nothing happened. Its other reads return committed states, not
//	    necessarily all of the same moment; a Snapshot is a view of one moment.
//	K4  A transaction sees its own writes.
//	K5  What a Reader returns is valid until the Reader is closed (a Txn: until Commit or Rollback). An Iterator's key and value
//	    are valid until its next move.
//	K6  Counters (Txn.Add) never conflict. They live apart from other keys: Get and Scan need not find them.
//	K7  What a Reader has returned, and what the outcome of a transaction reveals, survives a crash as durable commits do,
//	    unless ScanOpt.Stale waives this.
//	K8  Transactions that hint a common key commit in the order of their stamps. Every transaction with a stamp below
//	    Store.Stable has ended and is visible, whichever server it ran on.
//
// Errors are always returned; a missing key is a nil value, not an error.
package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// Engines return these errors, besides those of failing hardware.
var (
	// ErrConflict means that another transaction came in between and nothing was written; running the same closure again may
	// succeed.
	ErrConflict = errors.New("kv: conflict")
	// ErrUndetermined means that the commit may or may not have happened.
	ErrUndetermined = errors.New("kv: outcome of the commit unknown")
	// ErrTooLarge means that a key, a value or a transaction exceeds Limits.
	ErrTooLarge = errors.New("kv: too large")
	// ErrFenced means that TxnOpt.Fence refused the commit; nothing was written.
	ErrFenced = errors.New("kv: fenced")
	// ErrUnavailable means that the store can't be used now; nothing was written.
	ErrUnavailable = errors.New("kv: store unavailable")
)

// LockedError means that Begin found a hinted key in use by another transaction, and that one of the two is Exclusive. It
// matches ErrConflict, but Update does not retry it: the caller decides.
type LockedError struct {
	Hint int // index into TxnOpt.Hint
}

// Error implements error.
func (e *LockedError) Error() string { return fmt.Sprintf("kv: hinted key %d is in use", e.Hint) }

// Is makes errors.Is(err, ErrConflict) true.
func (e *LockedError) Is(target error) bool { return target == ErrConflict }

// TS is a timestamp in the format of TiKV's timestamp oracle: milliseconds since 1970 << 18 | a logical counter.
type TS uint64

// Millis returns the timestamp's wall clock part in milliseconds since 1970.
func (t TS) Millis() int64 { return int64(t >> 18) }

// AtMillis returns the first timestamp of a millisecond since 1970.
func AtMillis(ms int64) TS { return TS(max(ms, 0)) << 18 }

// Range is the keys k with Start <= k < End. A nil End is unbounded.
type Range struct{ Start, End []byte }

// Prefix returns the range of all keys that begin with prefix.
func Prefix(prefix []byte) Range { return Range{Start: prefix, End: PrefixEnd(prefix)} }

// PrefixEnd returns the first key after all keys that begin with prefix, or nil if prefix is empty or consists of 0xFF bytes.
func PrefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xFF {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// From returns the part of the range that starts at key, in a scan's direction. The key is included, and need not be in
// the range.
func (r Range) From(key []byte, reverse bool) Range {
	if !reverse {
		if bytes.Compare(key, r.Start) > 0 {
			r.Start = bytes.Clone(key)
		}
	} else if end := append(bytes.Clone(key), 0); r.End == nil || bytes.Compare(end, r.End) < 0 {
		r.End = end
	}
	return r
}

// After returns the part of the range after key, in a scan's direction. The key itself is excluded, and must be in the range.
func (r Range) After(key []byte, reverse bool) Range {
	if reverse {
		r.End = bytes.Clone(key)
	} else {
		r.Start = append(bytes.Clone(key), 0)
	}
	return r
}

// ScanOpt says how to scan a range.
type ScanOpt struct {
	Reverse bool // from the last key to the first
	Stale   bool // the scan may see commits that a crash would undo, and does not wait for their fsync (K7)
	Rows    int  // about how many rows the reader wants; 0 if unknown. A hint for page sizes, not a limit
	// Turn is the processor turn that the reader gives up while the engine waits for the network; nil for none. See
	// package turns.
	Turn interface{ Leave() }
}

// Wait gives up the reader's turn, if any. Engines call it before they wait for the network.
func (o *ScanOpt) Wait() {
	if o.Turn != nil {
		o.Turn.Leave()
	}
}

// Reader reads keys.
type Reader interface {
	// Get returns the key's value, or nil if the key does not exist. An existing empty value is not nil. The caller may reuse the key's
	// memory once Get has returned.
	Get(key []byte) ([]byte, error)
	// Counters returns the counters at a key; nil if the key does not exist.
	Counters(key []byte) ([]int64, error)
	// Scan iterates over a range in order. The Iterator must be closed before the Reader is.
	Scan(r Range, opt ScanOpt) (Iterator, error)
}

// ReadLatest returns a copy of the last committed value of a key; nil if the key does not exist.
func ReadLatest(ctx context.Context, s Store, key []byte) ([]byte, error) {
	r, err := s.Latest(ctx)
	if err != nil {
		return nil, err
	}
	val, err := r.Get(key)
	if val != nil {
		val = append([]byte{}, val...)
	}
	return val, errors.Join(err, r.Close())
}

// Fetcher is a Reader that reads many keys at once more cheaply than one by one.
type Fetcher interface {
	// Fetch reads keys in one round trip. Later Gets return the values read here.
	Fetch(keys [][]byte) error
}

// Fetch prefetches keys if r is a Fetcher and there are at least two; otherwise it does nothing.
func Fetch(r Reader, keys [][]byte) error {
	if f, ok := r.(Fetcher); ok && len(keys) > 1 {
		return f.Fetch(keys)
	}
	return nil
}

// Snapshot is a Reader that must be closed. Several goroutines may Scan it concurrently.
type Snapshot interface {
	Reader
	Close() error
}

// Iterator moves through a range. It is not safe for concurrent use.
//
//	for it.Next() { … it.Key() … it.Value() … }
//	err := it.Close()
type Iterator interface {
	// Next moves to the next key, the first time to the first key. It returns false at the end and on error.
	Next() bool
	Key() []byte
	Value() []byte
	// Seek positions the iterator so that the following Next moves to the first key at or after key, in the scan's direction.
	Seek(key []byte)
	// Close releases the iterator and returns the error that ended it, if any.
	Close() error
}

// CloseInto closes what a function has opened, and joins the error to the function's result. It is deferred, so that it runs after a panic
// too: an iterator or a snapshot left open would keep the store from closing.
func CloseInto(c io.Closer, err *error) { *err = errors.Join(*err, c.Close()) }

// Each calls visit for every key of a range in order, until visit returns an error or ctx is done.
func Each(ctx context.Context, r Reader, rng Range, visit func(key, val []byte) error) (err error) {
	it, err := r.Scan(rng, ScanOpt{})
	if err != nil {
		return err
	}
	defer CloseInto(it, &err)
	for n := 0; err == nil && it.Next(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			err = ctx.Err()
		} else {
			err = visit(it.Key(), it.Value())
		}
	}
	return err
}

// Txn is a transaction. It is not safe for concurrent use, and must end with Commit or Rollback.
type Txn interface {
	Reader
	Put(key, val []byte) error
	// PutNew is Put for a key that contains the transaction's Stamp. Where several servers could take the same stamp,
	// the commit fails with ErrConflict if another transaction has written the key.
	PutNew(key, val []byte) error
	// Delete removes a key. oldSize is the number of bytes, of key and value, that this frees; 0 if unknown.
	Delete(key []byte, oldSize int) error
	// Add adds deltas to the list of counters at key, element by element.
	Add(key []byte, deltas []int64) error
	// SetCounters replaces the counters at a key, to which no other transaction may add meanwhile; an empty list removes them.
	SetCounters(key []byte, counters []int64) error
	// Stamp returns a timestamp for the keys of records that are read in order (K8), the same one at every call. The
	// transaction must have been begun with TxnOpt.Stamped.
	Stamp() TS
	// Guard makes the commit fail with ErrConflict if any of the keys, read by this transaction, changes before it.
	Guard(keys ...[]byte) error
	// Commit ends the transaction, whatever it returns.
	Commit(ctx context.Context) error
	// Rollback ends the transaction without effect. After Commit it does nothing. An error means that what the transaction has
	// read may not survive a crash (K7), so the caller must not answer its client by it.
	Rollback() error
}

// TxnOpt are options of one transaction.
type TxnOpt struct {
	// Hint lists the keys that the transaction reads and changes. An engine may lock them, so that it never conflicts on them.
	Hint [][]byte
	// Exclusive makes Begin fail with LockedError at once, rather than wait, if another transaction uses a hinted key; other
	// transactions fail likewise on this one's keys. This is AWS's TransactionConflict.
	Exclusive bool
	// Background marks work that no client asked for: it waits for Exclusive transactions, and they wait for it.
	Background bool
	// Stamped allows the transaction to take a Stamp.
	Stamped bool
	// Fence is called just before the commit. Its error, wrapped in ErrFenced, prevents the commit.
	Fence func() error
	// NoSync is for background work that can be redone: a crash may undo the commit.
	NoSync bool
}

// Limits are the largest sizes, in bytes, that the engine accepts; 0 means no limit.
type Limits struct {
	Key, Value, Txn int
	// Workers is how many background transactions are worth running concurrently; 0 means one. Over a network they mostly wait.
	Workers int
}

// Store is a storage engine.
type Store interface {
	Begin(ctx context.Context, opt TxnOpt) (Txn, error)
	// Snapshot returns a view of one moment. If keys are given, it holds only those, prefetched where that is cheaper.
	Snapshot(ctx context.Context, keys ...[]byte) (Snapshot, error)
	// Latest returns a Reader whose every single Get and Scan sees the last committed state. It costs less than a Snapshot.
	Latest(ctx context.Context) (Snapshot, error)
	// Now returns a timestamp above those of all commits that have already returned.
	Now(ctx context.Context) (TS, error)
	// Stable returns a timestamp below which every stamped transaction has ended and is visible (K8).
	Stable(ctx context.Context) (TS, error)
	// Advance makes all later timestamps larger than ts. Engines whose clock restarts with each process need this.
	Advance(ts TS)
	// Load writes the pairs that source puts, whose keys must ascend. It is for bulk data that no other code reads or writes
	// meanwhile. The data is durable when Load returns nil; after an error, source's own included, any part of it may be there.
	Load(ctx context.Context, source func(put func(key, val []byte) error) error) error
	// DeleteRange removes all keys of a range, not atomically.
	DeleteRange(ctx context.Context, r Range) error
	// Size estimates how many bytes a range takes.
	Size(ctx context.Context, r Range) (int64, error)
	Limits() Limits
	Close() error
}

// Checkpointer is a Store whose data is in files on this machine.
type Checkpointer interface {
	// Checkpoint creates dir, which must not exist, as a copy of the store with everything committed so far.
	Checkpoint(ctx context.Context, dir string) error
}

// maxAttempts is how often Update runs a closure that keeps conflicting.
const maxAttempts = 64

// Update runs fn in a transaction and commits it, and starts over on ErrConflict; so fn may run more than once. It returns
// LockedError at once.
func Update(ctx context.Context, s Store, opt TxnOpt, fn func(Txn) error) error {
	for attempt := 1; ; attempt++ {
		err := updateOnce(ctx, s, opt, fn)
		if err == nil || !errors.Is(err, ErrConflict) || attempt == maxAttempts {
			return err
		}
		var locked *LockedError
		if errors.As(err, &locked) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// updateOnce runs fn in one transaction. fn's error is returned only if what fn has read is durable (K7).
func updateOnce(ctx context.Context, s Store, opt TxnOpt, fn func(Txn) error) error {
	txn, err := s.Begin(ctx, opt)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = txn.Rollback() // fn panicked: release its locks
		}
	}()
	fnErr := fn(txn)
	done = true
	if fnErr != nil {
		if err := txn.Rollback(); err != nil {
			return err
		}
		return fnErr
	}
	return txn.Commit(ctx)
}
