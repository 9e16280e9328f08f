package tikvkv_test

import (
	"testing"

	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/kv/kvtest"
	"github.com/statordb/stator/internal/kv/tikvkv"
	"github.com/statordb/stator/internal/kv/tikvkv/tikvtest"
)

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
