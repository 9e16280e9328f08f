package kvtest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"testing"

	"github.com/statordb/stator/internal/kv"
)

// stamped checks K8: a reader that follows records by their stamps, up to Stable, misses none, and finds those of one key in
// the order of its values.
func stamped(t *testing.T, s kv.Store) {
	const workers, each, shared = 6, 60, 3
	before := now(t, s)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range each {
				key := []byte(fmt.Sprint("k", (w+i)%shared))
				err := kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key}, Stamped: true}, func(txn kv.Txn) error {
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
					if err := txn.Put(binary.BigEndian.AppendUint64([]byte("r"), uint64(stamp)), append(val, key...)); err != nil {
						return err
					}
					return txn.Put(key, val)
				})
				if err != nil {
					t.Error(err)
				}
			}
		}()
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
				return fmt.Errorf("record %d of %s comes as number %d", n, key, found[key])
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
				last, until = true, now(t, s) // what was written meanwhile is still to be read
			}
		default:
		}
	}
	if total != workers*each {
		t.Fatalf("%d records, want %d", total, workers*each)
	}
	ahead := now(t, s) + 1<<40
	s.Advance(ahead)
	if now := now(t, s); now <= ahead {
		t.Fatalf("the clock stands at %d after it was advanced to %d", now, ahead)
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
