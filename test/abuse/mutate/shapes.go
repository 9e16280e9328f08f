package mutate

import (
	"reflect"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
)

// shape is the set of values of an API's type, as far as its Go type tells.
type shape struct {
	kind    string // structure, list, map, string, int, float, bool, item (a map of attribute values) or value (a single one)
	names   []string
	members map[string]*shape // of a structure
	element *shape            // element of a list or map
}

var shapes = map[reflect.Type]*shape{}

// shapeOf returns the shape of a generated type.
func shapeOf(t reflect.Type) *shape {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if s := shapes[t]; s != nil {
		return s
	}
	s := &shape{}
	shapes[t] = s // before its members, because types may be recursive
	switch {
	case t == reflect.TypeFor[attribute.Item]():
		s.kind = "item"
	case t == reflect.TypeFor[attribute.Value]():
		s.kind = "value"
	case t.Kind() == reflect.Slice && strings.HasPrefix(t.Name(), "Map["):
		s.kind = "map"
		entry, _ := t.Elem().FieldByName("Value")
		s.element = shapeOf(entry.Type)
	case t.Kind() == reflect.Slice:
		s.kind, s.element = "list", shapeOf(t.Elem())
	case t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Opt["):
		value, _ := t.FieldByName("Value")
		*s = *shapeOf(value.Type)
	case t.Kind() == reflect.Struct:
		s.kind, s.members = "structure", map[string]*shape{}
		for i := range t.NumField() {
			f := t.Field(i)
			s.names = append(s.names, f.Name)
			s.members[f.Name] = shapeOf(f.Type)
		}
		slices.Sort(s.names)
	case t.Kind() == reflect.String:
		s.kind = "string"
	case t.Kind() == reflect.Bool:
		s.kind = "bool"
	case t.Kind() == reflect.Float64:
		s.kind = "float"
	case t.Kind() == reflect.Int64:
		s.kind = "int"
	default:
		panic("mutate: a shape of an unknown type: " + t.String())
	}
	return s
}

// member returns a structure's member by its JSON name, or nil. A few JSON names begin with a small letter; Go names never do.
func (s *shape) member(name string) *shape {
	if m := s.members[name]; m != nil || name == "" {
		return m
	}
	return s.members[strings.ToUpper(name[:1])+name[1:]]
}

// Member is a place in an operation's input: JSON with a value between Before and After.
type Member struct {
	Target, Before, After string
	Kind                  string // kind of the value's shape
	Map                   bool   // for a list or map: which of the two it is
	Element               string // shortest element of a list or map
}

// maxPlaces bounds the nesting that Members explores.
const maxPlaces = 5

// Members returns every place in every input.
func Members() (out []Member) {
	for _, op := range operations {
		walk(op.target, "", "", op.in, 0, &out)
	}
	return out
}

// Collections returns the places of lists and maps.
func Collections() []Member {
	return slices.DeleteFunc(Members(), func(m Member) bool { return m.Element == "" })
}

func walk(target, before, after string, s *shape, depth int, out *[]Member) {
	if depth > maxPlaces {
		return
	}
	m := Member{Target: target, Before: before, After: after, Kind: s.kind}
	switch s.kind {
	case "structure":
		for _, name := range s.names {
			walk(target, before+`{"`+name+`":`, "}"+after, s.members[name], depth+1, out)
		}
	case "list":
		m.Element = s.element.least()
		*out = append(*out, m)
		walk(target, before+"[", "]"+after, s.element, depth+1, out)
	case "map":
		m.Element, m.Map = s.element.least(), true
		*out = append(*out, m)
		walk(target, before+`{"k":`, "}"+after, s.element, depth+1, out)
	case "item":
		m.Element, m.Map = `{"S":""}`, true
		*out = append(*out, m)
		*out = append(*out, Member{Target: target, Before: before + `{"k":{"L":`, After: "}}" + after, Kind: "list", Element: `{"S":""}`},
			Member{Target: target, Before: before + `{"k":{"NS":`, After: "}}" + after, Kind: "list", Element: `"1"`})
	default:
		*out = append(*out, m)
	}
}

// least returns the shortest value of a shape, in JSON.
func (s *shape) least() string {
	switch s.kind {
	case "string":
		return `""`
	case "int", "float":
		return "0"
	case "bool":
		return "true"
	case "list":
		return "[]"
	case "value":
		return `{"S":""}`
	}
	return "{}"
}

// valid reports whether a body decodes as the input and satisfies the model.
func valid[In any, PI interface {
	*In
	smithy.Shape
}](body []byte) bool {
	var call smithy.Call
	in := new(In)
	call.Reader.Reset(body)
	if !PI(in).Read(&call.Reader) || !call.Reader.Done() {
		return false
	}
	var c smithy.Checker
	PI(in).Check(&c)
	return !c.Failed()
}
