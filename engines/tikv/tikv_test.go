// Package tikv tests whole servers over TiKV.
package tikv

import (
	"testing"

	"github.com/statordb/stator"
	"github.com/statordb/stator/engines/tikv/tikvkv"
	"github.com/statordb/stator/engines/tikv/tikvtest"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/test/conformance"
)

// TestConformance spreads the requests of the cases over three servers that share a cluster: a mock, and a real one if
// STATOR_TEST_TIKV names it.
func TestConformance(t *testing.T) {
	clusters := map[string]func(t *testing.T) (open func() kv.Store){
		"Mock": func(t *testing.T) func() kv.Store {
			cluster := tikvtest.New(t)
			return func() kv.Store { return cluster.Store(t) }
		},
		"Real": func(t *testing.T) func() kv.Store {
			if tikvtest.Real() == "" {
				t.Skip("STATOR_TEST_TIKV names no cluster")
			}
			open := func() kv.Store {
				s, err := tikvkv.Open("tikv://"+tikvtest.Real(), tikvkv.Options{})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			tikvtest.Empty(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open
		},
	}
	for name, cluster := range clusters {
		t.Run(name, func(t *testing.T) {
			conformance.Run(t, "../../test/conformance/testdata", func(t *testing.T) []string { return serve(t, 3, cluster(t)) })
		})
	}
}

// serve starts servers that share a cluster, until the test ends, and returns their URLs.
func serve(t *testing.T, n int, open func() kv.Store) (urls []string) {
	engine.Register("test", func(*engine.Options) (kv.Store, error) { return open(), nil })
	for range n {
		s, err := stator.Open(stator.Options{Listen: "127.0.0.1:0", Storage: "test://", DataDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		urls = append(urls, s.URL())
	}
	return urls
}
