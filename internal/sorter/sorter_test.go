package sorter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// TestSorter compares the Sorter with a map and slices.Sort: in memory, and with so little of it that runs are compacted.
func TestSorter(t *testing.T) {
	for _, c := range []struct {
		name   string
		dir    string
		memory int
		keys   int
	}{
		{"memory", "", 100, 5000}, {"one run", t.TempDir(), 1 << 20, 5000}, {"many runs", t.TempDir(), 100, 5000},
		{"few keys", t.TempDir(), 100, 10}, {"one key", t.TempDir(), 100, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(Options{Dir: c.dir, Memory: c.memory})
			want := map[string]string{}
			for i := range 5000 {
				k, v := fmt.Sprintf("%d", rand.IntN(c.keys)), fmt.Sprint(i)
				want[k] = v
				if err := s.Add([]byte(k), []byte(v)); err != nil {
					t.Fatal(err)
				}
			}
			it, err := s.Sorted()
			if err != nil {
				t.Fatal(err)
			}
			var keys []string
			for it.Next() {
				keys = append(keys, string(it.Key()))
				if v := string(it.Value()); v != want[keys[len(keys)-1]] {
					t.Fatalf("key %s has %s, want the last value %s", it.Key(), v, want[string(it.Key())])
				}
			}
			if err := it.Close(); err != nil {
				t.Fatal(err)
			}
			if len(keys) != len(want) || !slices.IsSorted(keys) {
				t.Fatalf("%d keys in order %v, want %d", len(keys), slices.IsSorted(keys), len(want))
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if c.dir != "" {
				if left, _ := os.ReadDir(c.dir); len(left) > 0 {
					t.Errorf("%d files were not deleted", len(left))
				}
			}
		})
	}
}

// TestEmpty sorts nothing, and closes an iterator before its end.
func TestEmpty(t *testing.T) {
	s := New(Options{Dir: t.TempDir(), Memory: 10})
	it, err := s.Sorted()
	if err != nil || it.Next() || it.Close() != nil || s.Close() != nil {
		t.Fatal("an empty sorter returned a pair", err)
	}
	s = New(Options{Dir: t.TempDir(), Memory: 10})
	for i := range 100 {
		if err := s.Add(fmt.Appendf(nil, "key %d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if it, err = s.Sorted(); err != nil || !it.Next() || it.Close() != nil || s.Close() != nil {
		t.Fatal("an iterator can't be closed early", err)
	}
}

// TestNoSpace fills the disk down to the reserve.
func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	left := int64(Reserve + 10*(1<<20))
	s := New(Options{Dir: dir, Memory: 1 << 20, Free: func(string) (int64, error) {
		left -= 1 << 20
		return left, nil
	}})
	var err error
	n := 0
	for ; err == nil && n < 100; n++ {
		err = s.Add(fmt.Appendf(nil, "%06d", n), make([]byte, 1<<20))
	}
	if !errors.Is(err, ErrNoSpace) {
		t.Errorf("%d MB: %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if files, _ := os.ReadDir(dir); len(files) > 0 {
		t.Errorf("%d files were not deleted", len(files))
	}
}
