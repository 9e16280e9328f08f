package tikvkv

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tikv/client-go/v2/oracle"
)

const (
	// keepInterval is how often a server says which versions it still reads, and keepFor how long that holds.
	keepInterval = time.Minute
	keepFor      = 10 * time.Minute
	// collectInterval is how often old versions are collected, and collectAge how old in any case they become.
	collectInterval = 10 * time.Minute
	collectAge      = 10 * time.Minute
)

// snapshots are those that are open.
type snapshots struct {
	mu   sync.Mutex
	list []uint64
}

func (s *snapshots) add(ts uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, ts)
}

func (s *snapshots) remove(ts uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.list, ts); i >= 0 {
		s.list = slices.Delete(s.list, i, i+1)
	}
}

// oldest returns the first of them; now if there is none.
func (s *snapshots) oldest(now uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Min(append([]uint64{now}, s.list...))
}

// collectLoop has old versions collected. A cluster without TiDB has nobody else who does; any server may, at any time.
func (s *Store) collectLoop(ctx context.Context) {
	name := fmt.Sprintf("stator-%016x", rand.Uint64())
	collected := time.Now().Add(-time.Duration(rand.Int64N(int64(collectInterval)))) // not all servers at a time
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	for {
		err := s.keep(ctx, name)
		if err == nil && time.Since(collected) > collectInterval {
			collected = time.Now()
			err = s.collectGarbage(ctx, collectAge)
		}
		if err != nil && ctx.Err() == nil {
			s.opt.Logger.Warn("collecting old versions failed", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// keep tells the cluster from which time on this server reads.
func (s *Store) keep(ctx context.Context, name string) error {
	now, err := s.db.CurrentTimestamp(oracle.GlobalTxnScope)
	if err != nil {
		return err
	}
	_, err = s.db.GetPDClient().UpdateServiceGCSafePoint(ctx, name, int64(keepFor.Seconds()), s.oldest.oldest(now))
	return err
}

// collectGarbage collects the versions that are of an age and that nobody reads any more.
func (s *Store) collectGarbage(ctx context.Context, age time.Duration) error {
	now, err := s.db.CurrentTimestamp(oracle.GlobalTxnScope)
	if err != nil {
		return err
	}
	before := oracle.GoTimeToTS(oracle.GetTimeFromTS(now).Add(-age))
	// gc_worker is the name under which TiDB does so too; the answer is the earliest of what all services still read.
	before, err = s.db.GetPDClient().UpdateServiceGCSafePoint(ctx, "gc_worker", math.MaxInt64, before)
	if err != nil {
		return err
	}
	_, err = s.db.GC(ctx, before)
	return err
}
