package server

import (
	"testing"

	"github.com/statordb/stator/test/conformance"
)

// TestConformance runs the cases on every engine of this module. On PostgreSQL, which several servers can share, the requests are
// spread over three.
func TestConformance(t *testing.T) {
	for engine, servers := range map[string]func(t *testing.T) []*db{
		"Pebble":     func(t *testing.T) []*db { return []*db{open(t, Options{})} },
		"PostgreSQL": func(t *testing.T) []*db { return openServers(t, 3, Options{}) },
	} {
		t.Run(engine, func(t *testing.T) {
			conformance.Run(t, "../../test/conformance/testdata", func(t *testing.T) (urls []string) {
				for _, d := range servers(t) {
					urls = append(urls, d.URL())
				}
				return urls
			})
		})
	}
}
