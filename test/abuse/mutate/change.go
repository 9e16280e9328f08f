package mutate

import (
	"encoding/json"
	"slices"
	"strings"
)

// place is a value within a request.
type place struct {
	shape *shape
	name  string // member name
	value any
	set   func(any)
	drop  func() // nil for list elements that can't be removed
}

// places lists the values of a request, the outermost first.
func places(s *shape, v any, out []place) []place {
	switch v := v.(type) {
	case map[string]any:
		if s.kind == "item" || s.kind == "value" {
			return out
		}
		for _, name := range sorted(v) {
			member := s.element
			if s.kind == "structure" {
				member = s.members[name]
			}
			if member == nil {
				continue
			}
			out = append(out, place{shape: member, name: name, value: v[name], set: func(n any) { v[name] = n }, drop: func() { delete(v, name) }})
			out = places(member, v[name], out)
		}
	case []any:
		for i := range v {
			if s.element == nil {
				continue
			}
			out = append(out, place{shape: s.element, value: v[i], set: func(n any) { v[i] = n }})
			out = places(s.element, v[i], out)
		}
	}
	return out
}

// change returns a slightly different request, which usually still satisfies the model.
func (g *gen) change(op *operation, in obj) obj {
	for range 4 {
		changed := clone(in)
		for range 1 + g.n(2) {
			g.changeOnce(op, changed)
		}
		if op.valid([]byte(render(changed))) || g.one(10) {
			return changed
		}
	}
	return in
}

func clone(in obj) (out obj) {
	dec := json.NewDecoder(strings.NewReader(render(in)))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		panic(err) // render has produced it
	}
	return out
}

func (g *gen) changeOnce(op *operation, in obj) {
	if g.one(5) {
		g.add(op.in, in)
		return
	}
	list := places(op.in, any(in), nil)
	if len(list) == 0 {
		return
	}
	p := list[g.n(len(list))]
	switch {
	case p.drop != nil && g.one(4):
		p.drop()
	case p.name != "" && g.one(3):
		if v := g.seen(p.name); v != nil {
			p.set(v)
		}
	default:
		p.set(g.other(p))
	}
}

// add adds an absent member.
func (g *gen) add(s *shape, in obj) {
	var absent []string
	for _, name := range s.names {
		if in[name] == nil {
			absent = append(absent, name)
		}
	}
	if len(absent) == 0 {
		return
	}
	name := absent[g.n(len(absent))]
	in[name] = g.invent(s.members[name], name, 0)
}

// seen returns a value that a member of this name has had, or nil.
func (g *gen) seen(name string) any {
	list := g.w.pool[name]
	if len(list) == 0 {
		return nil
	}
	return clone(obj{"v": list[g.n(len(list))]})["v"]
}

// invent returns a value of a shape: one seen under this name, or a random one.
func (g *gen) invent(s *shape, name string, depth int) any {
	if v := g.seen(name); v != nil && !g.one(4) {
		return v
	}
	switch s.kind {
	case "string":
		return g.text()
	case "int":
		return pick(g.Source, 0, 1, 2, 10, 60, 100, 1000)
	case "float":
		return pick[any](g.Source, 0, 1, 0.5, -1, 1e18, now)
	case "bool":
		return g.one(2)
	case "item":
		return g.item(g.table())
	case "value":
		return g.value(0)
	case "list":
		if depth > 3 || g.one(4) {
			return []any{}
		}
		return []any{g.invent(s.element, "", depth+1)}
	case "map":
		if depth > 3 || g.one(4) {
			return obj{}
		}
		return obj{g.table().name: g.invent(s.element, "", depth+1)}
	}
	out := obj{}
	for _, member := range s.names {
		if depth < 3 && g.one(2) {
			out[member] = g.invent(s.members[member], member, depth+1)
		}
	}
	return out
}

// other returns a different value for a place.
func (g *gen) other(p place) any {
	switch p.shape.kind {
	case "string":
		s, _ := p.value.(string)
		return g.otherText(s)
	case "int", "float":
		return pick[any](g.Source, 0, 1, 2, 3, -1, 60, 100, 1000, 2147483647, int64(9223372036854775807), int64(-9223372036854775808), 0.5, 1e100)
	case "bool":
		return p.value != true
	case "item":
		it, ok := p.value.(obj)
		if !ok || len(it) == 0 {
			return g.item(g.table())
		}
		names := sorted(it)
		name := names[g.n(len(names))]
		it = copied(it)
		switch g.n(4) {
		case 0:
			delete(it, name)
		case 1:
			it[pick(g.Source, attributes...)] = g.value(0)
		case 2:
			it[name] = g.value(0)
		default:
			it[name] = g.attribute(name)
		}
		return it
	case "value":
		return g.value(0)
	case "list":
		list, _ := p.value.([]any)
		list = slices.Clone(list)
		switch {
		case len(list) == 0 || g.one(4):
			return append(list, g.invent(p.shape.element, "", 1))
		case g.one(3):
			return list[:len(list)-1]
		case g.one(2):
			slices.Reverse(list)
			return list
		}
		return append(list, list[g.n(len(list))])
	}
	return p.value
}

// otherText changes a text: an expression by a character, an ARN by a part, a name by its case.
func (g *gen) otherText(s string) string {
	if s == "" {
		return g.text()
	}
	at := g.n(len(s))
	switch g.n(7) {
	case 0:
		return s[:at]
	case 1:
		return s + s
	case 2:
		return s[:at] + pick(g.Source, " ", "(", ")", ".", "[0]", "#", ":", ",", "0", "é", "\x00", "'", "\"", "/") + s[at:]
	case 3:
		return s[at:]
	case 4:
		return strings.ToUpper(s)
	case 5:
		return g.text()
	}
	return strings.Replace(s, pick(g.Source, "AND", "=", "hash", "SET", "us-east-1", "1", "("), pick(g.Source, "OR", "<", "range", "REMOVE", "eu-west-1", "2", "(("), 1)
}
