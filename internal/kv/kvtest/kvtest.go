// Package kvtest is the contract of the storage engines; each engine's test calls Run.
package kvtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/paging"
)

// Run checks an engine against the promises K1 to K8 of package kv. open must return a new, empty store each time.
func Run(t *testing.T, open func(t *testing.T) kv.Store) {
	for _, c := range []struct {
		name string
		test func(*testing.T, kv.Store)
	}{
		{"OrderAndValues", orderAndValues},
		{"Atomic", atomic},
		{"OwnWrites", ownWrites},
		{"LostUpdate", lostUpdate},
		{"WriteSkew", writeSkew},
		{"HintedNeverConflict", hintedNeverConflict},
		{"Exclusive", exclusive},
		{"SnapshotIsStable", snapshotIsStable},
		{"SnapshotOfKeys", snapshotOfKeys},
		{"SharedSnapshot", shared},
		{"Counters", counters},
		{"Fence", fence},
		{"Stamps", stamped},
		{"DeleteRange", deleteRange},
		{"Load", load},
		{"Scan", scans},
		{"Pages", pages},
		{"Model", model},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := kv.Checked(open(t))
			defer func() {
				if err := s.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			}()
			c.test(t, s)
		})
	}
}

var ctx = context.Background()

func put(t *testing.T, s kv.Store, pairs ...string) {
	t.Helper()
	err := kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := txn.Put([]byte(pairs[i]), []byte(pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, r kv.Reader, key string) (val string, found bool) {
	t.Helper()
	v, err := r.Get([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return string(v), v != nil
}

func latest(t *testing.T, s kv.Store) kv.Snapshot {
	t.Helper()
	r, err := s.Latest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func begin(t *testing.T, s kv.Store, opt kv.TxnOpt) kv.Txn {
	t.Helper()
	txn, err := s.Begin(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	return txn
}

func want(t *testing.T, r kv.Reader, key, val string, found bool) {
	t.Helper()
	if v, ok := get(t, r, key); v != val || ok != found {
		t.Fatalf("key %q holds %q (%v), want %q (%v)", key, v, ok, val, found)
	}
}

func keys(t *testing.T, r kv.Reader, rg kv.Range, opt kv.ScanOpt) []string {
	t.Helper()
	it, err := r.Scan(rg, opt)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for it.Next() {
		out = append(out, string(it.Key()))
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

func orderAndValues(t *testing.T, s kv.Store) {
	put(t, s, "b", "2", "a\x00", "1", "a", "", "\xff", "4", "a\x00\x01", "x")
	r := latest(t, s)
	defer r.Close()
	want(t, r, "a", "", true)
	want(t, r, "c", "", false)
	got := keys(t, r, kv.Range{}, kv.ScanOpt{})
	if exp := []string{"a", "a\x00", "a\x00\x01", "b", "\xff"}; !slices.Equal(got, exp) {
		t.Fatalf("got %q, want %q", got, exp)
	}
}

func atomic(t *testing.T, s kv.Store) {
	txn := begin(t, s, kv.TxnOpt{})
	if err := errors.Join(txn.Put([]byte("a"), []byte("1")), txn.Put([]byte("b"), []byte("1"))); err != nil {
		t.Fatal(err)
	}
	r := latest(t, s)
	defer r.Close()
	want(t, r, "a", "", false)
	_ = txn.Rollback()
	want(t, r, "a", "", false)
	put(t, s, "a", "1", "b", "2")
	want(t, r, "a", "1", true)
	want(t, r, "b", "2", true)
}

func ownWrites(t *testing.T, s kv.Store) {
	put(t, s, "a", "1", "b", "1")
	txn := begin(t, s, kv.TxnOpt{Hint: [][]byte{[]byte("a")}})
	defer func() { _ = txn.Rollback() }()
	want(t, txn, "a", "1", true)
	if err := errors.Join(txn.Put([]byte("a"), []byte("2")), txn.Put([]byte("c"), []byte("3")), txn.Delete([]byte("b"), 2)); err != nil {
		t.Fatal(err)
	}
	want(t, txn, "a", "2", true)
	want(t, txn, "b", "", false)
	if got := keys(t, txn, kv.Range{}, kv.ScanOpt{}); !slices.Equal(got, []string{"a", "c"}) {
		t.Fatalf("got %q", got)
	}
	if err := txn.Put([]byte("d"), []byte("4")); err != nil {
		t.Fatal(err)
	}
	want(t, txn, "d", "4", true)
}

func lostUpdate(t *testing.T, s kv.Store) {
	put(t, s, "n", "0")
	first, second := begin(t, s, kv.TxnOpt{}), begin(t, s, kv.TxnOpt{})
	want(t, first, "n", "0", true)
	want(t, second, "n", "0", true)
	if err := errors.Join(first.Put([]byte("n"), []byte("1")), second.Put([]byte("n"), []byte("2"))); err != nil {
		t.Fatal(err)
	}
	if err := first.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := second.Commit(ctx); !errors.Is(err, kv.ErrConflict) {
		t.Fatalf("second commit: %v, want ErrConflict", err)
	}
	r := latest(t, s)
	defer r.Close()
	want(t, r, "n", "1", true)
}

func writeSkew(t *testing.T, s kv.Store) {
	put(t, s, "x", "1", "y", "1")
	run := func(read, write string) (kv.Txn, error) {
		txn := begin(t, s, kv.TxnOpt{})
		want(t, txn, read, "1", true)
		return txn, errors.Join(txn.Guard([]byte(read)), txn.Put([]byte(write), []byte("0")))
	}
	a, errA := run("x", "y")
	b, errB := run("y", "x")
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	if err := a.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.Commit(ctx); !errors.Is(err, kv.ErrConflict) {
		t.Fatalf("second commit: %v, want ErrConflict", err)
	}
}

func hintedNeverConflict(t *testing.T, s kv.Store) {
	const workers, each = 8, 100
	key := []byte("n")
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for range workers {
		wg.Go(func() {
			for range each {
				err := kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key}}, func(txn kv.Txn) error {
					v, err := txn.Get(key)
					if err != nil {
						return err
					}
					n := 0
					if v != nil {
						if _, err := fmt.Sscan(string(v), &n); err != nil {
							return err
						}
					}
					return txn.Put(key, fmt.Append(nil, n+1))
				})
				if err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
	r := latest(t, s)
	defer r.Close()
	want(t, r, "n", fmt.Sprint(workers*each), true)
}

func exclusive(t *testing.T, s kv.Store) {
	a, b := []byte("a"), []byte("b")
	hold := begin(t, s, kv.TxnOpt{Hint: [][]byte{a, b}, Exclusive: true})
	var locked *kv.LockedError
	if _, err := s.Begin(ctx, kv.TxnOpt{Hint: [][]byte{b}}); err != nil && !errors.As(err, &locked) {
		t.Fatalf("got %v, want LockedError", err)
	} else if err != nil && locked.Hint != 0 {
		t.Fatalf("hint %d, want 0", locked.Hint)
	}
	// Background transactions wait for the exclusive one, and exclusive ones for them.
	order := make(chan string, 3)
	done := make(chan struct{}, 2)
	run := func(name string, opt kv.TxnOpt) {
		txn, err := s.Begin(ctx, opt)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			order <- name
			_ = txn.Rollback()
		}
		done <- struct{}{}
	}
	go run("background", kv.TxnOpt{Hint: [][]byte{a, b}, Background: true})
	order <- "exclusive"
	_ = hold.Rollback()
	<-done
	background := begin(t, s, kv.TxnOpt{Hint: [][]byte{a}, Background: true})
	go run("second exclusive", kv.TxnOpt{Hint: [][]byte{a, b}, Exclusive: true})
	select {
	case <-done:
		t.Error("an exclusive transaction does not wait for a background transaction")
	case <-time.After(20 * time.Millisecond):
	}
	_ = background.Rollback()
	<-done
	for _, want := range []string{"exclusive", "background", "second exclusive"} {
		if got := <-order; got != want {
			t.Errorf("%s comes before %s", got, want)
		}
	}
	free := begin(t, s, kv.TxnOpt{Hint: [][]byte{b}})
	_ = free.Rollback()
}

func snapshotIsStable(t *testing.T, s kv.Store) {
	put(t, s, "a", "1")
	snap, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	put(t, s, "a", "2", "b", "1")
	want(t, snap, "a", "1", true)
	if got := keys(t, snap, kv.Range{}, kv.ScanOpt{}); !slices.Equal(got, []string{"a"}) {
		t.Fatalf("got %q", got)
	}
}

// snapshotOfKeys reads two keys that a writer always changes together; a snapshot must show them equal.
func snapshotOfKeys(t *testing.T, s kv.Store) {
	put(t, s, "a", "0", "b", "0")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				val := fmt.Sprint(i)
				put(t, s, "a", val, "b", val)
			}
		}
	}()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 50 {
				snap, err := s.Snapshot(ctx, []byte("a"), []byte("b"), []byte("c"))
				if err != nil {
					t.Error(err)
					return
				}
				a, foundA := get(t, snap, "a")
				b, foundB := get(t, snap, "b")
				if _, foundC := get(t, snap, "c"); a != b || !foundA || !foundB || foundC {
					t.Errorf("a=%q b=%q in one snapshot", a, b)
				}
				if again, _ := get(t, snap, "a"); again != a {
					t.Errorf("a=%q, then %q in the same snapshot", a, again)
				}
				if err := snap.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	<-stopped
}

func counters(t *testing.T, s kv.Store) {
	key := []byte("c")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if err := kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Add(key, []int64{1, -2, 300}) }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r := latest(t, s)
	defer r.Close()
	wantCounters := func(want ...int64) {
		t.Helper()
		if got, err := r.Counters(key); err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
	wantCounters(200, -400, 60000)
	set := func(counters ...int64) {
		t.Helper()
		if err := kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.SetCounters(key, counters) }); err != nil {
			t.Fatal(err)
		}
	}
	set(7, 8)
	if err := kv.Update(ctx, s, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Add(key, []int64{0, 1, 2}) }); err != nil {
		t.Fatal(err)
	}
	wantCounters(7, 9, 2)
	set()
	wantCounters()
	set(1)
	if err := s.DeleteRange(ctx, kv.Range{Start: key, End: []byte("d")}); err != nil {
		t.Fatal(err)
	}
	wantCounters()
}

func fence(t *testing.T, s kv.Store) {
	stop := errors.New("lease lost")
	txn := begin(t, s, kv.TxnOpt{Fence: func() error { return stop }})
	if err := txn.Put([]byte("a"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := txn.Commit(ctx); !errors.Is(err, kv.ErrFenced) || !errors.Is(err, stop) {
		t.Fatalf("got %v", err)
	}
	r := latest(t, s)
	defer r.Close()
	want(t, r, "a", "", false)
}

func deleteRange(t *testing.T, s kv.Store) {
	put(t, s, "a", "1", "b", "1", "c", "1")
	if err := s.DeleteRange(ctx, kv.Range{Start: []byte("a"), End: []byte("c")}); err != nil {
		t.Fatal(err)
	}
	r := latest(t, s)
	defer r.Close()
	if got := keys(t, r, kv.Range{}, kv.ScanOpt{}); !slices.Equal(got, []string{"c"}) {
		t.Fatalf("got %q", got)
	}
}

func scans(t *testing.T, s kv.Store) {
	put(t, s, "a", "1", "b", "2", "c", "3", "d", "4")
	r := latest(t, s)
	defer r.Close()
	rg := kv.Range{Start: []byte("b"), End: []byte("d")}
	if got := keys(t, r, rg, kv.ScanOpt{}); !slices.Equal(got, []string{"b", "c"}) {
		t.Fatalf("forward %q", got)
	}
	if got := keys(t, r, rg, kv.ScanOpt{Reverse: true}); !slices.Equal(got, []string{"c", "b"}) {
		t.Fatalf("reverse %q", got)
	}
	for _, c := range []struct {
		seek    string
		reverse bool
		want    string
	}{{"b", false, "b"}, {"bb", false, "c"}, {"c", true, "c"}, {"bb", true, "b"}} {
		it, err := r.Scan(rg, kv.ScanOpt{Reverse: c.reverse})
		if err != nil {
			t.Fatal(err)
		}
		it.Seek([]byte(c.seek))
		if !it.Next() || string(it.Key()) != c.want {
			t.Errorf("seek %q reverse=%v: got %q, want %q", c.seek, c.reverse, it.Key(), c.want)
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Seek may move an iterator in both directions, also after its end.
	for _, reverse := range []bool{false, true} {
		it, err := r.Scan(kv.Range{Start: []byte("a"), End: []byte("d")}, kv.ScanOpt{Reverse: reverse})
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
		}
		for _, c := range []struct{ seek, forward, backward string }{{"a", "a", "a"}, {"c", "c", "c"}, {"b", "b", "b"}, {"bb", "c", "b"}, {"0", "a", ""}, {"e", "", "c"}} {
			want := c.forward
			if reverse {
				want = c.backward
			}
			it.Seek([]byte(c.seek))
			got := ""
			if it.Next() {
				got = string(it.Key())
			}
			if got != want {
				t.Errorf("seek %q reverse=%v after the end: got %q, want %q", c.seek, reverse, got, want)
			}
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// pages scans more rows than engines fetch at a time, of very different sizes, with right and wrong estimates in ScanOpt.Rows.
func pages(t *testing.T, s kv.Store) {
	var want, pairs []string
	for i := range 400 {
		key := fmt.Sprintf("table1%03d", i)
		want, pairs = append(want, key), append(pairs, key, strings.Repeat("v", []int{10, 1000, 60_000}[i*3/400]))
	}
	put(t, s, "table0", "", "table2", "")
	for i := 0; i < len(pairs); i += 100 {
		put(t, s, pairs[i:i+100]...)
	}
	back := slices.Clone(want)
	slices.Reverse(back)
	rng := kv.Range{Start: []byte("table1"), End: []byte("table2")}
	snap, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	last := latest(t, s)
	txn := begin(t, s, kv.TxnOpt{})
	if err := txn.Put([]byte(want[30]), []byte("own")); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]kv.Reader{"latest": last, "snapshot": snap, "transaction": txn} {
		for _, rows := range []int{0, 1, 2, 3, 63, 64, 65, 399, 400, 1000} {
			if got := keys(t, r, rng, kv.ScanOpt{Rows: rows}); !slices.Equal(got, want) {
				t.Errorf("%s, %d rows wanted: %d keys, want %d", name, rows, len(got), len(want))
			}
			if got := keys(t, r, rng, kv.ScanOpt{Rows: rows, Reverse: true}); !slices.Equal(got, back) {
				t.Errorf("%s, %d rows wanted, reverse: %d keys, want %d", name, rows, len(got), len(back))
			}
			for _, seek := range []int{0, 5, 200, 399} {
				seekPage(t, r, rng, kv.ScanOpt{Rows: rows}, want[seek], want[seek:])
				seekPage(t, r, rng, kv.ScanOpt{Rows: rows, Reverse: true}, want[seek], back[len(back)-1-seek:])
			}
		}
	}
	if err := errors.Join(txn.Rollback(), last.Close(), snap.Close()); err != nil {
		t.Fatal(err)
	}
}

// seekPage moves a scan to a key, and checks the keys that follow.
func seekPage(t *testing.T, r kv.Reader, rng kv.Range, opt kv.ScanOpt, key string, want []string) {
	t.Helper()
	it, err := r.Scan(rng, opt)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // move away from the start
		it.Next()
	}
	it.Seek([]byte(key))
	for _, key := range want[:min(len(want), 70)] {
		if !it.Next() || string(it.Key()) != key {
			t.Fatalf("%T, %d rows wanted, reverse=%v, from %s: got %q, want %q", r, opt.Rows, opt.Reverse, want[0], it.Key(), key)
		}
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
}

// PageSizes checks that a scan over a paging store fetches neither much more than its reader wants nor more than memory should
// hold. asked returns how many rows the iterator's current page asked for.
func PageSizes(t *testing.T, s kv.Store, asked func(kv.Iterator) int) {
	for table, size := range map[string]int{"small_": 100, "large_": 300 << 10} {
		for i := range 10 {
			put(t, s, fmt.Sprintf("%s%03d", table, i), strings.Repeat("v", size))
		}
	}
	r := latest(t, s)
	defer r.Close()
	for _, c := range []struct {
		table      string
		rows, want int
	}{
		{"small_", 5, 5},
		{"small_", 20, 20},
		{"small_", 1000, paging.First},
		{"small_", 0, paging.First},
		{"large_", 3, 3},
		{"large_", 0, 4}, // the sizes are known from the scan before
	} {
		it, err := r.Scan(kv.Range{Start: []byte(c.table), End: []byte(c.table + "z")}, kv.ScanOpt{Rows: c.rows})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			it.Next()
		}
		if got := asked(it); got != c.want {
			t.Errorf("%s, %d rows wanted: asks for %d, want %d", c.table, c.rows, got, c.want)
		}
		if err := it.Close(); err != nil {
			t.Error(err)
		}
	}
}

// model runs random transactions and compares the store with a map after each.
func model(t *testing.T, s kv.Store) {
	rnd := rand.New(rand.NewPCG(1, 2))
	state := map[string]string{}
	for step := range 400 {
		next := make(map[string]string, len(state))
		for k, v := range state {
			next[k] = v
		}
		txn := begin(t, s, kv.TxnOpt{})
		for range rnd.IntN(6) {
			k := fmt.Sprintf("%02d", rnd.IntN(40))
			switch rnd.IntN(4) {
			case 0:
				if err := txn.Delete([]byte(k), 0); err != nil {
					t.Fatal(err)
				}
				delete(next, k)
			case 1:
				v, ok := next[k]
				want(t, txn, k, v, ok)
			default:
				v := fmt.Sprint(step)
				if err := txn.Put([]byte(k), []byte(v)); err != nil {
					t.Fatal(err)
				}
				next[k] = v
			}
		}
		if rnd.IntN(4) == 0 {
			_ = txn.Rollback()
		} else {
			if err := txn.Commit(ctx); err != nil {
				t.Fatal(err)
			}
			state = next
		}
		r := latest(t, s)
		got := keys(t, r, kv.Range{}, kv.ScanOpt{})
		exp := make([]string, 0, len(state))
		for k, v := range state {
			exp = append(exp, k)
			want(t, r, k, v, true)
		}
		sort.Strings(exp)
		if !slices.Equal(got, exp) {
			t.Fatalf("step %d: keys %q, want %q", step, got, exp)
		}
		r.Close()
	}
}

// shared scans one snapshot from several goroutines concurrently.
func shared(t *testing.T, s kv.Store) {
	for i := range 300 {
		put(t, s, fmt.Sprintf("%04d", i), fmt.Sprint(i))
	}
	snap, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			n := 0
			err := kv.Each(ctx, snap, kv.Range{}, func(key, val []byte) error {
				if want := fmt.Sprintf("%04d", n); string(key) != want || string(val) != fmt.Sprint(n) {
					return fmt.Errorf("key %s holds %s, want %s", key, val, want)
				}
				n++
				return nil
			})
			if err != nil || n != 300 {
				t.Errorf("%d keys, %v", n, err)
			}
		})
	}
	wg.Wait()
}
