package server

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// panicStore panics in the background work that its fields select.
type panicStore struct {
	kv.Store
	load, backfill, clear *atomic.Bool
	panics                *atomic.Int64
}

func (s panicStore) DeleteRange(ctx context.Context, r kv.Range) error {
	if s.clear.Load() {
		s.panics.Add(1)
		panic("clear")
	}
	return s.Store.DeleteRange(ctx, r)
}

func (s panicStore) Load(ctx context.Context, source func(put func(key, val []byte) error) error) error {
	return s.Store.Load(ctx, func(put func(key, val []byte) error) error {
		if s.load.Load() {
			s.panics.Add(1)
			panic("load")
		}
		return source(put)
	})
}

func (s panicStore) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	if s.backfill.Load() && opt.Background && len(opt.Hint) > 0 && bytes.HasPrefix(opt.Hint[len(opt.Hint)-1], keyspace.Backfill(0, 0, 0)[:2]) {
		s.panics.Add(1)
		panic("backfill")
	}
	return s.Store.Begin(ctx, opt)
}

// TestJobsThatPanic runs backups, restores and index builds that panic once each; the server keeps serving.
func TestJobsThatPanic(t *testing.T) {
	load, backfill, panics := new(atomic.Bool), new(atomic.Bool), new(atomic.Int64)
	dir, buckets := t.TempDir(), t.TempDir()
	if err := os.Mkdir(filepath.Join(buckets, "bucket"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(buckets, "bucket", "items.json"), []byte(`{"Item":{"pk":{"S":"a"}}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	opt := Options{DataDir: dir, S3Dir: buckets, Durability: "none", Logger: slog.New(slog.NewTextHandler(t.Output(), nil)), wrap: func(s kv.Store) kv.Store { return panicStore{s, load, backfill, new(atomic.Bool), panics} }}
	d := open(t, opt)
	d.must("CreateTable", indexedTable("tbl"))
	for i := range 20 {
		d.must("PutItem", obj{"TableName": "tbl", "Item": randomItem(i)})
	}
	good := d.backUp("tbl", "good")
	before := guard.Panics()
	load.Store(true)
	arn := d.must("CreateBackup", obj{"TableName": "tbl", "BackupName": "bad"})["BackupDetails"].(obj)["BackupArn"]
	eventually(t, "the backup to be removed", func() bool {
		_, err := d.call("DescribeBackup", obj{"BackupArn": arn})
		return err != nil && strings.Contains(err.Error(), "BackupNotFoundException")
	})
	d.must("RestoreTableFromBackup", obj{"TargetTableName": "again", "BackupArn": good})
	eventually(t, "the restored table to be removed", func() bool {
		_, err := d.call("DescribeTable", obj{"TableName": "again"})
		return err != nil && strings.Contains(err.Error(), "ResourceNotFoundException")
	})
	i := d.imported(obj{"ClientToken": "t", "S3BucketSource": obj{"S3Bucket": "bucket"}, "InputFormat": "DYNAMODB_JSON", "TableCreationParameters": provisioned("imported", 5, 5)})
	if message, _ := i["FailureMessage"].(string); i["ImportStatus"] != "FAILED" || !strings.Contains(message, "internal error: load") {
		t.Errorf("the import is %v", i)
	}
	load.Store(false)
	backfill.Store(true)
	d.must("UpdateTable", obj{"TableName": "tbl", "AttributeDefinitions": []obj{attr("new", "S"), attr("more", "N")},
		"GlobalSecondaryIndexUpdates": []obj{{"Create": newIndex("late", "new", "more")}}})
	eventually(t, "the index to be removed", func() bool { return d.indexStatus("tbl", "late") == "" })
	backfill.Store(false)
	if n := panics.Load(); n < 3 || guard.Panics()-before != n {
		t.Errorf("%d panics, and %d were counted", n, guard.Panics()-before)
	}
	metrics, err := d.metrics.Prometheus(t.Context())
	if want := fmt.Sprintf("stator_background_panics_total %d\n", guard.Panics()); err != nil || !strings.Contains(string(metrics), want) {
		t.Errorf("/metrics does not have %q: %v", want, err)
	}
	// After a restart there is nothing left to do, or to panic.
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	load.Store(true)
	backfill.Store(true)
	n := panics.Load()
	d = open(t, opt)
	if len(d.all("tbl", "", 0)) != 20 || panics.Load() != n {
		t.Errorf("%d more panics", panics.Load()-n)
	}
}

// TestClearingPanics deletes an index while the clearing work panics. It is tried twice and then set aside.
func TestClearingPanics(t *testing.T) {
	on, panics := new(atomic.Bool), new(atomic.Int64)
	d := open(t, Options{Logger: slog.New(slog.DiscardHandler), wrap: func(s kv.Store) kv.Store {
		return panicStore{s, new(atomic.Bool), new(atomic.Bool), on, panics}
	}})
	d.must("CreateTable", indexedTable("tbl"))
	on.Store(true)
	d.must("UpdateTable", obj{"TableName": "tbl", "GlobalSecondaryIndexUpdates": []obj{{"Delete": obj{"IndexName": "by-g"}}}})
	eventually(t, "the second panic", func() bool { return panics.Load() >= 2 })
	d.must("PutItem", obj{"TableName": "tbl", "Item": randomItem(1)})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := panics.Load(); n != 2 {
		t.Errorf("the work has panicked %d times", n)
	}
}
