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

// field is a parameter of a form, e.g. Dimensions.member.1.Name=x.
type field struct {
	name, value string
	at          int // position in the form: of several with one name, the first wins
}

// form translates the parameters of a form to JSON. It sorts them by the parts of their names, so that everything below a name is
// adjacent and translating is a walk. Nothing is allocated for list indexes, which clients choose freely.
type form struct {
	shapes map[string]smithy.ShapeInfo
	fields []field
	out    []byte
}

// parse parses the parameters that begin with the name of a member. It returns false if the text isn't a form.
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

// compareNames orders names part by part: the end of a name sorts first, then a dot, then all other bytes.
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

// part returns the part of a name that begins at an offset.
func part(name string, from int) string {
	p, _, _ := strings.Cut(name[from:], ".")
	return p
}

// below returns the fields whose part at an offset is name.
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

// split separates the fields whose names end at an offset, which come first, from those with longer names.
func split(fields []field, end int) (own, deeper []field) {
	// Lengths beyond end+1 don't matter here; cutting them off makes the fields sorted by length.
	n, _ := slices.BinarySearchFunc(fields, end, func(f field, end int) int { return min(len(f.name), end+1) - (end + 1) })
	return fields[:n], fields[n:]
}

// value appends the value of a shape from its fields. Their names begin with the value's own name, which ends at from. written is false if
// the value is absent.
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

// structure appends a structure from its fields. Unknown members are ignored.
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

// numbered calls element for WORD.1, WORD.2 and so on, with the fields of each and the offset where its name ends, until one is missing or
// element returns false.
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

// list appends a list from its fields NAME.member.N.
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

// mapping appends a map from its fields NAME.entry.N.key and NAME.entry.N.value.
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
