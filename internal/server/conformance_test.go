package server

import (
	"testing"

	"github.com/statordb/stator/internal/kv/tikvkv"
	"github.com/statordb/stator/internal/kv/tikvkv/tikvtest"
	"github.com/statordb/stator/test/conformance"
)

// TestConformance runs the cases on every engine. On engines that several servers can share, the requests are spread over
// three.
func TestConformance(t *testing.T) {
	const dir = "../../test/conformance/testdata"
	for _, c := range []struct {
		engine string
		open   func(t *testing.T) []*db
	}{
		{"Pebble", func(t *testing.T) []*db { return []*db{open(t, Options{})} }},
		{"PostgreSQL", func(t *testing.T) []*db { return openServers(t, 3, Options{}) }},
		{"TiKV", func(t *testing.T) []*db {
			cluster := tikvtest.New(t)
			list := make([]*db, 3)
			for i := range list {
				opt := Options{DataDir: t.TempDir()}
				onTiKV(t, &opt, cluster)
				list[i] = open(t, opt)
			}
			return list
		}},
		{"RealTiKV", func(t *testing.T) []*db {
			url := "tikv://" + tikvtest.Real()
			if url == "tikv://" {
				t.Skip("STATOR_TEST_TIKV names no cluster")
			}
			s, err := tikvkv.Open(url, tikvkv.Options{})
			if err != nil {
				t.Fatal(err)
			}
			tikvtest.Empty(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			list := make([]*db, 3)
			for i := range list {
				list[i] = open(t, Options{Storage: url, DataDir: t.TempDir()})
			}
			return list
		}},
	} {
		t.Run(c.engine, func(t *testing.T) {
			conformance.Run(t, dir, func(t *testing.T) (urls []string) {
				for _, d := range c.open(t) {
					urls = append(urls, d.URL())
				}
				return urls
			})
		})
	}
}
