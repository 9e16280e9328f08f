package dax

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pebblekv"
)

func openStore(t *testing.T) kv.Store {
	t.Helper()
	store, err := pebblekv.Open(pebblekv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// TestListsAreBounded defines attribute lists until the account is full. Its existing lists still work, also in a store of an older
// version that has no total, and other accounts are unaffected.
func TestListsAreBounded(t *testing.T) {
	ctx := context.Background()
	store := openStore(t)
	const each = 4 + listOverhead
	define := func(l *lists, i int) (int64, error) {
		return l.define(ctx, [][]byte{fmt.Appendf(nil, "%03d", i)})
	}
	bounded := func(account string) *lists {
		l := newLists(account, store)
		l.max = 10 * each
		return l
	}
	l := bounded("a")
	var ids []int64
	for i := range 10 {
		id, err := define(l, i)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	full := func(l *lists) {
		t.Helper()
		var known *awserr.Error
		if _, err := define(l, 10); !errors.As(err, &known) || known.Code != awserr.LimitExceeded {
			t.Errorf("one too many: %v", err)
		}
		for i, id := range ids {
			if again, err := define(l, i); again != id || err != nil {
				t.Errorf("list %d: %d, %v, want %d", i, again, err, id)
			}
			if list, err := l.list(ctx, id); err != nil || list.Names[0] != fmt.Sprintf("%03d", i) {
				t.Errorf("list %d: %v, %v", i, list, err)
			}
		}
	}
	full(l)
	full(bounded("a")) // after a restart
	if err := kv.Update(ctx, store, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Delete(keyspace.AttributeList("a", storedID), 0) }); err != nil {
		t.Fatal(err)
	}
	full(bounded("a"))
	if _, err := define(bounded("b"), 10); err != nil {
		t.Errorf("another account: %v", err)
	}
	for _, id := range []int64{storedID, -1, maxListID + 1} {
		if _, err := l.list(ctx, id); !errors.Is(err, errNoList) {
			t.Errorf("list %d: %v", id, err)
		}
	}
}

// TestListsMemory caches lists of very many names, whose real memory must stay within what is counted for them.
func TestListsMemory(t *testing.T) {
	l := newLists("a", nil)
	var before, after runtime.MemStats
	names := strings.Repeat("\x01x", 50_000)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 100 {
		signature := string(appendName(nil, fmt.Sprint(i))) + names
		l.remember(int64(i), signature, newList(signature))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 2*maxKnown {
		t.Errorf("the lists take %d MB", took>>20)
	}
	runtime.KeepAlive(l)
}
