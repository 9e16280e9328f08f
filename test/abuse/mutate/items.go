package mutate

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// obj is a JSON object in a request.
type obj = map[string]any

// index is a secondary index of a table of the world.
type index struct{ name, pk, sk string }

// table is a table of the world. keyTypes has the types of its key attributes.
type table struct {
	name, pk, sk string
	indexes      []index
}

// tables are those with which every world begins.
var tables = []table{
	{name: "hash", pk: "pk"},
	{name: "range", pk: "pk", sk: "sk", indexes: []index{{"by-g", "g", ""}, {"by-g-n", "g", "n"}, {"local", "pk", "n"}}},
	{name: "prov", pk: "pk", sk: "b", indexes: []index{{"by-n", "n", "pk"}}},
	{name: "num", pk: "n", sk: "g"},
}

// keyTypes are the types of attributes that are keys of some table or index.
var keyTypes = map[string]string{"pk": "S", "sk": "N", "g": "S", "n": "N", "b": "B"}

// attributes are the other attributes of items.
var attributes = []string{"s", "x", "bool", "null", "ss", "ns", "bs", "l", "m", "exp", "raw", "Year", "a-b"}

// gen generates requests.
type gen struct {
	*Source
	w     *world
	names obj // placeholders of the current request
	vals  obj
}

func (g *gen) text() string {
	return pick(g.Source, "a", "b", "item-1", "", "ü", "x y", "\x00", "😀", strings.Repeat("long", 50), "A", "0", "#:.[]\"'", "zzzz")
}

func (g *gen) number() string {
	return pick(g.Source, "0", "1", "2", "-1", "10", "3.5", "1e125", "-9.9999999999999999999999999999999999999E+125", "1E-130", "0.00001", "12345678901234567890123456789012345678", "007", "-0", "1.0", "100")
}

func (g *gen) bytes() string {
	return base64.StdEncoding.EncodeToString([]byte(g.text()))
}

// value returns an attribute value of any type.
func (g *gen) value(depth int) obj {
	kinds := 10
	if depth > 2 {
		kinds = 8
	}
	switch g.n(kinds) {
	case 0, 1:
		return obj{"S": g.text()}
	case 2:
		return obj{"N": g.number()}
	case 3:
		return obj{"B": g.bytes()}
	case 4:
		return obj{"BOOL": g.one(2)}
	case 5:
		return obj{"NULL": true}
	case 6:
		return g.set("SS", "NS")
	case 7:
		return g.set("BS", "SS")
	case 8:
		list := []any{}
		for range g.n(4) {
			list = append(list, g.value(depth+1))
		}
		return obj{"L": list}
	}
	m := obj{}
	for range g.n(4) {
		m[pick(g.Source, "a", "b", "c", "l")] = g.value(depth + 1)
	}
	return obj{"M": m}
}

// set returns a set of one of the types.
func (g *gen) set(types ...string) obj {
	kind := pick(g.Source, types...)
	var list []any
	for i := range 1 + g.n(3) {
		switch kind {
		case "SS":
			list = append(list, fmt.Sprint(g.text(), i))
		case "NS":
			list = append(list, fmt.Sprint(g.n(20)*3+i))
		default:
			list = append(list, base64.StdEncoding.EncodeToString(fmt.Append(nil, g.text(), i)))
		}
	}
	return obj{kind: list}
}

// keyValue returns a value of a key attribute, usually an existing one.
func (g *gen) keyValue(name string) obj {
	switch keyTypes[name] {
	case "N":
		return obj{"N": fmt.Sprint(g.n(8))}
	case "B":
		return obj{"B": base64.StdEncoding.EncodeToString(fmt.Append(nil, "b", g.n(6)))}
	}
	return obj{"S": fmt.Sprint(pick(g.Source, "p", "q", "r"), g.n(4))}
}

// key returns the key of an item.
func (g *gen) key(t table) obj {
	k := obj{t.pk: g.keyValue(t.pk)}
	if t.sk != "" {
		k[t.sk] = g.keyValue(t.sk)
	}
	return k
}

// attribute returns a value similar to those that the attribute has in other items.
func (g *gen) attribute(name string) obj {
	switch {
	case keyTypes[name] != "":
		return g.keyValue(name)
	case g.one(6):
		return g.value(0)
	}
	switch name {
	case "bool":
		return obj{"BOOL": g.one(2)}
	case "ss", "ns", "bs":
		return g.set(strings.ToUpper(name))
	case "l":
		return obj{"L": []any{g.value(1), obj{"N": g.number()}}}
	case "m":
		return obj{"M": obj{"a": g.value(1), "l": obj{"L": []any{g.value(2)}}, "n": obj{"N": "1"}}}
	case "exp":
		return obj{"N": fmt.Sprint(1_700_000_000 + g.n(100_000_000))}
	}
	return obj{"S": g.text()}
}

// item returns an item for a table.
func (g *gen) item(t table) obj {
	it := g.key(t)
	for _, name := range []string{"g", "n"} {
		if it[name] == nil && !g.one(4) {
			it[name] = g.keyValue(name)
		}
	}
	for range g.n(8) {
		name := attributes[g.n(len(attributes))]
		it[name] = g.attribute(name)
	}
	return it
}

// table returns a table, usually an existing one.
func (g *gen) table() table { return tables[g.n(len(tables))] }
