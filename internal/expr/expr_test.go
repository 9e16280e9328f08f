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
