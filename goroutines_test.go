package stator

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// unguarded maps the functions that may start goroutines without package guard to the reason.
var unguarded = map[string]string{
	"internal/guard/guard.go Go": "it is the mechanism",
	"internal/kv/pebblekv/pebblekv.go Open": "syncLoop and watch see no request's data, and a panic in them means that Pebble's state is " +
		"broken while they hold its lock: the process must end, as it does where one of Pebble's own goroutines panics",
	"internal/kv/pebblekv/txn.go apply":      "it makes a panic of Pebble's commit end the process: Pebble leaves its commit pipeline locked",
	"internal/cli/importer/importer.go send": "of a command, not of a server",
	"engines/tikv/tikvtest/tikvtest.go ":     "for tests",
	"internal/kv/pgkv/pgtest/pgtest.go ":     "for tests",
	"internal/kv/kvtest/":                    "for tests",
	"internal/cli/backup.go ":                "of the command: it keeps the server's checkpoint alive",
	"internal/cli/serve.go ":                 "of the command: waiting for the server's end, and for signals",
	"internal/cli/pprof.go ":                 "of the command: profiles for its operator",
}

// TestGoroutines finds goroutines whose panic would end the process: go statements and calls of Go (errgroup, sync.WaitGroup)
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

// startsGoroutine reports whether a function contains a go statement, or a call of a method Go with a function that does not
// run under guard.Run.
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
