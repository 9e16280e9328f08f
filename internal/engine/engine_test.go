package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/kv"
)

func TestSchemes(t *testing.T) {
	for url, want := range map[string]string{
		"tikv://pd:2379":  "use stator-tikv",
		"mysql://db/name": "must be postgres:// or tikv://",
		"elsewhere":       "must be postgres:// or tikv://",
	} {
		if _, err := Open(context.Background(), &Options{Storage: url}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	failed := errors.New("opened the registered engine")
	Register("mysql", func(*Options) (kv.Store, error) { return nil, failed })
	t.Cleanup(func() { delete(registered, "mysql") })
	if _, err := Open(context.Background(), &Options{Storage: "mysql://db/name"}); !errors.Is(err, failed) {
		t.Errorf("the registered engine: %v", err)
	}
}
