package pgkv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
)

// TestCommitTogether commits transactions together, of which one can't for what another server has written, and one must wait for what
// another server has locked. The others take effect at once, and each learns what has become of its own.
func TestCommitTogether(t *testing.T) {
	ctx := context.Background()
	db := pgtest.New(t)
	url, err := db.Database()
	if err != nil {
		t.Fatal(err)
	}
	open := func() *Store {
		s, err := Open(ctx, Options{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
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
	// Two that are under way, and what comes meanwhile waits.
	for range atATime {
		if !s.commits.enter(nil) {
			t.Fatal("more is under way than was begun")
		}
	}
	for i := range all {
		opt := kv.TxnOpt{Hint: [][]byte{key(i)}}
		if i == fenced {
			opt.Fence = func() error {
				if ended[all-1] != nil { // not before it waits
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
		case 1: // is only to be as it was
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
		for {
			s.commits.mu.Lock()
			n := len(s.commits.waiting)
			s.commits.mu.Unlock()
			if n > i {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	for range atATime {
		s.commits.leave()
	}
	sum := []int64{0, 0}
	for i := range all {
		if i == locked {
			continue
		}
		err := <-ended[i]
		switch i {
		case changed, came:
			if !errors.Is(err, kv.ErrConflict) {
				t.Errorf("transaction %d, whose row another server wrote: %v", i, err)
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
	// Who comes next to where servers met locks the row first, and others don't.
	for i, want := range map[int]bool{changed: true, 7: false} {
		x, err := s.Begin(ctx, kv.TxnOpt{Hint: [][]byte{key(i)}})
		if err != nil {
			t.Fatal(err)
		}
		if got := x.(*txn).conn != nil; got != want {
			t.Errorf("a transaction of row %d has locked it: %v", i, got)
		}
		if err := x.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}
