package pebblekv

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/statordb/stator/internal/kv"
)

// TestNewLogFails fails the disk in each step of starting a new log, by writing more than a memtable holds. The write must be
// refused, the process must live, and the store must recover with the disk.
func TestNewLogFails(t *testing.T) {
	isLog := func(op errorfs.Op) bool { return filepath.Ext(op.Path) == ".log" }
	for name, fails := range map[string]func(op errorfs.Op) bool{
		"the end of the old log": func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileWrite && isLog(op) },
		"sync of the old log": func(op errorfs.Op) bool {
			return op.Kind != errorfs.OpFileWrite && op.Kind != errorfs.OpCreate && isLog(op)
		},
		"making it": func(op errorfs.Op) bool {
			return (op.Kind == errorfs.OpCreate || op.Kind == errorfs.OpReuseForWrite) && isLog(op)
		},
		"its name":   func(op errorfs.Op) bool { return op.Kind == errorfs.OpFileSync && filepath.Ext(op.Path) == "" },
		"everything": func(op errorfs.Op) bool { return op.Kind.ReadOrWrite() == errorfs.OpIsWrite },
	} {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			mem := vfs.NewCrashableMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if broken.Load() && fails(op) {
					return syscall.EIO
				}
				return nil
			}))
			s, err := Open(Options{Dir: "data", FS: fs, Sync: true, MinFree: -1, Check: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			put := func(key string, size int) error {
				return kv.Update(context.Background(), s, kv.TxnOpt{}, func(txn kv.Txn) error { return txn.Put([]byte(key), make([]byte, size)) })
			}
			if err := put("kept", 10); err != nil {
				t.Fatal(err)
			}
			for round := range 3 {
				broken.Store(true)
				if err := put("refused", memTableSize*5/8); err == nil {
					t.Fatal("a write was acknowledged that is not on disk")
				}
				if err := put("refused too", 10); err == nil {
					t.Fatal("a write was acknowledged after a failed one")
				}
				broken.Store(false)
				for n := 0; put("again", 10) != nil; n++ {
					if n == 5000 {
						t.Fatalf("round %d: the store does not recover", round)
					}
					time.Sleep(time.Millisecond)
				}
			}
			crashed := mem.CrashClone(vfs.CrashCloneCfg{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			after, err := Open(Options{Dir: "data", FS: crashed, Sync: true, MinFree: -1})
			if err != nil {
				t.Fatal(err)
			}
			defer after.Close()
			r, err := after.Latest(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			for _, key := range []string{"kept", "again"} {
				if v, err := r.Get([]byte(key)); err != nil || len(v) != 10 {
					t.Fatalf("%s after a crash: %d bytes, %v", key, len(v), err)
				}
			}
		})
	}
}
