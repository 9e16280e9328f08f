package mutate

import (
	"fmt"
	"slices"
	"strings"
)

// begin resets the placeholders for a new request.
func (g *gen) begin() { g.names, g.vals = obj{}, obj{} }

// finish adds the placeholders to a request.
func (g *gen) finish(in obj) obj {
	if len(g.names) > 0 {
		in["ExpressionAttributeNames"] = g.names
	}
	if len(g.vals) > 0 {
		in["ExpressionAttributeValues"] = g.vals
	}
	return in
}

// name returns an attribute name as it is, or as a placeholder.
func (g *gen) name(name string) string {
	plain := name != "Year" && name != "a-b" && name != "null" && name != "raw" && name != "exp" && name != "bool" && name != "l" && name != "m" && name != "n" && name != "b" && name != "s" && name != "x"
	if plain && g.one(2) {
		return name
	}
	for p, n := range g.names {
		if n == name {
			return p
		}
	}
	p := fmt.Sprint("#", len(g.names))
	g.names[p] = name
	return p
}

// bind returns a placeholder for a value.
func (g *gen) bind(v obj) string {
	p := fmt.Sprint(":", len(g.vals))
	g.vals[p] = v
	return p
}

// attributeName returns the name of an attribute, possibly a key.
func (g *gen) attributeName() string {
	if g.one(4) {
		return pick(g.Source, "g", "n", "sk", "pk", "b")
	}
	return attributes[g.n(len(attributes))]
}

// path returns a document path, and the attribute that it begins with.
func (g *gen) path() (text, attribute string) {
	attribute = g.attributeName()
	return g.pathOf(attribute), attribute
}

// pathOf returns a document path that begins with the attribute.
func (g *gen) pathOf(attribute string) string {
	text := g.name(attribute)
	switch attribute {
	case "l":
		if g.one(2) {
			text += pick(g.Source, "[0]", "[1]", "[9]", "[0][0]", "[1].a")
		}
	case "m":
		if g.one(2) {
			text += pick(g.Source, ".a", ".b", ".l[0]", ".a.b")
		}
	}
	return text
}

// operand returns a path, a value, or the size of a path.
func (g *gen) operand(like string) string {
	switch g.n(6) {
	case 0:
		p, _ := g.path()
		return p
	case 1:
		p, _ := g.path()
		return "size(" + p + ")"
	}
	return g.bind(g.attribute(like))
}

// condition returns a condition or filter.
func (g *gen) condition(depth int) string {
	kinds := 11
	if depth > 3 {
		kinds = 8
	}
	p, a := g.path()
	switch g.n(kinds) {
	case 0, 1:
		return p + " " + pick(g.Source, "=", "<>", "<", "<=", ">", ">=") + " " + g.operand(a)
	case 2:
		return "attribute_exists(" + p + ")"
	case 3:
		return "attribute_not_exists(" + p + ")"
	case 4:
		return "attribute_type(" + p + "," + g.bind(obj{"S": pick(g.Source, "S", "N", "B", "SS", "NS", "BS", "L", "M", "BOOL", "NULL")}) + ")"
	case 5:
		return pick(g.Source, "begins_with(", "contains(") + p + "," + g.bind(obj{"S": g.text()}) + ")"
	case 6:
		v := g.bind(obj{"N": "1"})
		return "size(" + p + ") " + pick(g.Source, "=", ">", "<") + " " + v
	case 7:
		list := []string{}
		for range 1 + g.n(4) {
			list = append(list, g.operand(a))
		}
		return p + " IN (" + strings.Join(list, ", ") + ")"
	case 8:
		return "NOT " + pick(g.Source, "(", " (") + g.condition(depth+1) + ")"
	case 9:
		return p + " BETWEEN " + g.bind(obj{"N": "0"}) + " AND " + g.bind(obj{"N": fmt.Sprint(1 + g.n(9))})
	}
	return "(" + g.condition(depth+1) + ")" + pick(g.Source, " AND ", " OR ", " and ") + "(" + g.condition(depth+1) + ")"
}

// projection returns a projection without overlapping paths.
func (g *gen) projection() string {
	var out, seen []string
	for range 1 + g.n(4) {
		if a := g.attributeName(); !slices.Contains(seen, a) {
			out, seen = append(out, g.pathOf(a)), append(seen, a)
		}
	}
	return strings.Join(out, ", ")
}

// update returns an update expression for items of a table.
func (g *gen) update(t table) string {
	var set, remove, add, del, seen []string
	for range 1 + g.n(4) {
		a := attributes[g.n(len(attributes))]
		if slices.Contains(seen, a) {
			continue
		}
		seen = append(seen, a)
		p := g.name(a)
		switch {
		case a == "ss" && g.one(2):
			del = append(del, p+" "+g.bind(g.set("SS")))
		case a == "ns" || a == "bs":
			add = append(add, p+" "+g.bind(g.set(strings.ToUpper(a))))
		case a == "l" && g.one(2):
			set = append(set, p+" = list_append(if_not_exists("+p+", "+g.bind(obj{"L": []any{}})+"), "+g.bind(obj{"L": []any{g.value(1)}})+")")
		case a == "x" && g.one(2):
			add = append(add, g.name("total")+" "+g.bind(obj{"N": g.number()}))
			set = append(set, p+" = "+g.bind(g.value(0)))
		case g.one(4):
			remove = append(remove, p)
		case g.one(4):
			set = append(set, p+" = if_not_exists("+p+", "+g.bind(g.attribute(a))+")")
		default:
			set = append(set, p+" = "+g.bind(g.attribute(a)))
		}
	}
	var parts []string
	for _, c := range []struct {
		word string
		list []string
	}{{"SET ", set}, {"REMOVE ", remove}, {"ADD ", add}, {"DELETE ", del}} {
		if len(c.list) > 0 {
			parts = append(parts, c.word+strings.Join(c.list, ", "))
		}
	}
	return strings.Join(parts, " ")
}

// keyCondition returns the key condition of a query.
func (g *gen) keyCondition(pk, sk string) string {
	out := g.name(pk) + " = " + g.bind(g.keyValue(pk))
	if sk == "" || g.one(3) {
		return out
	}
	s := g.name(sk)
	switch g.n(3) {
	case 0:
		a, b := 0, 1+g.n(7)
		if keyTypes[sk] == "N" {
			return out + " AND " + s + " BETWEEN " + g.bind(obj{"N": fmt.Sprint(a)}) + " AND " + g.bind(obj{"N": fmt.Sprint(b)})
		}
	case 1:
		if keyTypes[sk] != "N" {
			return out + " AND begins_with(" + s + ", " + g.bind(g.keyValue(sk)) + ")"
		}
	}
	return out + " AND " + s + " " + pick(g.Source, "=", "<", "<=", ">", ">=") + " " + g.bind(g.keyValue(sk))
}
