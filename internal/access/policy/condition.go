package policy

import "strings"

// quantifier says how an operator treats a key with several values ("Set operators for multivalued context keys").
type quantifier uint8

const (
	single quantifier = iota
	forAllValues
	forAnyValue
)

// condition compares a key's values with a policy's ("IAM JSON policy elements: Condition operators").
type condition struct {
	name     string // the key as written
	key      string // in lower case
	set      quantifier
	negated  bool
	ifExists bool
	empty    bool       // the policy lists no values
	null     []bool     // the values of the operator Null
	compare  comparison // nil for the operator Null
	effect   Effect     // of the statement
}

// comparison compares one value of a request with the policy's values. A match with any of them suffices.
type comparison interface {
	compare(value string, ctx Context) outcome
	// variables returns the templates in which variables may occur.
	variables() []*template
}

// outcome is the result of a comparison.
type outcome uint8

const (
	differs outcome = iota
	matches
	incomparable // the request's value is not of the operator's type, so that even a negated operator fails
	malformed    // no value matches, and one of the policy's is not an ARN
)

// holds reports whether a request fulfils the condition.
func (c *condition) holds(ctx Context) bool {
	v, ok := lookup(ctx, c.key)
	if c.compare == nil {
		for _, absent := range c.null {
			if absent != ok {
				return true
			}
		}
		return false
	}
	if !ok {
		switch c.set {
		case forAllValues:
			return true
		case forAnyValue:
			return false
		}
		return c.ifExists || c.negated && !c.empty
	}
	// An empty list in the policy matches no value, even with a negated operator.
	if c.empty {
		return false
	}
	switch c.set {
	case forAllValues:
		for _, value := range v.List {
			if !c.accepts(value, ctx) {
				return false
			}
		}
		return true
	case forAnyValue:
		for _, value := range v.List {
			if c.accepts(value, ctx) {
				return true
			}
		}
		return false
	}
	// An operator without a quantifier never matches a key with several values.
	return !v.Multiple && len(v.List) == 1 && c.accepts(v.List[0], ctx)
}

// accepts reports whether one value of the request is as the condition demands.
func (c *condition) accepts(value string, ctx Context) bool {
	switch c.compare.compare(value, ctx) {
	case matches:
		return !c.negated
	case differs:
		return c.negated
	case malformed:
		// AWS fails closed: such a condition allows nothing, and denies.
		return c.effect == Deny
	}
	return false
}

// operator is a condition operator without prefix and suffix.
type operator struct {
	negated bool
	// compile reads the policy's values. ok is false if IAM refuses them.
	compile func(values []string, variables bool) (c comparison, ok bool)
}

// operators are all condition operators but Null.
var operators = map[string]operator{
	"StringEquals":              {false, texts(plainText, false)},
	"StringNotEquals":           {true, texts(plainText, false)},
	"StringEqualsIgnoreCase":    {false, texts(plainText, true)},
	"StringNotEqualsIgnoreCase": {true, texts(plainText, true)},
	"StringLike":                {false, texts(wildcardText, false)},
	"StringNotLike":             {true, texts(wildcardText, false)},
	"NumericEquals":             {false, numbers(func(c int) bool { return c == 0 })},
	"NumericNotEquals":          {true, numbers(func(c int) bool { return c == 0 })},
	"NumericLessThan":           {false, numbers(func(c int) bool { return c < 0 })},
	"NumericLessThanEquals":     {false, numbers(func(c int) bool { return c <= 0 })},
	"NumericGreaterThan":        {false, numbers(func(c int) bool { return c > 0 })},
	"NumericGreaterThanEquals":  {false, numbers(func(c int) bool { return c >= 0 })},
	"DateEquals":                {false, dates(func(c int) bool { return c == 0 })},
	"DateNotEquals":             {true, dates(func(c int) bool { return c == 0 })},
	"DateLessThan":              {false, dates(func(c int) bool { return c < 0 })},
	"DateLessThanEquals":        {false, dates(func(c int) bool { return c <= 0 })},
	"DateGreaterThan":           {false, dates(func(c int) bool { return c > 0 })},
	"DateGreaterThanEquals":     {false, dates(func(c int) bool { return c >= 0 })},
	"Bool":                      {false, booleans},
	"BinaryEquals":              {false, binaries},
	"IpAddress":                 {false, addresses},
	"NotIpAddress":              {true, addresses},
	"ArnEquals":                 {false, arns},
	"ArnLike":                   {false, arns},
	"ArnNotEquals":              {true, arns},
	"ArnNotLike":                {true, arns},
}

// newCondition compiles a condition, except its effect. found is false for an unknown operator; ok is false if IAM refuses the values.
func newCondition(op, key string, values []string, variables bool) (c *condition, found, ok bool) {
	c = &condition{name: key, key: strings.ToLower(key), empty: len(values) == 0}
	if rest, cut := strings.CutPrefix(op, "ForAllValues:"); cut {
		op, c.set = rest, forAllValues
	} else if rest, cut := strings.CutPrefix(op, "ForAnyValue:"); cut {
		op, c.set = rest, forAnyValue
	}
	if op == "Null" {
		for _, v := range values {
			absent, ok := parseBool(v)
			if !ok {
				return nil, true, false
			}
			c.null = append(c.null, absent)
		}
		return c, true, true
	}
	op, c.ifExists = strings.CutSuffix(op, "IfExists")
	o, found := operators[op]
	if !found {
		return nil, false, false
	}
	c.negated = o.negated
	c.compare, ok = o.compile(values, variables)
	return c, true, ok
}
