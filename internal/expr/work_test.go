package expr

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
)

// TestCacheIsBounded: with many long expressions, the cache stays within its bound of text, and counts it correctly.
func TestCacheIsBounded(t *testing.T) {
	c := NewCache()
	for i := range 3000 {
		text := fmt.Sprintf("a%d", i) + strings.Repeat(", b", i%900)
		if _, err := c.Projection(text); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if _, err := c.Projection(strings.Clone(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	sum := 0
	for _, text := range c.projections.lru.Keys() {
		sum += len(text)
	}
	if sum > cacheText || int64(sum) != c.projections.text.Load() || sum < cacheText/2 {
		t.Errorf("the cache has %d bytes of text, and counts %d", sum, c.projections.text.Load())
	}
}

// TestLongExpression: an expression beyond the limit is refused without being copied or cached.
func TestLongExpression(t *testing.T) {
	c := NewCache()
	long := strings.Repeat("(", 16<<20)
	allocated := bytesOf(func() {
		_, err := c.Condition(long)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Reason != "Expression size has exceeded the maximum allowed size;" || e.Older != e.Reason+" expression size: 16777216" {
			t.Error(err)
		}
	})
	if allocated > 1<<20 {
		t.Errorf("%d bytes are allocated", allocated)
	}
}

func bytesOf(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestParenthesesAreMatchedOnce compares closedAt with counting parentheses, and checks that all are matched in a single pass.
func TestParenthesesAreMatchedOnce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var text strings.Builder
		for range r.IntN(60) {
			text.WriteString([]string{"(", ")", "a", "=", ","}[r.IntN(5)] + " ")
		}
		p := &parser{tokens: lex(text.String())}
		for i, tok := range p.tokens {
			if tok.text != "(" {
				continue
			}
			want, depth := -1, 0
			for j := i; j < len(p.tokens) && want < 0; j++ {
				switch p.tokens[j].text {
				case "(":
					depth++
				case ")":
					if depth--; depth == 0 {
						want = j
					}
				}
			}
			first := p.closes
			if got := p.closedAt(i); got != want {
				t.Fatalf("%s: %d is closed at %d, want %d", text.String(), i, got, want)
			}
			if first != nil && &first[0] != &p.closes[0] {
				t.Fatal("parentheses are matched again")
			}
		}
	}
}

func randomPath(r *rand.Rand) Path {
	p := Path{{Name: string(rune('a' + r.IntN(3)))}}
	for range r.IntN(4) {
		if r.IntN(6) == 0 {
			p = append(p, PathElem{Index: r.IntN(3), IsIndex: true})
		} else {
			p = append(p, PathElem{Name: []string{"a", "b", "c", "d", "e", "#n"}[r.IntN(6)]})
		}
	}
	return p
}

// TestOverlaps: with many paths, the reported overlap is the one that comparing all pairs would find.
func TestOverlaps(t *testing.T) {
	scope, err := NewScope(smithy.Map[string]{{Key: "#n", Value: "a"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var paths []Path
		for range scanned + 1 + r.IntN(20) {
			p := randomPath(r)
			if r.IntN(8) > 0 { // most begin differently
				p[0].Name = fmt.Sprint("x", len(paths))
			}
			paths = append(paths, p)
		}
		find := func(check func()) (err error) {
			defer catch(&err)
			check()
			return nil
		}
		want := find(func() {
			for i := range paths {
				for j := range i {
					scope.checkPair(paths[j], paths[i])
				}
			}
		})
		if got := find(func() { scope.checkOverlap(paths) }); !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: %v, want %v", paths, got, want)
		}
	}
}

// TestManyPaths: with many kids of a node, neither adding to them nor projecting searches linearly.
func TestManyPaths(t *testing.T) {
	var paths []Path
	var fields []attribute.Field
	var want []attribute.Field
	for i := range 2000 {
		name := fmt.Sprint("n", i)
		fields = append(fields, attribute.Field{Name: name, Value: attribute.Number(fmt.Sprint(i))})
		if i%2 == 0 {
			paths = append(paths, Path{{Name: name}}, Path{{Name: fmt.Sprint("absent", i)}}, Path{{Name: "list"}, {Index: i, IsIndex: true}}, Path{{Name: "map"}, {Name: name}})
			want = append(want, fields[i])
		}
	}
	var all, some []attribute.Value
	for i, f := range fields {
		if all = append(all, f.Value); i%2 == 0 {
			some = append(some, f.Value)
		}
	}
	inner := append([]attribute.Field(nil), fields...)
	it := attribute.NewItem(append(fields, attribute.Field{Name: "list", Value: attribute.NewList(all)}, attribute.Field{Name: "map", Value: attribute.NewMap(inner)})...)
	expected := attribute.NewItem(append(append([]attribute.Field(nil), want...), attribute.Field{Name: "list", Value: attribute.NewList(some)},
		attribute.Field{Name: "map", Value: attribute.NewMap(append([]attribute.Field(nil), want...))})...)
	scope, err := NewScope(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := scope.NewProjector(paths)
	if got := p.Project(it); !reflect.DeepEqual(got, expected) {
		t.Errorf("projected %d attributes, want %d", got.Len(), expected.Len())
	}
	if p.root.at == nil || len(p.root.at) != len(p.root.kids) {
		t.Error("the paths have no index")
	}
}

// TestManyPlaceholders: with many names and values, placeholders are found by an index.
func TestManyPlaceholders(t *testing.T) {
	var names smithy.Map[string]
	var fields []attribute.Field
	for i := range 1000 {
		names = append(names, smithy.Entry[string]{Key: fmt.Sprint("#n", i), Value: fmt.Sprint("a", i)})
		fields = append(fields, attribute.Field{Name: fmt.Sprint(":v", i), Value: attribute.Number(fmt.Sprint(i))})
	}
	scope, err := NewScope(names, attribute.NewItem(fields...))
	if err != nil {
		t.Fatal(err)
	}
	if len(scope.many.names) != 1000 || len(scope.many.values) != 1000 {
		t.Fatal("placeholders have no index")
	}
	c, err := ParseCondition("#n7 = :v8 AND #n999 = :v999 AND #n0 <> :v0")
	if err != nil {
		t.Fatal(err)
	}
	if err := scope.BindCondition(c); err != nil {
		t.Fatal(err)
	}
	it := item(attribute.Field{Name: "a7", Value: attribute.Number("8")}, attribute.Field{Name: "a999", Value: attribute.Number("999")}, attribute.Field{Name: "a0", Value: attribute.Number("1")})
	if !scope.Matches(c.Root, it) || scope.Matches(c.Root, nil) {
		t.Error("the condition is evaluated wrongly")
	}
	unused := scope.Unused().Error()
	if strings.Count(unused, "#") != 997 || strings.Contains(unused, "#n999,") || !strings.Contains(unused, "#n998}") {
		t.Errorf("unused: %.100s…", unused)
	}
	for text, want := range map[string]string{
		"#x = :v1": "An expression attribute name used in the document path is not defined; attribute name: #x",
		"a = :x":   "An expression attribute value used in expression is not defined; attribute value: :x",
	} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := scope.BindCondition(c); err == nil || err.Error() != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestDoubling: an expression that doubles a list again and again fails once the list is larger than an item. Only PartiQL nests list_append.
func TestDoubling(t *testing.T) {
	a := Path{{Name: "a"}}
	operand := &Node{Op: OpPath, Path: a}
	for range 8 {
		operand = &Node{Op: OpListAppend, Args: []*Node{operand, operand}}
	}
	u := &Update{Actions: []Action{{Section: SectionSet, Path: a, Operand: operand}}}
	scope, err := NewScope(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := scope.BindUpdate(u); err != nil {
		t.Fatal(err)
	}
	it := item(attribute.Field{Name: "a", Value: attribute.NewList([]attribute.Value{attribute.String(strings.Repeat("x", 300<<10))})})
	allocated := bytesOf(func() {
		if _, err := scope.Apply(u, it); err == nil || err.Error() != msgTooLarge {
			t.Error(err)
		}
	})
	if allocated > 4<<20 {
		t.Errorf("%d bytes are allocated", allocated)
	}
}
