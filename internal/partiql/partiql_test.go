package partiql

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/expr"
)

// parseAll runs both phases.
func parseAll(text string, params []attribute.Value) (*Statement, error) {
	s, err := Read(text)
	if err != nil {
		return nil, err
	}
	return s.Statement(params)
}

// TestSyntax: testdata/syntax.txt has statements and the reasons of their refusals.
func TestSyntax(t *testing.T) {
	text, err := os.ReadFile("testdata/syntax.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if reason, ok := strings.CutPrefix(line, "= "); ok {
			want = notWellFormed + strings.TrimPrefix(reason, "-")
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		got := notWellFormed + "OK"
		if _, err := Read(line); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// TestAlternatives: the values that a condition allows for a key.
func TestAlternatives(t *testing.T) {
	for text, want := range map[string]int{
		"a = 1": 1, "1 = a": 1, "a IN [1, 2]": 2, "a = 1 OR a = 2 OR a IN (3, 4)": 4,
		"a = 1 OR b = 2": 0, "a = b": 0, "a > 1": 0, "NOT a = 1": 0, "a.b = 1": 0, "a = 1 AND a = 2": 0, "size(a) = 1": 0, "a IN [b]": 0,
	} {
		st, err := parseAll("SELECT * FROM t WHERE "+text, nil)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		name, values, ok := Alternatives(st.Where)
		if ok != (want > 0) || ok && (name != "a" || len(values) != want) {
			t.Errorf("%s: %q %v %v, want %d values", text, name, values, ok, want)
		}
	}
}

// TestPrecedence: OR binds weaker than AND, AND than NOT, and NOT than comparisons.
func TestPrecedence(t *testing.T) {
	var show func(n *expr.Node) string
	show = func(n *expr.Node) string {
		switch n.Op {
		case expr.OpPath:
			return n.Path[0].Name
		case expr.OpValue:
			return n.Lit.String()
		}
		parts := make([]string, len(n.Args))
		for i, a := range n.Args {
			parts[i] = show(a)
		}
		return "(" + n.Op.String() + " " + strings.Join(parts, " ") + ")"
	}
	for text, want := range map[string]string{
		"a = 1 OR b = 2 AND NOT c = 3":            "(OR (= a {N:1}) (AND (= b {N:2}) (NOT (= c {N:3}))))",
		"(a = 1 OR b = 2) AND c = 3":              "(AND (OR (= a {N:1}) (= b {N:2})) (= c {N:3}))",
		"a BETWEEN 1 AND 2 AND b = 3":             "(AND (BETWEEN a {N:1} {N:2}) (= b {N:3}))",
		"a NOT IN [1] OR b IS NOT MISSING":        "(OR (NOT (IN a {N:1})) (NOT (attribute_not_exists b)))",
		"begins_with(a, 'x') AND size(b) >= -1.0": "(AND (begins_with a {S:x}) (>= (size b) {N:-1}))",
	} {
		st, err := parseAll("SELECT * FROM t WHERE "+text, nil)
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if got := show(st.Where); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// TestDepth: nesting of expressions is bounded.
func TestDepth(t *testing.T) {
	for _, text := range []string{
		"SELECT * FROM t WHERE " + strings.Repeat("(", 4000) + "a = 1",
		"SELECT * FROM t WHERE " + strings.Repeat("NOT ", 2000) + "a = 1",
		"INSERT INTO t VALUE {'a': " + strings.Repeat("[", 4000),
		"INSERT INTO t VALUE " + strings.Repeat("{'a': ", 1300),
		"SELECT * FROM t WHERE " + strings.Repeat("size(", 1600) + "a",
	} {
		var problem *Error
		if _, err := parseAll(text, nil); !errors.As(err, &problem) {
			t.Errorf("%.40s…: %v", text, err)
		}
	}
}

// TestValueDepth: values may be nested as deep as attribute values, and no deeper.
func TestValueDepth(t *testing.T) {
	for n, ok := range map[int]bool{attribute.MaxDepth - 1: true, attribute.MaxDepth: false} {
		text := "INSERT INTO t VALUE {'a': " + strings.Repeat("[", n) + "1" + strings.Repeat("]", n) + "}"
		st, err := parseAll(text, nil)
		if (err == nil) != ok {
			t.Errorf("%d lists: %v", n, err)
		}
		if ok && st.Item.WellFormed() != nil {
			t.Errorf("%d lists: %v", n, st.Item.WellFormed())
		}
	}
}

func FuzzParseAll(f *testing.F) {
	for _, text := range []string{
		`SELECT a, b.c[0], "d"['e'] FROM "t"."i" WHERE a = ? AND NOT (b IN [1, 'x', <<1>>] OR c IS NOT NULL) ORDER BY a DESC, b`,
		`INSERT INTO t VALUE {'a': [1, -2.5e3, true, null, {'b': <<'x', 'y'>>}], 'c': ?}`,
		`UPDATE t SET a = list_append(a, [1]) SET b = set_add(b, <<1>>), c = c + 1 REMOVE d[1] WHERE k = 'it''s' RETURNING MODIFIED NEW *`,
		`DELETE FROM t WHERE a = 1 RETURNING ALL OLD *`,
		`EXISTS(SELECT * FROM t WHERE a = 1 AND attribute_type(b, 'S'))`,
		"SELECT * FROM t -- comment\n/* another */ WHERE begins_with(a, 'x') AND contains(b, 1) AND size(c) BETWEEN 1 AND 2",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		params := []attribute.Value{attribute.String("p"), attribute.Null}
		st, err := parseAll(text, params)
		var problem *Error
		if err != nil && !errors.As(err, &problem) {
			t.Fatal(err)
		}
		if st == nil {
			return
		}
		if st.Item != nil {
			if err := st.Item.WellFormed(); err != nil {
				t.Fatalf("%q makes a malformed item: %v", text, err)
			}
		}
		for _, c := range Conjuncts(st.Where) {
			Alternatives(c)
			KeyName(c)
		}
	})
}

// TestHostile: statements made to break parsers are refused.
func TestHostile(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("(", 4000), strings.Repeat("NOT ", 2000) + "a=1", strings.Repeat("size(", 1600), "a = " + strings.Repeat("[", 4000), "a = " + strings.Repeat("{'a':", 1600),
		"a" + strings.Repeat(".a", 4000) + " = 1", "a" + strings.Repeat("[0]", 2600) + " = 1", strings.Repeat("/*", 4000), strings.Repeat("'", 8001), "a = " + strings.Repeat("<<", 4000),
	} {
		if _, err := parseAll("SELECT * FROM t WHERE "+text, nil); err == nil {
			t.Errorf("%.20s…: accepted", text)
		}
	}
}

// TestRedact: no literal and no comment is left, whatever their quotes look like, and the rest is as it was.
func TestRedact(t *testing.T) {
	const x = redacted
	for _, c := range []struct{ text, want, table string }{
		{`SELECT "a b", c[3] FROM "Music"."ByYear" WHERE x = 'SECRET'`, `SELECT "a b", c[` + x + `] FROM "Music"."ByYear" WHERE x = ` + x, "Music"},
		{"select * from t -- it's\nwhere x = 'SECRET' and y = '--SECRET'", "select * from t where x = " + x + " and y = " + x, "t"},
		{"DELETE FROM t /* it's SECRET */ WHERE x = '/*SECRET' AND y = '*/SECRET'", "DELETE FROM t WHERE x = " + x + " AND y = " + x, "t"},
		{"UPDATE \"arn:aws:x\" SET a = `SECRET` REMOVE b WHERE c = 1e5 AND d = .5 AND e IS NOT MISSING AND f = ?", "UPDATE \"arn:aws:x\" SET a = " + x + " REMOVE b WHERE c = " + x + " AND d = " + x + " AND e IS NOT MISSING AND f = ?", "arn:aws:x"},
		{"INSERT INTO t VALUE {'k': 'SE''CRET', 'b': true, 'n': null}", "INSERT INTO t VALUE {" + x + ": " + x + ", " + x + ": " + x + ", " + x + ": " + x + "}", "t"},
		{"SELECT * FROM t WHERE x = 'SECRET", x, ""}, {"SELECT * FROM t /* SECRET", x, ""}, {"SECRET § ", x, ""}, {"", "", ""},
	} {
		if got, table := Redact(c.text); got != c.want || table != c.table {
			t.Errorf("%s: %s of %q, want %s of %q", c.text, got, table, c.want, c.table)
		}
	}
}
