package expr

import (
	"strings"
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
)

func item(fields ...attribute.Field) attribute.Item { return attribute.NewItem(fields...) }

func values(pairs ...any) attribute.Item {
	var fields []attribute.Field
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, attribute.Field{Name: pairs[i].(string), Value: pairs[i+1].(attribute.Value)})
	}
	return attribute.NewItem(fields...)
}

func TestMatches(t *testing.T) {
	it := item(
		attribute.Field{Name: "s", Value: attribute.String("hello")},
		attribute.Field{Name: "n", Value: attribute.Number("5")},
		attribute.Field{Name: "l", Value: attribute.NewList([]attribute.Value{attribute.String("a"), attribute.Number("1")})},
		attribute.Field{Name: "ss", Value: attribute.NewSet(attribute.TypeSS, [][]byte{[]byte("x"), []byte("y")})},
		attribute.Field{Name: "m", Value: attribute.NewMap([]attribute.Field{{Name: "in", Value: attribute.Number("7")}})},
	)
	scope, err := NewScope(smithy.Map[string]{{Key: "#in", Value: "in"}}, values(
		":five", attribute.Number("5"), ":six", attribute.Number("6"), ":he", attribute.String("he"), ":x", attribute.String("x"),
		":a", attribute.String("a"), ":S", attribute.String("S"), ":two", attribute.Number("2")))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{
		"n = :five":                               true,
		"n <> :five":                              false,
		"n < :six AND n >= :five":                 true,
		"n BETWEEN :two AND :five":                true,
		"n IN (:two, :six)":                       false,
		"NOT n = :six":                            true,
		"n = :six OR n = :five AND s = :five":     false,
		"(n = :six OR n = :five) AND NOT s = :he": true,
		"attribute_exists(m.#in)":                 true,
		"attribute_not_exists(m.gone)":            true,
		"m.#in > :five":                           true,
		"l[0] = :a":                               true,
		"l[2] = :a":                               false,
		"contains(ss, :x)":                        true,
		"contains(l, :a)":                         true,
		"contains(s, :he)":                        true,
		"begins_with(s, :he)":                     true,
		"attribute_type(s, :S)":                   true,
		"size(s) = :five":                         true,
		"size(ss) = :two":                         true,
		"absent = :five":                          false,
		"absent <> :five":                         true,
		"s < :five":                               false,
		"s between :he and :x":                    true,
	} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err := scope.BindCondition(c); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := scope.Matches(c.Root, it); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}

// TestHostile: expressions made to break parsers are refused quickly.
func TestHostile(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("(", 4096), strings.Repeat("(", 2040) + "a=b" + strings.Repeat(")", 2040), strings.Repeat("NOT ", 1023) + "a=b",
		strings.Repeat("a.", 2047) + "a", "a" + strings.Repeat("[0]", 1300), strings.Repeat("size(", 800), strings.Repeat("a=b OR ", 580) + "a=b",
		"\x00", "é = ü", "a = \"x\"", "a = 'x'", ":", "#", "a[", "a[-1] = b", "a = b)", ")",
	} {
		if _, err := ParseCondition(text); err == nil {
			t.Errorf("%.40q…: accepted", text)
		}
		if _, err := ParseUpdate("SET x = " + text); err == nil {
			t.Errorf("update %.40q…: accepted", text)
		}
		_, _ = ParseProjection(text)
	}
}

// FuzzExpressions: no text panics in any phase.
func FuzzExpressions(f *testing.F) {
	for _, s := range []string{
		"a = :v AND (b < :v OR NOT attribute_exists(c.d[3]))", "SET a = if_not_exists(a, :v) + :v REMOVE b[0] ADD n :v DELETE s :v", "a, b.c, #n[1]",
		"((a)) = :v", "a BETWEEN :v AND :v", "SET a[0].b = list_append(a, :v)",
	} {
		f.Add(s)
	}
	it := item(attribute.Field{Name: "a", Value: attribute.NewList([]attribute.Value{attribute.Number("1")})},
		attribute.Field{Name: "b", Value: attribute.NewMap([]attribute.Field{{Name: "c", Value: attribute.String("x")}})})
	f.Fuzz(func(t *testing.T, text string) {
		scope, err := NewScope(smithy.Map[string]{{Key: "#n", Value: "b"}}, values(":v", attribute.Number("1")))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := ParseCondition(text); err == nil && scope.BindCondition(c) == nil {
			scope.Matches(c.Root, it)
			scope.Matches(c.Root, nil)
		}
		if p, err := ParseProjection(text); err == nil && scope.BindProjection(p) == nil {
			scope.NewProjector(p.Paths).Project(it)
		}
		if u, err := ParseUpdate(text); err == nil && scope.BindUpdate(u) == nil {
			if next, err := scope.Apply(u, it); err == nil {
				_ = next.AppendJSON(nil)
			}
		}
	})
}

// TestCharge: UpdateItem is charged for its statement (paritysuite, tests/tier3/limits/itemSizeBySurface.test.ts).
func TestCharge(t *testing.T) {
	scope, err := NewScope(smithy.Map[string]{{Key: "#twelvechars", Value: "b"}}, values(
		":s", attribute.String("y"), ":ten", attribute.String(strings.Repeat("y", 10)), ":one", attribute.Number("1"),
		":list", attribute.NewList([]attribute.Value{attribute.String(strings.Repeat("y", 10))}),
		":map", attribute.NewMap([]attribute.Field{{Name: "a", Value: attribute.String(strings.Repeat("y", 100))}}),
		":set", attribute.NewSet(attribute.TypeSS, [][]byte{[]byte(strings.Repeat("s", 500))}),
	))
	if err != nil {
		t.Fatal(err)
	}
	const set = 3 + 19
	for text, want := range map[string]int{
		"SET b = :s":                           set + 1 + 1,
		"SET #twelvechars = :s":                set + 1 + 1,
		"SET b = :s, c = :ten":                 set + 1 + 1 + 19 + 1 + 10,
		"SET b = :s REMOVE r":                  set + 1 + 1 + 2,
		"SET d.leaf = :s":                      set + 1 + 4 + 4 + 1,
		"SET d[0] = :s":                        set + 1 + 4 + 1 + 1,
		"SET c = abcdefghij":                   set + 1 + 1 + 14 + 10,
		"SET c = m.a.z":                        set + 1 + 1 + 3*(14+1),
		"SET c = l[10]":                        set + 1 + 1 + 14 + 1 + 14 + 2,
		"SET l = list_append(l, :list)":        set + 1 + 37 + 15 + 1 + 3 + 1 + 10,
		"SET c = if_not_exists(c, :map)":       set + 1 + 39 + 15 + 1 + 3 + 1 + 1 + 100,
		"SET n = n + :one":                     set + 1 + 34 + 15 + 1 + 2,
		"SET n = (n - :one)":                   set + 1 + 37 + 15 + 1 + 2,
		"ADD abcdefghij :one":                  set + 10 + 2,
		"ADD ss :set":                          set + 2 + 500,
		"REMOVE abcdefghij":                    3 + 1 + 10,
		"REMOVE m.yyyyyyyyyy":                  3 + 1 + 1 + 4 + 10,
		"REMOVE abcdefghij[1], l[10]":          3 + 1 + 10 + 4 + 1 + 1 + 1 + 4 + 2,
		"DELETE ss :set":                       3 + 1 + 2,
		"SET c = if_not_exists(c, :s), d = :s": set + 1 + 39 + 15 + 1 + 1 + 19 + 1 + 1,
	} {
		u, err := ParseUpdate(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if got := scope.Charge(u); got != want {
			t.Errorf("%s: %d bytes, want %d", text, got, want)
		}
	}
}
