package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/kv"
)

// hanging blocks all jobs: in the store's Load and in every request to an S3 server. begun receives a value for each.
type hanging struct {
	kv.Store
	on    *atomic.Bool
	begun chan string
}

func (h hanging) hang(ctx context.Context, what string) {
	select {
	case h.begun <- what:
	case <-ctx.Done():
	}
	<-ctx.Done()
}

func (h hanging) Load(ctx context.Context, source func(put func(key, val []byte) error) error) error {
	if !h.on.Load() {
		return h.Store.Load(ctx, source)
	}
	h.hang(ctx, "load")
	return ctx.Err()
}

// TestJobsThatEndTheServer crashes the server while jobs of every kind run without progress. After the first crash they run one
// at a time. A job that was running at two crashes is given up, with a reason. Clean restarts do not count.
func TestJobsThatEndTheServer(t *testing.T) {
	h := hanging{on: new(atomic.Bool), begun: make(chan string)}
	s3 := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { h.hang(r.Context(), "s3") }))
	defer s3.Close()
	fs := vfs.NewCrashableMem()
	start := func() *db {
		return open(t, Options{DataDir: "data", fs: fs, TTLInterval: 1 << 40, S3: S3Options{Endpoint: s3.URL, AccessKey: "a", SecretKey: "b"}, wrap: func(s kv.Store) kv.Store {
			h := h
			h.Store = s
			return h
		}})
	}
	stop := func(d *db) {
		t.Helper()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	d := start()
	d.must("CreateTable", indexedTable("source"))
	d.setRecovery("source", true, 0)
	for i := range 20 {
		d.must("PutItem", obj{"TableName": "source", "Item": randomItem(i)})
	}
	h.on.Store(true)
	imported := field(d.must("ImportTable", importInto("imported", "in/", "DYNAMODB_JSON", "NONE")), "ImportTableDescription.ImportArn").(string)
	arn := field(d.must("DescribeTable", obj{"TableName": "source"}), "Table.TableArn").(string)
	exported := field(d.must("ExportTableToPointInTime", obj{"TableArn": arn, "S3Bucket": "bucket"}), "ExportDescription.ExportArn").(string)
	bulk := field(d.must("StartBulkPutItems", obj{
		"TableName": "source", "InputS3Configuration": obj{"S3Bucket": "bucket", "S3KeyPrefix": "in/", "InputFormat": "DYNAMODB_JSON"},
		"OutputS3Configuration": obj{"S3Bucket": "bucket", "OutputType": []string{"ERROR"}},
	}), "BulkOperationDescription.BulkOperationArn").(string)
	backup := field(d.must("CreateBackup", obj{"TableName": "source", "BackupName": "backup"}), "BackupDetails.BackupArn").(string)
	d.must("RestoreTableToPointInTime", obj{"SourceTableName": "source", "TargetTableName": "restored", "UseLatestRestorableTime": true})
	// all waits until all five jobs have begun.
	all := func() {
		for loads, requests := 0, 0; loads < 8 || requests < 3; {
			if <-h.begun == "load" {
				loads++
			} else {
				requests++
			}
		}
	}
	all()
	for range 3 { // deployments: clean restarts
		stop(d)
		d = start()
		all()
	}
	// state returns the state of each job.
	state := func() (under []string) {
		const reason = "the server ended twice while it ran, both times at the same point"
		for _, j := range []struct{ operation, key, value, at string }{
			{"DescribeImport", "ImportArn", imported, "ImportTableDescription.ImportStatus"},
			{"DescribeExport", "ExportArn", exported, "ExportDescription.ExportStatus"},
			{"DescribeBulkOperation", "BulkOperationArn", bulk, "BulkOperationDescription.BulkOperationStatus"},
		} {
			out := d.must(j.operation, obj{j.key: j.value})
			what, _, _ := strings.Cut(j.at, ".")
			switch field(out, j.at) {
			case "IN_PROGRESS":
				under = append(under, j.operation)
			case "FAILED":
				if field(out, what+".FailureCode") != "InternalFailure" || field(out, what+".FailureMessage") != reason {
					t.Errorf("%s: %v", j.operation, out)
				}
			default:
				t.Errorf("%s: %v", j.operation, out)
			}
		}
		if out, err := d.call("DescribeBackup", obj{"BackupArn": backup}); err == nil {
			if field(out, "BackupDescription.BackupDetails.BackupStatus") != "CREATING" {
				t.Errorf("backup: %v", out)
			}
			under = append(under, "backup")
		} else if kindOf(err) != "BackupNotFoundException" {
			t.Error(err)
		}
		for _, table := range []string{"restored", "imported"} {
			out, err := d.call("DescribeTable", obj{"TableName": table})
			if err == nil {
				if field(out, "Table.TableStatus") != "CREATING" {
					t.Errorf("%s: %v", table, out)
				}
				under = append(under, table)
			} else if kindOf(err) != "ResourceNotFoundException" {
				t.Error(err)
			}
		}
		return under
	}
	crashes := 0
	crash := func() {
		next := fs.CrashClone(vfs.CrashCloneCfg{})
		stop(d)
		fs = next
		d = start()
		crashes++
	}
	crash()
	for left := 6; left > 0 && crashes < 10; { // the import also creates a table
		done := make(chan struct{})
		go func() { // a job begins, or none is left
			defer close(done)
			select {
			case <-h.begun:
			case <-t.Context().Done():
			}
		}()
		eventually(t, "a job to begin, or all to end", func() bool {
			if left = len(state()); left == 0 {
				return true
			}
			select {
			case <-done:
				return true
			default:
				return false
			}
		})
		if left > 0 {
			crash()
		}
	}
	if crashes != 6 || len(state()) > 0 {
		t.Errorf("after %d crashes there are %v", crashes, state())
	}
	h.on.Store(false)
	d.checkConsistent()
}

// panicking is a store whose first DeleteRange panics while on is set, in the goroutine of the job that fills a table.
type panicking struct {
	hanging
	on *atomic.Bool
}

func (p panicking) DeleteRange(ctx context.Context, r kv.Range) error {
	if p.on.CompareAndSwap(true, false) {
		panic("of the test")
	}
	return p.hanging.DeleteRange(ctx, r)
}

// TestSuspectThatPanics makes the first of two suspects panic; the second one runs all the same.
func TestSuspectThatPanics(t *testing.T) {
	h, panics := hanging{on: new(atomic.Bool), begun: make(chan string)}, new(atomic.Bool)
	fs := vfs.NewCrashableMem()
	start := func() *db {
		return open(t, Options{DataDir: "data", fs: fs, TTLInterval: 1 << 40, wrap: func(s kv.Store) kv.Store {
			h := h
			h.Store = s
			return panicking{h, panics}
		}})
	}
	d := start()
	d.must("CreateTable", indexedTable("source"))
	d.must("PutItem", obj{"TableName": "source", "Item": randomItem(1)})
	h.on.Store(true)
	var backups []string
	for _, name := range []string{"first", "second"} {
		backups = append(backups, field(d.must("CreateBackup", obj{"TableName": "source", "BackupName": name}), "BackupDetails.BackupArn").(string))
	}
	for range 2 * 4 {
		<-h.begun
	}
	next := fs.CrashClone(vfs.CrashCloneCfg{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	fs = next
	h.on.Store(false)
	panics.Store(true)
	d = start()
	eventually(t, "one backup to be made and one to be removed", func() bool {
		made, removed := 0, 0
		for _, arn := range backups {
			switch out, err := d.call("DescribeBackup", obj{"BackupArn": arn}); {
			case err != nil:
				removed++
			case field(out, "BackupDescription.BackupDetails.BackupStatus") == "AVAILABLE":
				made++
			}
		}
		return made == 1 && removed == 1
	})
}
