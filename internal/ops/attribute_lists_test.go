package ops

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// TestAttributeListsAreBounded stores attribute lists until the account is full. Its existing lists still work, and other accounts are
// unaffected. In a store of an older version, which has no total, the total is counted.
func TestAttributeListsAreBounded(t *testing.T) {
	ctx := t.Context()
	s := open(t, Options{})
	list := func(i int) []byte { return fmt.Appendf(nil, "list-%03d", i) }
	each := uint64(len(list(0)) + listOverhead)
	total := func(n uint64) {
		t.Helper()
		if err := kv.Update(ctx, s.Tables.KV, kv.TxnOpt{}, func(txn kv.Txn) error {
			return txn.Put(keyspace.AttributeList("a", listTotalID), binary.AppendUvarint(nil, n))
		}); err != nil {
			t.Fatal(err)
		}
	}
	total(maxLists - 10*each)
	var ids []int64
	for i := range 10 {
		id, err := s.AttributeListID(ctx, "a", list(i))
		if err != nil || id < firstListID || id > lastListID {
			t.Fatalf("list %d: %d, %v", i, id, err)
		}
		ids = append(ids, id)
	}
	var known *awserr.Error
	if _, err := s.AttributeListID(ctx, "a", list(10)); !errors.As(err, &known) || known.Code != awserr.LimitExceeded {
		t.Errorf("one too many: %v", err)
	}
	for i, id := range ids {
		if again, err := s.AttributeListID(ctx, "a", list(i)); again != id || err != nil {
			t.Errorf("list %d: %d, %v, want %d", i, again, err, id)
		}
		if got, err := s.AttributeList(ctx, "a", id); string(got) != string(list(i)) || err != nil {
			t.Errorf("list %d: %q, %v", i, got, err)
		}
	}
	if _, err := s.AttributeListID(ctx, "b", list(10)); err != nil {
		t.Errorf("another account: %v", err)
	}
	for _, id := range []int64{-1, listTotalID, 1, lastListID + 1} {
		if got, err := s.AttributeList(ctx, "a", id); got != nil || err != nil {
			t.Errorf("list %d: %q, %v", id, got, err)
		}
	}
	if got, err := s.AttributeList(ctx, "b", ids[0]); got != nil || err != nil {
		t.Errorf("another account's list: %q, %v", got, err)
	}

	if err := kv.Update(ctx, s.Tables.KV, kv.TxnOpt{}, func(txn kv.Txn) error {
		return txn.Delete(keyspace.AttributeList("a", listTotalID), 0)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AttributeListID(ctx, "a", list(10)); err != nil {
		t.Fatal(err)
	}
	raw, err := kv.ReadLatest(ctx, s.Tables.KV, keyspace.AttributeList("a", listTotalID))
	if n, _ := binary.Uvarint(raw); n != 11*each || err != nil {
		t.Errorf("the total is %d, %v, want %d", n, err, 11*each)
	}
}

// TestAttributeListsAtOnce stores many lists at once: they all change one total, which must not make them fail.
func TestAttributeListsAtOnce(t *testing.T) {
	s := open(t, Options{})
	var all sync.WaitGroup
	for client := range 32 {
		all.Go(func() {
			for i := range 50 {
				if _, err := s.AttributeListID(t.Context(), "a", fmt.Appendf(nil, "list-%d-%d", client, i)); err != nil {
					t.Errorf("client %d: %v", client, err)
					return
				}
			}
		})
	}
	all.Wait()
}
