package stator

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
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

// panicStore panics in the background work that its fields name.
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

// TestJobsThatPanic ends backups, restores and indexes whose work panics, once each, and serves on.
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
	// After a restart nothing is left to do, or to panic.
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

// TestClearingPanics has an index be deleted by work that panics: it is tried twice and then put aside.
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

// unguarded are the functions that may start goroutines without package guard, and why.
var unguarded = map[string]string{
	"internal/guard/guard.go Go": "it is the mechanism",
	"internal/kv/pebblekv/pebblekv.go Open": "syncLoop and watch see no request's data, and a panic in them means that Pebble's state is " +
		"broken while they hold its lock: the process must end, as it does where one of Pebble's own goroutines panics",
	"internal/kv/pebblekv/txn.go apply":        "it makes a panic of Pebble's commit end the process: Pebble leaves its commit pipeline locked",
	"internal/cli/importer/importer.go send":   "of a command, not of a server",
	"internal/kv/tikvkv/tikvtest/tikvtest.go ": "for tests",
	"internal/kv/pgkv/pgtest/pgtest.go ":       "for tests",
	"internal/kv/kvtest/":                      "for tests",
	"cmd/stator/":                              "of the command: profiles for its operator, and waiting for the server's end",
}

// TestGoroutines finds goroutines that would end the process if they panicked: go statements and calls of Go (errgroup, sync.WaitGroup)
// outside package guard.
func TestGoroutines(t *testing.T) {
	seen := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, e fs.DirEntry, err error) error {
		path = filepath.ToSlash(path)
		if err != nil || path == "test" || path == ".git" || path == "build" {
			if err == nil && e.IsDir() {
				return filepath.SkipDir
			}
			return err
		}
		if e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !startsGoroutine(f) {
				continue
			}
			where, allowed := path+" "+f.Name.Name, false
			for name := range unguarded {
				if name == where || strings.HasSuffix(name, "/") && strings.HasPrefix(where, name) || strings.HasSuffix(name, " ") && strings.HasPrefix(where, name) {
					seen[name], allowed = true, true
				}
			}
			if !allowed {
				t.Errorf("%s starts a goroutine whose panic ends the process: use guard.Go", where)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range unguarded {
		if !seen[name] {
			t.Errorf("%s starts no goroutine any more", name)
		}
	}
}

// startsGoroutine reports whether a function has a go statement, or a call of a method Go whose function does not run under guard.Run.
func startsGoroutine(f *ast.FuncDecl) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = true
		case *ast.CallExpr:
			s, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || s.Sel.Name != "Go" {
				break
			}
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "guard" {
				break
			}
			found = found || len(n.Args) != 1 || !returnsGuarded(n.Args[0])
		}
		return true
	})
	return found
}

// returnsGuarded reports whether a function is func() error { return guard.Run(…) }.
func returnsGuarded(e ast.Expr) bool {
	f, ok := e.(*ast.FuncLit)
	if !ok || len(f.Body.List) != 1 {
		return false
	}
	ret, ok := f.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(ret.Results) != 1 {
		return false
	}
	call, ok := ret.Results[0].(*ast.CallExpr)
	if !ok {
		return false
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != "Run" {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == "guard"
}
