package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Selectors decide which data events are recorded. They are CloudTrail's advanced event selectors ("AdvancedEventSelector",
// "AdvancedFieldSelector"), with the field userIdentity.arn besides. The zero value takes none. Selectors are immutable.
type Selectors struct{ list []selector }

// selector takes the events that meet all of its conditions.
type selector struct {
	resource string // the type of the resource
	readOnly *bool  // nil for both
	names    condition
	arns     condition // of any resource of the request
	senders  condition // of userIdentity's ARN
}

// condition is a field's. The zero value is met by everything.
type condition struct {
	Equals, StartsWith, EndsWith, NotEquals, NotStartsWith, NotEndsWith []string
}

// meets reports whether a value meets the condition: one of the values of each operator that selects, and none of those that exclude.
func (c *condition) meets(value string) bool {
	any := func(values []string, f func(s, part string) bool) bool {
		return slices.ContainsFunc(values, func(v string) bool { return f(value, v) })
	}
	equal := func(a, b string) bool { return a == b }
	return (c.Equals == nil || any(c.Equals, equal)) && (c.StartsWith == nil || any(c.StartsWith, strings.HasPrefix)) &&
		(c.EndsWith == nil || any(c.EndsWith, strings.HasSuffix)) && !any(c.NotEquals, equal) &&
		!any(c.NotStartsWith, strings.HasPrefix) && !any(c.NotEndsWith, strings.HasSuffix)
}

// empty reports whether the condition is met by everything.
func (c *condition) empty() bool {
	return len(c.Equals)+len(c.StartsWith)+len(c.EndsWith)+len(c.NotEquals)+len(c.NotStartsWith)+len(c.NotEndsWith) == 0
}

// onlyEquals reports whether the condition has exactly one operator, Equals, with one value.
func (c *condition) onlyEquals() bool {
	return len(c.Equals) == 1 && (&condition{nil, c.StartsWith, c.EndsWith, c.NotEquals, c.NotStartsWith, c.NotEndsWith}).empty()
}

// may reports whether the selector can take events of an operation. It is the cheap part of takes.
func (s *selector) may(op *operation) bool {
	return s.resource == op.resource && (s.readOnly == nil || *s.readOnly != op.write) && s.names.meets(op.name)
}

// takes reports whether the selector takes an event of an operation that it may take.
func (s *selector) takes(sender string, resources []Resource) bool {
	if !s.senders.meets(sender) {
		return false
	}
	if s.arns.empty() {
		return true
	}
	if len(resources) == 0 {
		return s.arns.meets("")
	}
	return slices.ContainsFunc(resources, func(r Resource) bool { return s.arns.meets(r.ARN) })
}

const (
	// maxSelectorsFile is the largest file of selectors in bytes.
	maxSelectorsFile = 1 << 20
	// maxConditions is the largest number of values in all selectors together ("Filtering data events by using advanced event selectors").
	maxConditions = 500
)

// LoadSelectors reads selectors from a file: a JSON list of advanced event selectors, or an object with the list as AdvancedEventSelectors, as
// `aws cloudtrail get-event-selectors` prints it.
func LoadSelectors(file string) (*Selectors, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSelectorsFile+1))
	if err == nil && len(raw) > maxSelectorsFile {
		err = fmt.Errorf("it has more than %d bytes", maxSelectorsFile)
	}
	if err != nil {
		return nil, fmt.Errorf("event selectors %s: %w", file, err)
	}
	s, err := ParseSelectors(raw)
	if err != nil {
		return nil, fmt.Errorf("event selectors %s: %w", file, err)
	}
	return s, nil
}

// given is a selector as the file has it.
type given struct {
	Name           string
	FieldSelectors []struct {
		Field string
		condition
	}
}

// ParseSelectors parses the content of a file of selectors. Its errors name the place.
func ParseSelectors(raw []byte) (*Selectors, error) {
	var list []given
	var err error
	if text := bytes.TrimSpace(raw); len(text) > 0 && text[0] == '{' {
		var whole struct {
			TrailARN               string
			AdvancedEventSelectors []given
		}
		err = strictly(raw, &whole)
		list = whole.AdvancedEventSelectors
	} else {
		err = strictly(raw, &list)
	}
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("it has no selectors")
	}
	out, values := &Selectors{}, 0
	for i := range list {
		s, err := list[i].selector(&values)
		if err != nil {
			return nil, fmt.Errorf("selector %d: %w", i+1, err)
		}
		if s != nil {
			out.list = append(out.list, *s)
		}
	}
	if values > maxConditions {
		return nil, fmt.Errorf("it has %d values, more than %d", values, maxConditions)
	}
	return out, nil
}

// strictly decodes one JSON value without unknown members.
func strictly(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return fmt.Errorf("it is not JSON at byte %d: %w", syntax.Offset, err)
		case errors.As(err, &kind):
			return fmt.Errorf("at byte %d, %s must not be a %s", kind.Offset, kind.Field, kind.Value)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("it ends too early, after byte %d", len(raw))
		}
		return fmt.Errorf("before byte %d: %s", d.InputOffset()+1, strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is more text after byte %d", d.InputOffset())
	}
	return nil
}

// selector checks a selector; nil for one of management events, which are recorded anyway. values counts its values.
func (g *given) selector(values *int) (*selector, error) {
	out, category := &selector{}, ""
	seen := map[string]bool{}
	for i, f := range g.FieldSelectors {
		at := func(problem string) error { return fmt.Errorf("field selector %d: %s", i+1, problem) }
		c := f.condition
		if seen[f.Field] {
			return nil, at(f.Field + " has a field selector already")
		}
		seen[f.Field] = true
		if c.empty() {
			return nil, at("it has no values")
		}
		for _, list := range [][]string{c.Equals, c.StartsWith, c.EndsWith, c.NotEquals, c.NotStartsWith, c.NotEndsWith} {
			*values += len(list)
			if slices.Contains(list, "") {
				return nil, at("a value is empty")
			}
		}
		switch f.Field {
		case "eventCategory", "resources.type", "readOnly":
			if !c.onlyEquals() {
				return nil, at(f.Field + " takes Equals with one value, and no other operator")
			}
		}
		switch f.Field {
		case "eventCategory":
			if category = c.Equals[0]; category != "Management" && category != "Data" {
				return nil, at("eventCategory must be Management or Data")
			}
		case "resources.type":
			if out.resource = c.Equals[0]; !slices.Contains(types(), out.resource) {
				return nil, at("resources.type must be one of " + strings.Join(types(), ", "))
			}
		case "readOnly":
			only := c.Equals[0] == "true"
			if !only && c.Equals[0] != "false" {
				return nil, at("readOnly must be true or false")
			}
			out.readOnly = &only
		case "eventName":
			out.names = c
		case "resources.ARN":
			out.arns = c
		case "userIdentity.arn":
			out.senders = c
		default:
			return nil, at(fmt.Sprintf("%q is not a field of eventCategory, eventName, readOnly, resources.type, resources.ARN, userIdentity.arn", f.Field))
		}
	}
	switch {
	case category == "":
		return nil, errors.New("it has no field selector for eventCategory")
	case category == "Management" && len(g.FieldSelectors) > 1:
		return nil, errors.New("management events are all recorded: their selector takes no field but eventCategory")
	case category == "Management":
		return nil, nil
	case out.resource == "":
		return nil, errors.New("it has no field selector for resources.type, which data events need")
	}
	return out, nil
}

// types returns the types of resources of data events, sorted.
func types() []string {
	var out []string
	for _, t := range resourceTypes {
		out = append(out, t)
	}
	slices.Sort(out)
	return out
}
