package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
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

// TestEnded resumes jobs of a server that has gone after it had ended them, as this server learns only once it has claimed them.
func TestEnded(t *testing.T) {
	s := newSession(t)
	ctx := t.Context()
	space := catalog.Namespace{Account: "000000000000", Region: "us-east-1"}
	imported := &Import{Namespace: space, ID: "i", Table: "music", Version: recordVersion, Status: InProgress}
	exported := &Export{Namespace: space, ID: "e", Table: "music", Version: recordVersion, Status: InProgress}
	bulk := &Bulk{Namespace: space, ID: "b", Version: recordVersion, Status: InProgress}
	err := errors.Join(s.Imports.Put(ctx, imported.Key(), imported), s.Exports.Put(ctx, exported.Key(), exported), s.Bulk.Put(ctx, bulk.Key(), bulk))
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	resumed := make(chan struct{}) // Resume starts only jobs whose records it finds in progress
	s.caughtUp = func() {
		<-resumed
		once.Do(func() {
			_, err1 := s.Imports.Change(ctx, imported.Key(), func(i *Import) error { i.Status = Completed; return nil })
			_, err2 := s.Exports.Change(ctx, exported.Key(), func(e *Export) error { e.Status = Completed; return nil })
			if err := errors.Join(err1, err2, s.Bulk.Remove(ctx, bulk.Key())); err != nil {
				t.Error(err)
			}
		})
	}
	err = s.Resume(ctx, s.rules)
	close(resumed)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-s.released
	}
	s.stop()
	if i, e, b := s.Imports.Get(imported.Key()), s.Exports.Get(exported.Key()), s.Bulk.Get(bulk.Key()); i.Status != Completed || e.Status != Completed || b != nil {
		t.Errorf("import %s, export %s, bulk operation %v; log: %s", i.Status, e.Status, b, &s.log)
	}
}

// TestOutcomeFirst checks that an import is recorded as failed before its table is deleted: the end of the process in between must not
// leave an import whose table is missing for no reason.
func TestOutcomeFirst(t *testing.T) {
	s := newSession(t)
	key := []catalog.KeyAttribute{{Name: "pk", Type: attribute.TypeS}}
	there := make(chan bool, 1)
	s.Imports.Changed = func(i *Import) {
		if i.Status == Failed {
			there <- s.Tables.Catalog.Get(i.Namespace, i.Table) != nil
		}
	}
	i, taken, err := s.StartImport(t.Context(), &Import{Table: "none", Request: ImportRequest{
		S3BucketSource: &Source{S3Bucket: option("missing")}, InputFormat: option(api.InputFormatDynamodbJson),
	}}, &catalog.Table{Name: "none", OnDemandBilling: true, Attributes: key, Key: catalog.KeySchema{Partition: key}})
	if err != nil || taken != nil {
		t.Fatal(err, taken)
	}
	if !<-there {
		t.Error("the table was deleted first")
	}
	s.ended(func() string { return s.Current(s.Imports.Get(i.Key())).Status })
	if t2 := s.Tables.Catalog.Get(i.Namespace, i.Table); t2 != nil {
		t.Error("the table of a failed import is still there")
	}
}
