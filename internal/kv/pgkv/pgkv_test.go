package pgkv_test

import (
	"context"
	"testing"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/kvtest"
	"github.com/statordb/stator/internal/kv/pgkv"
	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
)

func TestContract(t *testing.T) {
	db := pgtest.New(t)
	kvtest.Run(t, func(t *testing.T) kv.Store { return open(t, database(t, db)) })
}

// TestSeveral checks the contract between the stores of three servers.
func TestSeveral(t *testing.T) {
	url := database(t, pgtest.New(t))
	var stores []kv.Store
	for range 3 {
		s := open(t, url)
		defer s.Close()
		stores = append(stores, s)
	}
	kvtest.Several(t, stores...)
}

func database(t *testing.T, db *pgtest.Instance) string {
	t.Helper()
	url, err := db.Database()
	if err != nil {
		t.Fatal(err)
	}
	return url
}

func open(t *testing.T, url string) *pgkv.Store {
	t.Helper()
	s, err := pgkv.Open(context.Background(), pgkv.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
