package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// broken is a Watcher whose first reloads fail.
type broken struct{ reloads atomic.Int64 }

func (*broken) Freeze([]byte) {}

func (b *broken) Reload(context.Context, []byte) error {
	if b.reloads.Add(1) < 3 {
		return errors.New("the disk is broken")
	}
	return nil
}

// TestSolo checks that a freeze ends although the first reloads fail.
func TestSolo(t *testing.T) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, b := NewSolo(ctx, nil), new(broken)
	s.Watch(keyspace.TableRecords(), b)
	if err := s.Exclusive(ctx, tableKey, func(func(kv.Txn) error) error { return nil }); err == nil {
		t.Error("the failure was not reported")
	}
	eventually(t, "the end of the freeze", func() bool { return b.reloads.Load() == 3 })
}
