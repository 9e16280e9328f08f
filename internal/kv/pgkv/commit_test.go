package pgkv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
)

// TestCommitTogether commits a batch of transactions: another server has changed a row of one, and has locked a row of
// another. The rest must commit at once, and each must learn its own outcome.
func TestCommitTogether(t *testing.T) {
	ctx := context.Background()
	open := opener(t)
	s, other := open(), open()
	key := func(i int) []byte { return fmt.Appendf(nil, "k%02d", i) }
	put := func(s *Store, i int, val string) error {
		return kv.Update(ctx, s, kv.TxnOpt{Hint: [][]byte{key(i)}}, func(txn kv.Txn) error { return txn.Put(key(i), []byte(val)) })
	}
	const changed, came, locked, fenced, all = 3, 4, 5, 6, 12
	for i := range all {
		if i == came {
			continue
		}
		if err := put(other, i, "before"); err != nil {
			t.Fatal(err)
		}
	}
	list := make([]*txn, all)
	ended := make([]chan error, all)
	lost := errors.New("lost")
	keep(&s.commits)
	for i := range all {
		opt := kv.TxnOpt{Hint: [][]byte{key(i)}}
		if i == fenced {
			opt.Fence = func() error {
				if ended[all-1] != nil { // only once it waits
					return lost
				}
				return nil
			}
		}
		x, err := s.Begin(ctx, opt)
		if err != nil {
			t.Fatal(err)
		}
		list[i] = x.(*txn)
		switch i {
		case 0:
			err = x.Delete(key(i), 0)
		case 1: // read only: it must stay as it was
		default:
			err = x.Put(key(i), fmt.Appendf(nil, "new%d", i))
		}
		if err := errors.Join(err, x.Add([]byte("n"), []int64{1, int64(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(put(other, changed, "theirs"), put(other, came, "theirs")); err != nil {
		t.Fatal(err)
	}
	holder, err := other.Begin(ctx, kv.TxnOpt{Hint: [][]byte{key(locked)}, Stamped: true})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range list {
		ended[i] = make(chan error, 1)
		go func() { ended[i] <- x.Commit(ctx) }()
		waits(&s.commits, i+1)
	}
	release(&s.commits)
	sum := []int64{0, 0}
	for i := range all {
		if i == locked {
			continue
		}
		err := <-ended[i]
		switch i {
		case changed, came:
			if !errors.Is(err, kv.ErrConflict) {
				t.Errorf("transaction %d, whose row another server has changed: %v", i, err)
			}
		case fenced:
			if !errors.Is(err, kv.ErrFenced) || !errors.Is(err, lost) {
				t.Errorf("transaction %d, which is fenced: %v", i, err)
			}
		default:
			sum[0], sum[1] = sum[0]+1, sum[1]+int64(i)
			if err != nil {
				t.Errorf("transaction %d: %v", i, err)
			}
		}
	}
	select {
	case err := <-ended[locked]:
		t.Errorf("the transaction whose row is locked does not wait: %v", err)
	default:
	}
	if err := holder.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended[locked]; err != nil {
		t.Errorf("the transaction whose row was locked: %v", err)
	}
	sum[0], sum[1] = sum[0]+1, sum[1]+locked
	r, err := s.Latest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		want := fmt.Sprintf("new%d", i)
		switch i {
		case 0:
			want = ""
		case 1, fenced:
			want = "before"
		case changed, came:
			want = "theirs"
		}
		if val, err := r.Get(key(i)); err != nil || string(val) != want {
			t.Errorf("row %d is %q, %v, want %q", i, val, err, want)
		}
	}
	if got, err := r.Counters([]byte("n")); err != nil || fmt.Sprint(got) != fmt.Sprint(sum) {
		t.Errorf("counters are %v, %v, want %v", got, err, sum)
	}
	// The next transaction on a contended row locks it first; others don't.
	for i, want := range map[int]bool{changed: true, 7: false} {
		x, err := s.Begin(ctx, kv.TxnOpt{Hint: [][]byte{key(i)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := x.(*txn).conn != nil; got != want {
			t.Errorf("the transaction on row %d holds its lock: %v", i, got)
		}
		if err := x.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}

// opener returns a function that opens stores of one database.
func opener(t *testing.T) func() *Store {
	t.Helper()
	url, err := pgtest.New(t).Database()
	if err != nil {
		t.Fatal(err)
	}
	return func() *Store {
		t.Helper()
		s, err := Open(context.Background(), Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
}

// keep occupies all statements of a combiner, so that requests wait.
func keep[T any](c *combiner[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = maxRunning
}

// waits returns once want requests wait.
func waits[T any](c *combiner[T], want int) {
	for {
		c.mu.Lock()
		n := len(c.waiting)
		c.mu.Unlock()
		if n == want {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// release undoes keep.
func release[T any](c *combiner[T]) {
	for range maxRunning {
		c.leave()
	}
}

// TestReadTogether reads keys and pages of ranges in batches.
func TestReadTogether(t *testing.T) {
	ctx := context.Background()
	s := opener(t)()
	key := func(i int) []byte { return fmt.Appendf(nil, "k%03d", i) }
	const all = 300
	err := s.Load(ctx, func(put func(key, val []byte) error) (err error) {
		for i := range all {
			err = errors.Join(err, put(key(i), fmt.Appendf(nil, "v%d", i)))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Latest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	begin := func(f func()) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f()
		}()
	}
	keep(&s.reads)
	keep(&s.scansUp)
	keep(&s.scansDown)
	for i := range 20 {
		begin(func() {
			// Every second key is missing, and some keys are read by several requests.
			k, want := key(i/3), fmt.Sprint("v", i/3)
			if i%2 == 1 {
				k, want = append(k, 'x'), ""
			}
			if val, err := r.Get(k); err != nil || string(val) != want || (val == nil) != (want == "") {
				t.Errorf("%s is %q, %v", k, val, err)
			}
		})
	}
	begin(func() {
		vals, err := s.readCombined(ctx, key(5), key(1000), key(7))
		if err != nil || string(vals[0]) != "v5" || vals[1] != nil || string(vals[2]) != "v7" {
			t.Errorf("three keys: %q, %v", vals, err)
		}
	})
	for range 2 { // together more keys than one statement reads
		begin(func() {
			var keys [][]byte
			for i := range 200 {
				keys = append(keys, key(i))
			}
			vals, err := s.readCombined(ctx, keys...)
			for i, val := range vals {
				if string(val) != fmt.Sprint("v", i) {
					t.Errorf("key %d of many is %q, %v", i, val, err)
				}
			}
			if len(vals) != len(keys) {
				t.Errorf("%d values, %v", len(vals), err)
			}
		})
	}
	// More scans than one statement takes, some with several pages.
	for i := range 40 {
		begin(func() {
			from, to := i*5, i*5+i*3
			it, err := r.Scan(kv.Range{Start: key(from), End: key(to)}, kv.ScanOpt{Reverse: i%3 == 0})
			if err != nil {
				t.Error(err)
				return
			}
			n := 0
			for ; it.Next(); n++ {
				want := from + n
				if i%3 == 0 {
					want = min(to, all) - 1 - n
				}
				if string(it.Key()) != string(key(want)) || string(it.Value()) != fmt.Sprint("v", want) {
					t.Errorf("scan %d: row %d is %s with %s, want %d", i, n, it.Key(), it.Value(), want)
				}
			}
			if err := it.Close(); err != nil || n != max(0, min(to, all)-from) {
				t.Errorf("scan %d: %d rows of %d to %d, %v", i, n, from, to, err)
			}
		})
	}
	waits(&s.reads, 23)
	waits(&s.scansUp, 26)
	waits(&s.scansDown, 14)
	release(&s.reads)
	release(&s.scansUp)
	release(&s.scansDown)
	wg.Wait()
}

// TestCombiner checks how many requests each run serves as requests enter and leave.
func TestCombiner(t *testing.T) {
	runs := make(chan []int)
	proceed := make(chan bool)
	c := combiner[int]{most: 10, run: func(list []int) { runs <- list; <-proceed }}
	if !c.enter(0) {
		t.Fatal("the first request waits")
	}
	for i := 1; i <= 30; i++ {
		if c.enter(i) {
			t.Fatal("a later request does not wait")
		}
	}
	if got := <-runs; len(got) != minBatch || got[0] != 1 { // while the first is running
		t.Errorf("the second run serves %v", got)
	}
	c.leave()
	for range 2 { // as many statements as may run
		if got := <-runs; len(got) != c.most {
			t.Errorf("a run serves %v, want %d", got, c.most)
		}
		proceed <- true
	}
	proceed <- true // too few are left for a second statement
	if got := <-runs; len(got) != 2 || got[1] != 30 {
		t.Errorf("the last run serves %v", got)
	}
	proceed <- true
	for c.mu.Lock(); c.running > 0; c.mu.Lock() {
		c.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	c.mu.Unlock()
	if !c.enter(31) {
		t.Error("the next request waits")
	}
}
