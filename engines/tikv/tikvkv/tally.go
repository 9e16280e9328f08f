package tikvkv

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/kv"
)

// tallyInterval is how often counted changes are stored.
const tallyInterval = time.Second

// counted is a change of the counters at a key.
type counted struct {
	key    string
	deltas []int64
}

// tally sums the changes of counters of committed transactions until they are stored. If the transactions wrote the counters
// themselves, all would write the same key, and commits of one region would become commits of two. A crash loses up to
// tallyInterval of changes, so counters are approximate on TiKV.
type tally struct {
	mu   sync.Mutex
	sums map[string][]int64
}

// add adds the changes of a committed transaction.
func (t *tally) add(list []counted) {
	if len(list) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sums == nil {
		t.sums = make(map[string][]int64)
	}
	for _, c := range list {
		t.sums[c.key] = kv.SumCounters(t.sums[c.key], c.deltas)
	}
}

func (t *tally) get(key []byte) []int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.sums[string(key)])
}

// forget drops changes of the counters in a range.
func (t *tally) forget(r kv.Range) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.sums {
		if bytes.Compare([]byte(key), r.Start) >= 0 && (r.End == nil || bytes.Compare([]byte(key), r.End) < 0) {
			delete(t.sums, key)
		}
	}
}

// take removes and returns all changes.
func (t *tally) take() (list []counted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, sum := range t.sums {
		if slices.ContainsFunc(sum, func(n int64) bool { return n != 0 }) {
			list = append(list, counted{key, sum})
		}
	}
	t.sums = nil
	return list
}

func (s *Store) tallyLoop(ctx context.Context) {
	jobs.Every(ctx, s.opt.Logger, "storing counters", tallyInterval, func() {
		if err := s.flushTally(ctx); err != nil && ctx.Err() == nil {
			s.opt.Logger.Warn("cannot store counters", "error", err.Error())
		}
	})
}

// flushTally stores the changes. Those that were certainly not stored return to the tally; those of an unknown outcome
// are dropped, since counting twice is worse than missing one.
func (s *Store) flushTally(ctx context.Context) error {
	var errs []error
	for _, c := range s.tally.take() {
		key := []byte(c.key)
		err := kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
			val, err := txn.Get(key)
			if err != nil {
				return err
			}
			return txn.Put(key, kv.AppendCounters(nil, kv.SumCounters(kv.DecodeCounters(val), c.deltas)))
		})
		if err != nil {
			if !errors.Is(err, kv.ErrUndetermined) {
				s.tally.add([]counted{c})
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
