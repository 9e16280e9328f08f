package pebblekv

import (
	"bytes"
	"testing"
)

// TestRowsTooLarge: the row cache neither keeps nor copies a value that would evict too many others.
func TestRowsTooLarge(t *testing.T) {
	c := newRowCache(rowShards * 8000)
	key := []byte("key")
	read := func(val []byte) {
		const hash = 1
		for range 2 { // a value is kept at the second read
			_, found, ticket := c.get(hash, key)
			if !found {
				c.put(hash, key, val, ticket)
			}
		}
	}
	large := bytes.Repeat([]byte("x"), 2000)
	if n := testing.AllocsPerRun(100, func() { read(large) }); n > 0 {
		t.Errorf("reading a large value allocates %v times", n)
	}
	if _, found, _ := c.get(1, key); found {
		t.Error("a large value was kept")
	}
	small := []byte("small")
	read(small)
	if val, found, _ := c.get(1, key); !found || !bytes.Equal(val, small) {
		t.Errorf("a small value: found %v, value %q", found, val)
	}
	// A commit that makes a cached row large drops it.
	keys := []written{{hash: 1, key: key, val: large}}
	c.begin(keys)
	c.end(keys, false)
	if _, found, _ := c.get(1, key); found {
		t.Error("a row that a commit made large was kept")
	}
}
