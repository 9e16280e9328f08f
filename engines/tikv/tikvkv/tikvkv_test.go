package tikvkv_test

import (
	"strings"
	"testing"

	"github.com/statordb/stator/engines/tikv/tikvkv"
	"github.com/statordb/stator/engines/tikv/tikvtest"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/kvtest"
)

// TestSeveral checks the contract between stores of three servers.
func TestSeveral(t *testing.T) {
	cluster := tikvtest.New(t)
	var stores []kv.Store
	for range 3 {
		s := cluster.Store(t)
		defer s.Close()
		stores = append(stores, s)
	}
	kvtest.Several(t, stores...)
}

func TestContract(t *testing.T) {
	t.Run("Mock", func(t *testing.T) {
		kvtest.Run(t, func(t *testing.T) kv.Store { return tikvtest.New(t).Store(t) })
	})
	t.Run("Real", func(t *testing.T) {
		pd := tikvtest.Real()
		if pd == "" {
			t.Skip("STATOR_TEST_TIKV names no cluster")
		}
		kvtest.Run(t, func(t *testing.T) kv.Store {
			s, err := tikvkv.Open("tikv://"+pd, tikvkv.Options{})
			if err != nil {
				t.Fatal(err)
			}
			tikvtest.Empty(t, s)
			return s
		})
	})
}

// TestURL checks that Open refuses invalid URLs before it connects.
func TestURL(t *testing.T) {
	for url, want := range map[string]string{
		"tikv://":                 "placement drivers",
		"tikv://,pd1:2379":        "placement drivers",
		"tikv://pd1:2379?tls=yes": "unknown parameter tls",
	} {
		if s, err := tikvkv.Open(url, tikvkv.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v, want %q", url, s, err, want)
		}
	}
}
