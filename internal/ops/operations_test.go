package ops

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"strings"
	"testing"
	"unicode"
)

// TestOneFilePerOperation checks that the method of each operation is in the file of its name.
func TestOneFilePerOperation(t *testing.T) {
	for _, h := range New(Options{}).Operations() {
		_, name, _ := strings.Cut(h.Target, ".")
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

// snake returns a name such as GetItem as get_item.
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
