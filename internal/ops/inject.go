package ops

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/faults"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metering"
	"github.com/statordb/stator/internal/table"
)

// operationKey is the context key of the operation, set in test mode only.
type operationKey struct{}

// operationOf returns the context's operation. Background work gets one without a name.
func operationOf(ctx context.Context) *operation {
	if op, ok := ctx.Value(operationKey{}).(*operation); ok {
		return op
	}
	return &operation{}
}

var errInjected = errors.New("injected by the test mode")

// injectRequest delays or fails a request for the table as the rules say.
func (s *Service) injectRequest(req *Request, t *catalog.Table) error {
	if d, ok := s.Faults.Draw(faults.Latency, req.Operation, t.Name); ok {
		time.Sleep(d)
	}
	if _, ok := s.Faults.Draw(faults.Fail, req.Operation, t.Name); ok {
		return awserr.Internal(errInjected)
	}
	return nil
}

// InjectItem returns the injected error for the use of one item, or nil.
func (s *Service) InjectItem(ctx context.Context, t *catalog.Table, u metering.Use, write bool) error {
	op := operationOf(ctx)
	_, refused := s.Faults.Draw(faults.Throttle, op.handler.name, t.Name)
	if !refused && op.batch {
		_, refused = s.Faults.Draw(faults.Unprocessed, op.handler.name, t.Name)
	}
	if refused {
		return t.Meter.Throttle(u, s.Now())
	}
	if !write {
		return nil
	}
	if _, ok := s.Faults.Draw(faults.Conflict, op.handler.name, t.Name); ok {
		t.Meter.Conflicted(s.Now())
		return table.ErrConflict
	}
	return nil
}

// admit checks that a read may use the capacity now, after injected faults.
func (s *Service) admit(ctx context.Context, t *catalog.Table, u metering.Use, now time.Time) error {
	if s.Faults != nil {
		if err := s.InjectItem(ctx, t, u, false); err != nil {
			return err
		}
	}
	return t.Meter.Admit(u, now)
}

// reader returns the source of a read: the present, or in test mode possibly a stale snapshot if the read need not be
// consistent.
func (s *Service) reader(ctx context.Context, t *catalog.Table, consistent bool) (kv.Snapshot, error) {
	if s.Faults != nil && !consistent {
		if age, ok := s.Faults.Draw(faults.Stale, operationOf(ctx).handler.name, t.Name); ok {
			if snap := s.past.at(time.Now().Add(-s.Faults.Within(age))); snap != nil {
				return snap, nil
			}
		}
	}
	return s.Tables.KV.Latest(ctx)
}

// past keeps recent snapshots, from which stale reads are served in test mode.
type past struct {
	mu   sync.Mutex
	list []*pastSnapshot // oldest first
}

// pastSnapshot counts references: one of the list and one of each reader. The last Close closes the snapshot.
type pastSnapshot struct {
	kv.Snapshot
	taken time.Time
	users int
	past  *past
}

// Close implements kv.Snapshot. It drops one reference.
func (p *pastSnapshot) Close() error {
	p.past.mu.Lock()
	p.users--
	last := p.users == 0
	p.past.mu.Unlock()
	if last {
		return p.Snapshot.Close()
	}
	return nil
}

// at returns the newest snapshot taken at or before t, or the oldest one if all are newer; nil if there are none. The caller
// must Close it.
func (p *past) at(t time.Time) kv.Snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return nil
	}
	found := p.list[0]
	for _, s := range p.list {
		if !s.taken.After(t) {
			found = s
		}
	}
	found.users++
	return found
}

// snapshotsKept is about how many snapshots cover the age of the stalest read.
const snapshotsKept = 8

// KeepPast takes snapshots for stale reads until ctx ends. It returns at once if no rule injects stale reads.
func (s *Service) KeepPast(ctx context.Context) error {
	age, ok := s.Faults.Has(faults.Stale)
	if !ok {
		return nil
	}
	tick := time.NewTicker(max(age/snapshotsKept, time.Millisecond))
	defer tick.Stop()
	defer s.past.drop(time.Now().Add(time.Hour))
	for {
		snap, err := s.Tables.KV.Snapshot(ctx)
		if err != nil {
			return err
		}
		s.past.mu.Lock()
		s.past.list = append(s.past.list, &pastSnapshot{Snapshot: snap, taken: time.Now(), users: 1, past: &s.past})
		s.past.mu.Unlock()
		if err := s.past.drop(time.Now().Add(-age)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// drop removes the snapshots taken before a time. Readers that hold one may go on using it.
func (p *past) drop(before time.Time) error {
	p.mu.Lock()
	var old []*pastSnapshot
	for len(p.list) > 0 && p.list[0].taken.Before(before) {
		old, p.list = append(old, p.list[0]), p.list[1:]
	}
	p.mu.Unlock()
	var err error
	for _, s := range old {
		err = errors.Join(err, s.Close())
	}
	return err
}
