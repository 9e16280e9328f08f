package tikvkv

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/periodic"
)

// tallyInterval is how often what was counted is stored.
const tallyInterval = time.Second

// counted are additions to the counters at a key.
type counted struct {
	key    string
	deltas []int64
}

// tally has what committed transactions have added to counters and is not stored yet. In the transactions themselves the counters
// would take all to one place, and make commits of one region ones of two. A crash loses what was counted since tallyInterval.
type tally struct {
	mu   sync.Mutex
	sums map[string][]int64
}

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

// forget drops what was added to the counters of a range.
func (t *tally) forget(r kv.Range) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key := range t.sums {
		if bytes.Compare([]byte(key), r.Start) >= 0 && (r.End == nil || bytes.Compare([]byte(key), r.End) < 0) {
			delete(t.sums, key)
		}
	}
}

// take removes and returns all that is to be stored.
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
	periodic.Run(ctx, s.opt.Logger, "storing counters", tallyInterval, func() {
		if err := s.flushTally(ctx); err != nil && ctx.Err() == nil {
			s.opt.Logger.Warn("storing counters failed", "error", err.Error())
		}
	})
}

// flushTally stores what was counted.
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
