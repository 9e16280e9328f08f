package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/objectstore"
)

// manyObjects lists objects forever.
type manyObjects struct {
	objectstore.Store
	size int64
}

func (m manyObjects) List(_ context.Context, _, _ string, visit func(objectstore.Object) error) error {
	for i := 0; ; i++ {
		if err := visit(objectstore.Object{Key: fmt.Sprint("k", i), Size: m.size}); err != nil {
			return err
		}
	}
}

// TestQuotas lists more objects than an import may have, and larger ones.
func TestQuotas(t *testing.T) {
	for size, want := range map[int64]string{1: "more than 50000 objects", 1 << 40: "more than 15 TB"} {
		_, _, err := (&source{store: manyObjects{size: size}}).list(t.Context())
		var f *Failure
		if !errors.As(err, &f) || f.Code != quotaExceeded || !strings.Contains(f.Message, want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestMessage truncates a message that quotes a file.
func TestMessage(t *testing.T) {
	long := message(errors.New(strings.Repeat("ü", 1<<20)))
	if len(long) > maxMessage+3 || !strings.HasSuffix(long, "ü…") {
		t.Errorf("%d bytes: %q", len(long), long[len(long)-10:])
	}
	if got := message(errors.New("short")); got != "short" {
		t.Errorf("%q", got)
	}
}
