package tikvkv_test

import (
	"context"
	"testing"

	"github.com/statordb/stator/engines/tikv/tikvkv"
	"github.com/statordb/stator/engines/tikv/tikvtest"
	"github.com/statordb/stator/internal/kv"
)

// TestCollect collects old versions while the data keeps changing. An open snapshot must still find its own versions.
func TestCollect(t *testing.T) {
	ctx := context.Background()
	s := tikvtest.New(t).Store(t)
	defer s.Close()
	put := func(val string) {
		t.Helper()
		if err := kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Put([]byte("k"), []byte(val)) }); err != nil {
			t.Fatal(err)
		}
	}
	put("old")
	snap, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	put("new")
	if err := tikvkv.Collect(ctx, s, 0); err != nil {
		t.Fatal(err)
	}
	if val, err := snap.Get([]byte("k")); err != nil || string(val) != "old" {
		t.Errorf("the snapshot holds %q, %v", val, err)
	}
	put("newer")
	r, err := s.Latest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if val, err := r.Get([]byte("k")); err != nil || string(val) != "newer" {
		t.Errorf("the store holds %q, %v", val, err)
	}
}
