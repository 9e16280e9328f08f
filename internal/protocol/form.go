package protocol

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// field is a parameter of a form: Dimensions.member.1.Name=x.
type field struct {
	name, value string
	at          int // its place in the form: the first of several with one name counts
}

// form turns the parameters of a request into JSON. They are sorted by the parts of their names, so what is below a name
// stands together, and reading them is no more than a walk: an index that a client makes up allocates nothing.
type form struct {
	shapes map[string]smithy.ShapeInfo
	fields []field
	out    []byte
}

// parse reads the parameters that begin with one of the members; false if the text is no form.
func (f *form) parse(text string, members map[string]string) bool {
	for pair := range strings.SplitSeq(text, "&") {
		if strings.Contains(pair, ";") {
			return false
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return false
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return false
		}
		first, _, _ := strings.Cut(name, ".")
		if _, known := members[first]; !known {
			continue
		}
		if len(f.fields) == cap(f.fields) {
			f.fields = slices.Grow(f.fields, max(16, len(f.fields)))
		}
		f.fields = append(f.fields, field{name, value, len(f.fields)})
	}
	slices.SortFunc(f.fields, func(a, b field) int {
		if c := compareNames(a.name, b.name); c != 0 {
			return c
		}
		return a.at - b.at
	})
	return true
}

// compareNames orders names by their parts: what comes first is the end of a name, then a dot, then the other bytes.
func compareNames(a, b string) int {
	for i := range min(len(a), len(b)) {
		if x, y := a[i], b[i]; x != y {
			switch {
			case x == '.':
				return -1
			case y == '.':
				return 1
			}
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// part returns the part of a name that begins at from.
func part(name string, from int) string {
	p, _, _ := strings.Cut(name[from:], ".")
	return p
}

// below returns the fields with the part at from.
func below(fields []field, from int, name string) []field {
	compare := func(f field, name string) int { return strings.Compare(part(f.name, from), name) }
	first, _ := slices.BinarySearchFunc(fields, name, compare)
	last, _ := slices.BinarySearchFunc(fields[first:], name, func(f field, name string) int {
		if compare(f, name) > 0 {
			return 1
		}
		return -1
	})
	return fields[first : first+last]
}

// split parts the fields whose names end at end, which come first, from those that go on behind it.
func split(fields []field, end int) (own, deeper []field) {
	n, _ := slices.BinarySearchFunc(fields, end, func(f field, end int) int { return min(len(f.name), end+1) - (end + 1) })
	return fields[:n], fields[n:]
}

// value writes the value of a shape from its fields, whose names have it at their beginning, up to from; written is false if
// it is not there.
func (f *form) value(fields []field, from int, shape string, depth int) (written bool, bad *awserr.Error) {
	if len(fields) == 0 {
		return false, nil
	}
	if depth > maxDepth {
		return false, serialization()
	}
	own, fields := split(fields, from)
	switch info := f.shapes[shape]; info.Kind {
	case "structure":
		if len(fields) == 0 {
			return false, nil
		}
		return f.structure(fields, from+1, shape, depth)
	case "list":
		if len(own) > 0 {
			f.out = append(f.out, '[', ']')
			return true, nil
		}
		return f.list(fields, from+1, info.Member, depth)
	case "map":
		return f.mapping(fields, from+1, info.Value, depth)
	default:
		if len(own) == 0 {
			return false, nil
		}
		f.out, bad = scalar(f.out, info.Kind, own[0].name, own[0].value)
		return bad == nil, bad
	}
}

func (f *form) structure(fields []field, from int, shape string, depth int) (written bool, bad *awserr.Error) {
	f.out = append(f.out, '{')
	start := len(f.out)
	for len(fields) > 0 {
		name := part(fields[0].name, from)
		group := below(fields, from, name)
		fields = fields[len(group):]
		member, known := f.shapes[shape].Members[name]
		if !known {
			continue
		}
		mark := len(f.out)
		if mark > start {
			f.out = append(f.out, ',')
		}
		f.out = append(wirejson.AppendString(f.out, name), ':')
		written, bad := f.value(group, from+len(name), member, depth+1)
		if bad != nil {
			return false, bad
		}
		if !written {
			f.out = f.out[:mark]
		}
	}
	f.out = append(f.out, '}')
	return true, nil
}

// numbered calls element with the fields below WORD.1, WORD.2 and so on and where those names end, up to the first that is
// not there or for which it returns false.
func numbered(fields []field, from int, word string, element func(group []field, end int) bool) {
	end := from + len(word)
	_, fields = split(below(fields, from, word), end)
	for i := 1; len(fields) > 0; i++ {
		number := strconv.Itoa(i)
		group := below(fields, end+1, number)
		if len(group) == 0 || !element(group, end+1+len(number)) {
			return
		}
	}
}

func (f *form) list(fields []field, from int, shape string, depth int) (written bool, bad *awserr.Error) {
	mark := len(f.out)
	f.out = append(f.out, '[')
	numbered(fields, from, "member", func(group []field, end int) bool {
		before := len(f.out)
		if written {
			f.out = append(f.out, ',')
		}
		var ok bool
		if ok, bad = f.value(group, end, shape, depth+1); !ok {
			f.out = f.out[:before]
		}
		written = written || ok
		return ok
	})
	if !written {
		f.out = f.out[:mark]
		return false, bad
	}
	f.out = append(f.out, ']')
	return bad == nil, bad
}

func (f *form) mapping(fields []field, from int, shape string, depth int) (written bool, bad *awserr.Error) {
	mark := len(f.out)
	f.out = append(f.out, '{')
	numbered(fields, from, "entry", func(group []field, end int) bool {
		_, group = split(group, end)
		key, _ := split(below(group, end+1, "key"), end+1+len("key"))
		if len(key) == 0 {
			return false
		}
		if written {
			f.out = append(f.out, ',')
		}
		written = true
		f.out = append(appendText(f.out, key[0].value), ':')
		var ok bool
		if ok, bad = f.value(below(group, end+1, "value"), end+1+len("value"), shape, depth+1); !ok {
			f.out = append(f.out, "null"...)
		}
		return bad == nil
	})
	if !written {
		f.out = f.out[:mark]
		return false, bad
	}
	f.out = append(f.out, '}')
	return bad == nil, bad
}
