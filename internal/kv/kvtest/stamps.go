package kvtest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv"
)

// Several checks what must hold between stores of several servers over one database. The stores must be new and empty.
func Several(t *testing.T, stores ...kv.Store) {
	t.Run("Stamps", func(t *testing.T) { stampedBy(t, stores) })
	t.Run("StampsOfMissing", func(t *testing.T) { stampsOfMissing(t, stores[0], stores[1]) })
}

// stampsOfMissing reads a missing key in one transaction; meanwhile others put and delete it; then the first puts it
// too. If the first commits last, its stamp must be the highest. A missing key has no row to lock, so engines get this
// wrong easily.
func stampsOfMissing(t *testing.T, one, other kv.Store) {
	key := []byte("missing")
	opt := kv.TxnOpt{Hint: [][]byte{key}, Stamped: true}
	txn := begin(t, one, opt)
	want(t, txn, string(key), "", false)
	first := txn.Stamp()
	if err := txn.Put(key, []byte("first")); err != nil {
		t.Fatal(err)
	}
	var between kv.TS
	done := make(chan error, 1)
	go func() {
		var err error
		for _, val := range []string{"second", ""} {
			err = errors.Join(err, kv.Update(ctx, other, opt, func(txn kv.Txn) error {
				between = txn.Stamp()
				if val == "" {
					return txn.Delete(key, 0)
				}
				return txn.Put(key, []byte(val))
			}))
		}
		done <- err
	}()
	var late bool
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
		late = true
	case <-time.After(200 * time.Millisecond): // the others wait for the first
	}
	err := txn.Commit(ctx)
	switch {
	case late && err == nil && first < between:
		t.Errorf("a transaction with the stamp %d commits after one with %d", first, between)
	case err != nil && !errors.Is(err, kv.ErrConflict):
		t.Error(err)
	}
	if !late {
		if err := <-done; err != nil {
			t.Error(err)
		}
		if between < first {
			t.Errorf("a transaction with the stamp %d commits after one with %d", between, first)
		}
	}
}

func stamped(t *testing.T, s kv.Store) {
	stampedBy(t, []kv.Store{s})
	ahead := now(t, s) + 1<<40
	s.Advance(ahead)
	if now := now(t, s); now <= ahead {
		t.Fatalf("the clock is at %d after it was advanced to %d", now, ahead)
	}
}

// stampedBy checks K8: a reader that follows records by their stamps, up to Stable, misses none, and finds the records of each
// key in the order of its values.
func stampedBy(t *testing.T, stores []kv.Store) {
	const shared = 3
	workers, each := 6*len(stores), 60*len(stores)*len(stores)
	s := stores[0]
	before := now(t, s)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				key := fmt.Appendf(nil, "k%d", (w+i)%shared)
				if len(stores) > 1 {
					key = fmt.Appendf(nil, "k%d.%d", (w+i)%shared, w) // few transactions share a key, so that many are stamped concurrently
				}
				err := writeStamped(stores[w%len(stores)], key, before)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	found := map[string]uint64{}
	total := 0
	at := binary.BigEndian.AppendUint64([]byte("r"), uint64(before))
	for last, until := false, kv.TS(0); ; {
		stable, err := s.Stable(ctx)
		if err != nil {
			t.Fatal(err)
		}
		end := binary.BigEndian.AppendUint64([]byte("r"), uint64(stable))
		r := latest(t, s)
		err = kv.Each(ctx, r, kv.Range{Start: at, End: end}, func(_, val []byte) error {
			key, n := string(val[8:]), binary.BigEndian.Uint64(val)
			if found[key]++; found[key] != n {
				return fmt.Errorf("record %d of %s arrives as number %d", n, key, found[key])
			}
			total++
			return nil
		})
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		at = end
		if last && stable >= until {
			break
		}
		select {
		case <-done:
			if !last {
				last, until = true, now(t, s) // records written up to now are still to be read
			}
		default:
		}
	}
	if total != workers*each {
		t.Fatalf("%d records, want %d", total, workers*each)
	}
}

func now(t *testing.T, s kv.Store) kv.TS {
	t.Helper()
	at, err := s.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// writeStamped puts a record under the transaction's stamp, which must be greater than before: the number of the key's records, and the key.
func writeStamped(s kv.Store, key []byte, before kv.TS) error {
	return kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key}, Stamped: true}, func(txn kv.Txn) error {
		old, err := txn.Get(key)
		if err != nil {
			return err
		}
		n := uint64(1)
		if old != nil {
			n = binary.BigEndian.Uint64(old) + 1
		}
		stamp := txn.Stamp()
		if again := txn.Stamp(); again != stamp || stamp <= before {
			return fmt.Errorf("stamps %d and %d, begun after %d", stamp, again, before)
		}
		val := binary.BigEndian.AppendUint64(nil, n)
		if err := txn.PutNew(binary.BigEndian.AppendUint64([]byte("r"), uint64(stamp)), append(val, key...)); err != nil {
			return err
		}
		return txn.Put(key, val)
	})
}
