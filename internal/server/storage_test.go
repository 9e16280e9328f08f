package server

import (
	"os"
	"sync"
	"testing"

	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
)

// testStorage moves a test from memory to a new database; nil if STATOR_TEST_STORAGE does not name one.
var testStorage func(t *testing.T, opt *Options)

func TestMain(m *testing.M) {
	if os.Getenv("STATOR_TEST_STORAGE") == "postgres" {
		testStorage = func(t *testing.T, opt *Options) { opt.Storage = newDatabase(t) }
	}
	code := m.Run()
	if i := postgres.running; i != nil {
		if err := i.Close(); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			code = 1
		}
	}
	os.Exit(code)
}

// postgres is the PostgreSQL server that all tests share.
var postgres struct {
	sync.Mutex
	running *pgtest.Instance
}

// newDatabase creates an empty database and returns its URL.
func newDatabase(t *testing.T) string {
	t.Helper()
	postgres.Lock()
	defer postgres.Unlock()
	if postgres.running == nil {
		postgres.running = pgtest.MustStart(t)
	}
	url, err := postgres.running.Database()
	if err != nil {
		t.Fatal(err)
	}
	return url + "&pool_max_conns=10"
}
