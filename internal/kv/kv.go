// Package kv is the storage seam: an ordered, transactional key-value store. Nothing above it knows which engine runs.
//
// What every engine promises, and package kvtest checks (Checked is for the other side):
//
//	K1  Keys are ordered by their bytes. Empty keys are not used; empty values are allowed.
//	K2  A transaction is atomic and, unless the caller chose otherwise, durable when Commit returns nil.
//	K3  A transaction that read a key which it also hints, writes or guards commits only if that key has not changed in
//	    between; otherwise Commit returns ErrConflict and nothing happened. Its other reads are of committed states, not
//	    necessarily of one moment; a Snapshot is of one.
//	K4  A transaction sees its own writes.
//	K5  What a Reader returns is valid until it is closed (a Txn: until Commit or Rollback), an Iterator's key and value
//	    until its next move.
//	K6  Counters (Txn.Add) never conflict. They are apart from other keys: neither Get nor Scan need find them.
//	K7  What a Reader has returned, and what the outcome of a transaction tells, survives a crash as durable commits do,
//	    unless ScanOpt.Stale says that it need not.
//	K8  Stamps order the transactions that hint a key in common as they commit, and Store.Stable is a timestamp below which
//	    all stamps belong to transactions that have ended and are visible, whichever server they ran on.
//
// Errors are always returned; a missing key is a nil value, not an error.
package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
)

// The errors that engines return, besides those of broken hardware.
var (
	// ErrConflict says that nothing was written because another transaction came in between; running the same closure
	// again may succeed.
	ErrConflict = errors.New("kv: conflict")
	// ErrUndetermined says that a commit may or may not have happened.
	ErrUndetermined = errors.New("kv: outcome of the commit unknown")
	// ErrTooLarge says that a key, a value or a transaction exceeds Limits.
	ErrTooLarge = errors.New("kv: too large")
	// ErrFenced says that TxnOpt.Fence refused the commit; nothing was written.
	ErrFenced = errors.New("kv: fenced")
	// ErrUnavailable says that the store can't be used now; nothing was written.
	ErrUnavailable = errors.New("kv: store unavailable")
)

// LockedError says that Begin found a hinted key in use by another transaction where one of the two is Exclusive. It is an
// ErrConflict.
type LockedError struct {
	Hint int // index into TxnOpt.Hint
}

// Error implements error.
func (e *LockedError) Error() string { return fmt.Sprintf("kv: hinted key %d is in use", e.Hint) }

// Is makes errors.Is(err, ErrConflict) true.
func (e *LockedError) Is(target error) bool { return target == ErrConflict }

// TS is a timestamp: milliseconds since 1970 << 18 | a logical counter, as TiKV's timestamp oracle gives them.
type TS uint64

// Millis returns the timestamp's wall clock part in milliseconds since 1970.
func (t TS) Millis() int64 { return int64(t >> 18) }

// AtMillis returns the first timestamp of a millisecond since 1970.
func AtMillis(ms int64) TS { return TS(max(ms, 0)) << 18 }

// Range is the keys k with Start <= k < End. A nil End is no bound.
type Range struct{ Start, End []byte }

// From returns the part of the range at and behind a key, in a scan's direction.
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

// Behind returns the part of the range behind a key that is in it, in a scan's direction.
func (r Range) Behind(key []byte, reverse bool) Range {
	if reverse {
		r.End = bytes.Clone(key)
	} else {
		r.Start = append(bytes.Clone(key), 0)
	}
	return r
}

// ScanOpt says how to go through a range.
type ScanOpt struct {
	Reverse bool // from the last key to the first
	Stale   bool // the scan may see commits that a crash would undo, and need not wait for them
	Rows    int  // about how many rows the reader will want; 0 if it doesn't know
	// Turn is what the reader leaves to others while the engine waits for a network; nil for nothing. See package turns.
	Turn interface{ Leave() }
}

// Wait is called by engines before they wait for a network.
func (o *ScanOpt) Wait() {
	if o.Turn != nil {
		o.Turn.Leave()
	}
}

// Reader reads keys.
type Reader interface {
	// Get returns the key's value; nil if there is none. An existing empty value is not nil.
	Get(key []byte) ([]byte, error)
	// Counters returns the counters at a key; none if there are none.
	Counters(key []byte) ([]int64, error)
	// Scan goes through a range in order. The Iterator must be closed before the Reader is.
	Scan(r Range, opt ScanOpt) (Iterator, error)
}

// ReadLatest returns a copy of the last committed value of a key; nil if there is none.
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

// Fetcher is a Reader of which it costs less to read many keys at a time than one by one.
type Fetcher interface {
	// Fetch reads keys, which Get then has as they were.
	Fetch(keys [][]byte) error
}

// Fetch reads keys at once where that helps those who Get them.
func Fetch(r Reader, keys [][]byte) error {
	if f, ok := r.(Fetcher); ok && len(keys) > 1 {
		return f.Fetch(keys)
	}
	return nil
}

// Snapshot is a Reader that must be closed. Several goroutines may Scan it at a time.
type Snapshot interface {
	Reader
	Close() error
}

// Iterator moves through a range.
//
//	for it.Next() { … it.Key() … it.Value() … }
//	err := it.Close()
type Iterator interface {
	// Next moves to the next key, first to the first one; false at the end and on error.
	Next() bool
	Key() []byte
	Value() []byte
	// Seek moves, as the next Next would, to the first key at or behind key in the scan's direction.
	Seek(key []byte)
	// Close releases the iterator and returns the error that ended it, if any.
	Close() error
}

// Each calls visit for every key of a range in order, until visit or ctx ends it with an error.
func Each(ctx context.Context, r Reader, rng Range, visit func(key, val []byte) error) error {
	it, err := r.Scan(rng, ScanOpt{})
	if err != nil {
		return err
	}
	for n := 0; err == nil && it.Next(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			err = ctx.Err()
		} else {
			err = visit(it.Key(), it.Value())
		}
	}
	return errors.Join(err, it.Close())
}

// Txn is a transaction.
type Txn interface {
	Reader
	Put(key, val []byte) error
	// PutNew is Put for a key that has the transaction's Stamp. Where stamps of several servers may be the same, the commit fails
	// with ErrConflict if another has written it.
	PutNew(key, val []byte) error
	// Delete removes a key. oldSize is the length of key and value that it frees, or 0 if unknown.
	Delete(key []byte, oldSize int) error
	// Add adds deltas to the list of counters at key, element by element.
	Add(key []byte, deltas []int64) error
	// SetCounters puts others in the place of the counters at a key that nobody else adds to meanwhile; none removes them.
	SetCounters(key []byte, counters []int64) error
	// Stamp returns a timestamp for the keys of records that are read in order (K8), the same one at every call. The
	// transaction must be TxnOpt.Stamped.
	Stamp() TS
	// Guard makes the commit fail if the keys, read by this transaction, change before it.
	Guard(keys ...[]byte) error
	// Commit ends the transaction.
	Commit(ctx context.Context) error
	// Rollback ends the transaction without effect. After Commit it does nothing. Its error says that what the transaction
	// has read may not survive a crash (K7).
	Rollback() error
}

// TxnOpt are options of one transaction.
type TxnOpt struct {
	// Hint are the keys that the transaction reads and changes. An engine may lock them, so that it never conflicts on them.
	Hint [][]byte
	// Exclusive makes Begin fail with LockedError at once, rather than wait, where another transaction uses a hinted key,
	// and makes others fail at once that meet this one's keys.
	Exclusive bool
	// Background is for work that no client asked for: the transaction waits for Exclusive ones, and they for it.
	Background bool
	// Stamped says that the transaction may take a Stamp.
	Stamped bool
	// Fence is called just before the commit; its error (wrapped in ErrFenced) prevents it.
	Fence func() error
	// NoSync is for redoable background work: the commit may be lost in a crash.
	NoSync bool
}

// Limits are the largest sizes in bytes that the engine takes; 0 is no limit.
type Limits struct {
	Key, Value, Txn int
	// Workers is how many transactions at a time work in the background is worth; 0 for one. They wait for a distant engine.
	Workers int
}

// Store is a storage engine.
type Store interface {
	Begin(ctx context.Context, opt TxnOpt) (Txn, error)
	// Snapshot returns a view of one instant. If keys are given, it is of them alone, and they are read at once where that helps.
	Snapshot(ctx context.Context, keys ...[]byte) (Snapshot, error)
	// Latest returns a Reader of which every single Get and Scan sees the last committed state.
	Latest(ctx context.Context) (Snapshot, error)
	// Now returns a timestamp above those of all commits that have returned.
	Now(ctx context.Context) (TS, error)
	// Stable returns a timestamp such that every transaction with a Stamp below it has ended, and what it wrote is visible.
	Stable(ctx context.Context) (TS, error)
	// Advance makes all later timestamps larger than ts. Engines whose clock starts anew with the process need to be told.
	Advance(ts TS)
	// Load writes what source puts, which are keys in ascending order. It is for much that nobody else reads or writes
	// meanwhile: it is durable when Load returns nil; after an error, such as source's own, any part of it may be there.
	Load(ctx context.Context, source func(put func(key, val []byte) error) error) error
	// DeleteRange removes a range, not atomically.
	DeleteRange(ctx context.Context, r Range) error
	// Size returns about how many bytes a range takes.
	Size(ctx context.Context, r Range) (int64, error)
	Limits() Limits
	Close() error
}

// Checkpointer is a Store whose data are files on this machine.
type Checkpointer interface {
	// Checkpoint makes a directory, which must not exist, with the files of a store that has all that was committed.
	Checkpoint(ctx context.Context, dir string) error
}

// maxAttempts is how often Update runs a closure that conflicts.
const maxAttempts = 64

// Update runs fn in a transaction and commits it; again if it conflicts. LockedError is returned at once.
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

func updateOnce(ctx context.Context, s Store, opt TxnOpt, fn func(Txn) error) error {
	txn, err := s.Begin(ctx, opt)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			_ = txn.Rollback() // fn panicked
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
