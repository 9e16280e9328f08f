package ops

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/partiql"
)

// TestOneFilePerOperation checks that each operation's method is in the file named after the operation.
func TestOneFilePerOperation(t *testing.T) {
	for _, op := range operations {
		name := op.handler.name
		t.Run(name, func(t *testing.T) {
			path := snake(name) + ".go"
			file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			method := strings.ToLower(name[:1]) + name[1:]
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv != nil && f.Name.Name == method {
					return
				}
			}
			t.Errorf("%s has no method %s", path, method)
		})
	}
}

// TestOperations checks the invariants of every line in operations.go.
func TestOperations(t *testing.T) {
	before := ""
	for _, op := range operations {
		name := op.handler.name
		t.Run(name, func(t *testing.T) {
			if name <= before {
				t.Errorf("it comes after %s", before)
			}
			before = name
			if op.actions != nil && len(op.actions) == 0 {
				t.Error("it has no action")
			}
			if op.metered == op.settles {
				t.Error("requests for items are metered and don't settle; all others settle and are not metered")
			}
			if op.batch && !op.metered || op.multiStep && op.metered {
				t.Error("batches are of items; requests for items have one step")
			}
			h := New(Options{}).around(&op, op.handler.to(nil), 0)
			if h.Settles != op.settles || !strings.HasSuffix(h.Target, "."+name) {
				t.Errorf("its handler is %s, which settles: %v", h.Target, h.Settles)
			}
		})
	}
}

// TestActionsOfParts checks that operations list the actions of all their transaction parts and statements.
func TestActionsOfParts(t *testing.T) {
	lines := map[string][]string{}
	for _, op := range operations {
		lines[op.handler.name] = op.actions
	}
	for _, item := range []api.TransactWriteItem{{ConditionCheck: &api.ConditionCheck{}}, {Put: &api.Put{}}, {Delete: &api.Delete{}}, {Update: &api.Update{}}} {
		if p, err := readPart(&item); err != nil || !slices.Contains(lines["TransactWriteItems"], p.action) {
			t.Errorf("TransactWriteItems asks for %v, %v", p, err)
		}
	}
	for _, k := range []partiql.Kind{partiql.Select, partiql.Exists, partiql.Insert, partiql.Update, partiql.Delete} {
		st := &statement{Statement: &partiql.Statement{Kind: k}}
		if !slices.Contains(partiqlActions, st.action()) {
			t.Errorf("statements ask for %s", st.action())
		}
	}
}

// snake converts a name such as GetItem to get_item.
func snake(name string) string {
	var out []rune
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 {
			out = append(out, '_')
		}
		out = append(out, unicode.ToLower(r))
	}
	return string(out)
}
