package kvtest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/statordb/stator/internal/kv"
)

// load checks Store.Load with more data than a store keeps in memory, between keys that exist already and must stay.
func load(t *testing.T, s kv.Store) {
	const n = 40000
	value := bytes.Repeat([]byte("some value "), 200) // 88 MB in total
	put(t, s, "a", "before", "zz", "behind", "k/000001/x", "between")
	old, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	err = s.Load(ctx, func(put func(key, val []byte) error) error {
		for i := range n {
			if err := put(fmt.Appendf(nil, "k/%06d", i), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(keys(t, old, kv.Range{}, kv.ScanOpt{})); got != 3 {
		t.Errorf("a snapshot taken before the load sees %d keys", got)
	}
	r := latest(t, s)
	if got := len(keys(t, r, kv.Range{Start: []byte("k/"), End: []byte("k0")}, kv.ScanOpt{})); got != n+1 {
		t.Errorf("%d keys, want %d", got, n+1)
	}
	for key, val := range map[string]string{"k/039999": string(value), "k/000001/x": "between", "zz": "behind"} {
		if got, _ := get(t, r, key); got != val {
			t.Errorf("%s holds %d bytes, want %d", key, len(got), len(val))
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	put(t, s, "k/000000", "written later")
	if err := s.Load(ctx, func(func(key, val []byte) error) error { return nil }); err != nil {
		t.Errorf("loading nothing: %v", err)
	}
	broken := errors.New("broken")
	err = s.Load(ctx, func(put func(key, val []byte) error) error { return errors.Join(put([]byte("z"), nil), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("Load returns %v for the source's error", err)
	}
	if err := s.DeleteRange(ctx, kv.Range{Start: []byte("k/"), End: []byte("k0")}); err != nil {
		t.Fatal(err)
	}
	r = latest(t, s)
	defer r.Close()
	if got := len(keys(t, r, kv.Range{}, kv.ScanOpt{})); got != 2 { // without "z", which the failed Load put
		t.Errorf("%d keys after the deletion, want 2", got)
	}
}
