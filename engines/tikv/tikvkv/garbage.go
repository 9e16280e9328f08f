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
	// keepInterval is how often a server announces which versions it still reads; an announcement is valid for keepFor.
	keepInterval = time.Minute
	keepFor      = 10 * time.Minute
	// collectInterval is how often old versions are collected. Versions younger than collectAge are always kept.
	collectInterval = 10 * time.Minute
	collectAge      = 10 * time.Minute
)

// snapshots are the start timestamps of open snapshots.
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

// oldest returns the smallest timestamp; now if no snapshot is open.
func (s *snapshots) oldest(now uint64) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Min(append([]uint64{now}, s.list...))
}

// collectLoop collects old versions. In a cluster without TiDB nothing else does; any server may, at any time.
func (s *Store) collectLoop(ctx context.Context) {
	name := fmt.Sprintf("stator-%016x", rand.Uint64())
	collected := time.Now().Add(-time.Duration(rand.Int64N(int64(collectInterval)))) // spread over the servers
	tick := time.NewTicker(keepInterval)
	defer tick.Stop()
	for {
		err := s.keep(ctx, name)
		if err == nil && time.Since(collected) > collectInterval {
			collected = time.Now()
			err = s.collectGarbage(ctx, collectAge)
		}
		if err != nil && ctx.Err() == nil {
			s.opt.Logger.Warn("cannot collect old versions", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// keep announces to the cluster the oldest version that this server still reads.
func (s *Store) keep(ctx context.Context, name string) error {
	now, err := s.db.CurrentTimestamp(oracle.GlobalTxnScope)
	if err != nil {
		return err
	}
	_, err = s.db.GetPDClient().UpdateServiceGCSafePoint(ctx, name, int64(keepFor.Seconds()), s.oldest.oldest(now))
	return err
}

// collectGarbage collects versions that are older than age and that no service still reads.
func (s *Store) collectGarbage(ctx context.Context, age time.Duration) error {
	now, err := s.db.CurrentTimestamp(oracle.GlobalTxnScope)
	if err != nil {
		return err
	}
	before := oracle.GoTimeToTS(oracle.GetTimeFromTS(now).Add(-age))
	// gc_worker is the name that TiDB uses for this. The answer is the oldest version that any service still reads.
	before, err = s.db.GetPDClient().UpdateServiceGCSafePoint(ctx, "gc_worker", math.MaxInt64, before)
	if err != nil {
		return err
	}
	_, err = s.db.GC(ctx, before)
	return err
}
