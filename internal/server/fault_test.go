package server

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/statordb/stator/test/process"
	"github.com/statordb/stator/test/workload"
)

// faultyDisk is a disk whose operations fail while fail returns an error for them, and that is full while full is set.
type faultyDisk struct {
	vfs.FS
	fail atomic.Pointer[func(errorfs.Op) error]
	full atomic.Bool
}

func newFaultyDisk(base vfs.FS) *faultyDisk {
	d := &faultyDisk{}
	d.FS = errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f := d.fail.Load(); f != nil {
			return (*f)(op)
		}
		return nil
	}))
	return d
}

// GetDiskUsage implements vfs.FS.
func (d *faultyDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	u := vfs.DiskUsage{TotalBytes: 1 << 40, AvailBytes: 1 << 39}
	if d.full.Load() {
		u.AvailBytes = 1 << 20
	}
	return u, nil
}

// failing makes operations on files with the extension ("" for all) fail with err.
func (d *faultyDisk) failing(kind errorfs.OpReadWrite, extension string, err error) {
	f := func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() == kind && strings.HasSuffix(op.Path, extension) {
			return err
		}
		return nil
	}
	d.fail.Store(&f)
}

// eventually waits until f returns true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for range 12000 { // a minute: under load and the race detector, two seconds of work may take twenty
		if f() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s: did not happen", what)
}

// TestDiskFaults runs a workload while the disk fails in several ways. Meanwhile the server refuses writes with retryable
// errors, keeps serving reads, and acknowledges nothing. When the disk recovers, so does the server without help, and
// everything acknowledged is there, then and after a crash.
func TestDiskFaults(t *testing.T) {
	for _, c := range []struct {
		name string
		on   func(d *faultyDisk)
		says string // in the log
	}{
		{"EIO on the log", func(d *faultyDisk) { d.failing(errorfs.OpIsWrite, ".log", syscall.EIO) }, "write-ahead log can't be written"},
		{"EIO on every write", func(d *faultyDisk) { d.failing(errorfs.OpIsWrite, "", syscall.EIO) }, "write-ahead log can't be written"},
		{"ENOSPC on every write", func(d *faultyDisk) { d.failing(errorfs.OpIsWrite, "", syscall.ENOSPC) }, "write-ahead log can't be written"},
		{"EIO on tables", func(d *faultyDisk) {
			// Tables are written only when a memtable is full. Until then writes go to the log, and the test does not wait for
			// more.
			d.failing(errorfs.OpIsWrite, ".sst", syscall.EIO)
			d.full.Store(true)
		}, "almost full"},
		{"EIO on sync", func(d *faultyDisk) {
			f := func(op errorfs.Op) error {
				if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo {
					return syscall.EIO
				}
				return nil
			}
			d.fail.Store(&f)
		}, "write-ahead log can't be written"},
		{"almost full", func(d *faultyDisk) { d.full.Store(true) }, "almost full"},
	} {
		t.Run(c.name, func(t *testing.T) {
			crashable := vfs.NewCrashableMem()
			disk := newFaultyDisk(crashable)
			log := &process.Output{}
			opt := Options{DataDir: "data", fs: disk, check: 2 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(log, nil))}
			d := open(t, opt)
			alwaysUp := func() bool { return true }
			l := workload.New(4)
			if err := l.Setup(d.load(alwaysUp)); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				done := make(chan error, 1)
				stop := make(chan struct{})
				go func() { done <- l.Run(d.load(alwaysUp), stop) }()
				goal := l.Acknowledged() + 50
				eventually(t, "writes", func() bool { return l.Acknowledged() >= goal })
				c.on(disk)
				if err := <-done; err != nil { // every writer hit the fault
					t.Fatal(err)
				}
				close(stop)
				eventually(t, "a line in the log", func() bool { return strings.Contains(log.String(), c.says) })
				_, err := d.call("PutItem", obj{"TableName": "crash", "Item": obj{"id": s("counter")}})
				var refused *apiError
				if !errors.As(err, &refused) || refused.status < 500 {
					t.Fatalf("a write while the disk fails: %v", err)
				}
				// Reads that do not depend on a lost write still work.
				if _, err := d.call("ListTables", obj{}); err != nil {
					t.Fatal(err)
				}
				disk.fail.Store(nil)
				disk.full.Store(false)
				eventually(t, "a write when the disk works again", func() bool {
					_, err := d.call("DeleteItem", obj{"TableName": "crash", "Key": obj{"id": s("nothing")}})
					return err == nil
				})
				if err := l.Check(d.load(alwaysUp)); err != nil {
					t.Fatal(err)
				}
				d.checkConsistent()
			}
			after := open(t, Options{DataDir: "data", fs: crashable.CrashClone(vfs.CrashCloneCfg{})})
			if err := l.Check(after.load(alwaysUp)); err != nil {
				t.Fatalf("after a crash: %v", err)
			}
			after.checkConsistent()
		})
	}
}

// filled returns a directory with 2,000 items on disk; reopening it starts with cold caches.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	d := open(t, Options{DataDir: dir, Durability: "none"})
	d.must("CreateTable", obj{"TableName": "filled", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "N")}})
	for i := 0; i < 2000; i += 25 {
		var batch []obj
		for j := range 25 {
			batch = append(batch, obj{"PutRequest": obj{"Item": obj{"id": n(i + j), "data": s(strings.Repeat("d", 2000))}}})
		}
		d.must("BatchWriteItem", obj{"RequestItems": obj{"filled": batch}})
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// Reopening replays the log into tables.
	d = open(t, Options{DataDir: dir})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestReadFaults checks that a read that hits a disk error fails alone, and the next one may succeed.
func TestReadFaults(t *testing.T) {
	disk := newFaultyDisk(vfs.Default)
	d := open(t, Options{DataDir: filled(t), fs: disk})
	get := func(i int) error {
		_, err := d.call("GetItem", obj{"TableName": "filled", "Key": obj{"id": n(i)}})
		return err
	}
	disk.failing(errorfs.OpIsRead, ".sst", syscall.EIO)
	failed := 0
	for i := range 50 {
		var refused *apiError
		if err := get(i * 40); errors.As(err, &refused) && refused.kind == "InternalServerError" {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no read met the fault")
	}
	d.must("ListTables", obj{})
	disk.fail.Store(nil)
	for i := range 50 {
		if err := get(i * 40); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCorruptedBlock checks that reads of a damaged block fail with an error instead of returning wrong data, while everything
// else works.
func TestCorruptedBlock(t *testing.T) {
	dir := filled(t)
	files, err := filepath.Glob(filepath.Join(dir, "pebble", "*.sst"))
	if err != nil || len(files) == 0 {
		t.Fatal("no tables on disk", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 100_000 {
			for i := 2000; i < 40_000; i += 1000 {
				raw[i] ^= 0xFF
			}
		}
		if err := os.WriteFile(file, raw, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log := &process.Output{}
	d := open(t, Options{DataDir: dir, Logger: slog.New(slog.NewTextHandler(log, nil))})
	bad, good := 0, 0
	for i := range 2000 {
		_, err := d.call("GetItem", obj{"TableName": "filled", "Key": obj{"id": n(i)}})
		var refused *apiError
		switch {
		case err == nil:
			good++
		case errors.As(err, &refused) && refused.kind == "InternalServerError":
			bad++
		default:
			t.Fatal(err)
		}
	}
	if bad == 0 || good == 0 || !strings.Contains(log.String(), "corrupt") {
		t.Errorf("%d items can't be read, %d can; corruption in the log: %v", bad, good, strings.Contains(log.String(), "corrupt"))
	}
	d.must("PutItem", obj{"TableName": "filled", "Item": obj{"id": n(-1)}})
}

// TestTornLog checks that a log that ends in the middle of a write keeps everything before that write.
func TestTornLog(t *testing.T) {
	dir := t.TempDir()
	l := workload.New(1)
	d := open(t, Options{DataDir: dir})
	alwaysUp := func() bool { return true }
	if err := l.Setup(d.load(alwaysUp)); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() { done <- l.Run(d.load(alwaysUp), stop) }()
	eventually(t, "writes", func() bool { return l.Acknowledged() >= 200 })
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "pebble", "*.log"))
	if err != nil || len(logs) == 0 {
		t.Fatal("no log", err)
	}
	last := logs[len(logs)-1]
	raw, err := os.ReadFile(last)
	if err != nil {
		t.Fatal(err)
	}
	end := len(bytes.TrimRight(raw, "\x00"))
	for _, cut := range []int{1, 7, 100, 1000, end / 2} {
		torn := t.TempDir()
		if err := os.CopyFS(torn, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(torn, "pebble", filepath.Base(last)), int64(end-cut)); err != nil {
			t.Fatal(err)
		}
		d := open(t, Options{DataDir: torn})
		d.checkConsistent() // every transaction and index entry is complete or absent
	}
}
