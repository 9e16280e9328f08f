package expr

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// TestCases runs the cases in testdata.
//
// Commands:
//
//	given
//	ITEM
//	NAME text
//	VALUE value
//	…
//		sets the item, and the placeholders: names such as #n and values such as :v. Each file starts without any
//
//	condition
//	EXPRESSION
//	…
//		prints for each condition whether the item meets it; none is the item that does not exist
//
//	project
//	EXPRESSION
//	…
//		prints what each projection leaves of the item
//
//	update
//	EXPRESSION
//	…
//		prints the item after each update, which always starts from the given item
//
// Expressions that are refused print the sentence that follows "Invalid …Expression: " in AWS's messages.
func TestCases(t *testing.T) {
	datadriven.Walk(t, "testdata/cases", func(t *testing.T, path string) {
		c := cases{t: t}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var out strings.Builder
			for line := range strings.Lines(d.Input) {
				line = strings.TrimSuffix(line, "\n")
				switch d.Cmd {
				case "given":
					c.given(line)
				case "condition":
					fmt.Fprintln(&out, c.condition(line))
				case "project":
					fmt.Fprintln(&out, c.project(line))
				case "update":
					fmt.Fprintln(&out, c.update(line))
				default:
					d.Fatalf(t, "unknown command")
				}
			}
			return out.String()
		})
	})
}

// cases is the state of a file.
type cases struct {
	t      *testing.T
	item   attribute.Item
	names  smithy.Map[string]
	values []attribute.Field
}

func (c *cases) given(line string) {
	name, text, _ := strings.Cut(line, " ")
	switch {
	case line[0] == '{':
		c.item = c.decode(line)
	case line == "none":
		c.item = nil
	case name[0] == '#':
		c.names.Put(name, text)
	case name[0] == ':':
		v := c.decode(`{"v":` + text + `}`).Get("v")
		c.values = append(c.values, attribute.Field{Name: name, Value: v})
	default:
		c.t.Fatalf("%s: neither an item nor a placeholder", line)
	}
}

// decode decodes an item in DynamoDB's JSON.
func (c *cases) decode(text string) attribute.Item {
	var r wirejson.Reader
	r.Reset([]byte(text))
	it := attribute.ReadItem(&r)
	if _, problem, invalid := it.Invalid(); r.Err() != nil || invalid {
		c.t.Fatalf("%s: %v %s", text, r.Err(), problem)
	}
	return it
}

func (c *cases) scope() *Scope {
	var values attribute.Item // nil if there are none: an empty item is refused
	if c.values != nil {
		values = attribute.NewItem(c.values...)
	}
	s, err := NewScope(c.names, values)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cases) condition(text string) string {
	s := c.scope()
	e, err := ParseCondition(text)
	if err == nil {
		err = s.BindCondition(e)
	}
	if err != nil {
		return "refused: " + err.Error()
	}
	return fmt.Sprint(s.Matches(e.Root, c.item))
}

func (c *cases) project(text string) string {
	s := c.scope()
	e, err := ParseProjection(text)
	if err == nil {
		err = s.BindProjection(e)
	}
	if err != nil {
		return "refused: " + err.Error()
	}
	return string(s.NewProjector(e.Paths).Project(c.item).AppendJSON(nil))
}

func (c *cases) update(text string) string {
	s := c.scope()
	e, err := ParseUpdate(text)
	if err == nil {
		err = s.BindUpdate(e)
	}
	if err != nil {
		return "refused: " + err.Error()
	}
	next, err := s.Apply(e, c.item)
	if err != nil {
		return "fails: " + err.Error()
	}
	return string(next.AppendJSON(nil))
}
