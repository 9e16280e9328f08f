package smithy

import (
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/awserr"
)

// Constraint is a kind of constraint.
type Constraint uint8

// The kinds of constraints.
const (
	AnyConstraint Constraint = iota
	Required
	Min // of a length or a number
	Max
	Pattern
	Enum
	Keys  // of a map
	Sizes // of the lists in a map
	Name  // of a table, in operations on items
)

// Stage says when AWS finds a violation.
type Stage uint8

// The stages, in the order in which AWS reaches them.
const (
	// Listed violations are reported together.
	Listed Stage = iota
	// Alone violations are found before the others, and end the request.
	Alone
	// Last violations are reported if there are no others.
	Last
	// Late violations are found by the operation, which asks Call.Late for them.
	Late
)

// words are the words in which AWS reports a violation.
type words uint8

const (
	olderWords words = iota // Value 'x' at 'limit' failed …
	newerWords              // Value at 'Limit' failed …
)

// Rule says how AWS reports violations of a member's constraint.
type Rule struct {
	Member     string // the members on the way to it, e.g. requestItems.keys
	Constraint Constraint
	Stage      Stage
	// Newer is for violations in the words of AWS's newer validator: it does not print the value.
	Newer bool
	// Set is the enumeration as AWS's newer validator prints it.
	Set string
	// Bare is for violations that are not counted.
	Bare bool
}

// Rules say how AWS reports what it finds in an operation's requests. A request that lacks a required member goes to AWS's older validator,
// which lists all violations in its words.
type Rules struct {
	// Detects are the classes of errors that AWS words like violations.
	Detects awserr.Class
	// Deep is for operations whose deeply nested requests go to AWS's older validator too (wirejson's Reader.Deep).
	Deep bool
	// First means that AWS reports only the first violation of the operation's requests.
	First bool
	// Asks is a parameter. If it is absent, AWS reports that before anything else. Empty means no such parameter.
	Asks string
	// Members are in the order in which AWS checks those that are reported alone.
	Members []Rule
}

// onlyFirst are the rules of operations without any.
var onlyFirst = &Rules{First: true}

// rule returns the rule for a violation, or the zero Rule.
func (r *Rules) rule(v *violation) (n int, rule Rule) {
	member := v.members()
	for i, m := range r.Members {
		if m.Member == member && (m.Constraint == v.kind || m.Constraint == AnyConstraint) {
			return i, m
		}
	}
	return len(r.Members), Rule{}
}

// members returns the names of the members on the way to the violation, joined by dots.
func (v *violation) members() string {
	var out []byte
	for _, part := range strings.Split(v.at, string(memberMark))[1:] {
		name, _, _ := strings.Cut(part, ".")
		if out != nil {
			out = append(out, '.')
		}
		out = append(out, name...)
	}
	return string(out)
}

// incomplete reports whether the request lacks a required member.
func (c *Checker) incomplete() bool {
	for i := range c.found {
		if c.found[i].kind == Required {
			return true
		}
	}
	return false
}

// lacks reports whether the request lacks a required parameter.
func (c *Checker) lacks(parameter string) bool {
	for i := range c.found {
		if v := &c.found[i]; v.kind == Required && strings.EqualFold(v.members(), parameter) {
			return true
		}
	}
	return false
}

// older are the rules of AWS's older validator.
var older = &Rules{}

// Err returns the ValidationException for the violations found, or nil. Without rules, only the first is reported.
func (c *Checker) Err(r *Rules) *awserr.Error {
	switch {
	case len(c.found) == 0:
		return nil
	case r == nil:
		r = onlyFirst
	case r.Asks != "" && c.lacks(r.Asks):
		return awserr.MissingParameter(r.Asks)
	case c.incomplete():
		r = older
	}
	var listed, last, alone []string
	before := len(r.Members) // the rule by which alone are found
	for i := range c.found {
		v := &c.found[i]
		n, rule := r.rule(v)
		switch {
		case rule.Stage == Listed && r.First && listed != nil: // not worded: a value may have megabytes
		case rule.Stage == Listed:
			listed = append(listed, v.by(rule))
		case rule.Stage == Last:
			last = append(last, v.by(rule))
		case rule.Stage == Alone && n < before:
			before, alone = n, []string{v.by(rule)}
		case rule.Stage == Alone && n == before:
			alone = append(alone, v.by(rule))
		}
	}
	switch {
	case alone != nil && r.Members[before].Bare:
		return awserr.New(awserr.Validation, alone[0])
	case alone != nil:
		return list(alone, false)
	case listed != nil:
		return list(listed, r.First)
	}
	return list(last, r.First)
}

// by returns the violation in the words of a rule.
func (v *violation) by(r Rule) string {
	if r.Newer {
		return v.text(newerWords, r.Set)
	}
	return v.text(olderWords, "")
}

// list returns the ValidationException for violations, or nil if there are none.
func list(violations []string, onlyFirst bool) *awserr.Error {
	switch {
	case len(violations) == 0:
		return nil
	case onlyFirst || len(violations) == 1:
		return awserr.New(awserr.Validation, oneDetected+violations[0])
	}
	return awserr.New(awserr.Validation, strconv.Itoa(len(violations))+strings.Replace(oneDetected[1:], "error", "errors", 1)+strings.Join(violations, "; "))
}

// Late returns the error for a violation that AWS finds late, or nil. member is as in Rule.
func (c *Call) Late(member string) error {
	for i := range c.check.found {
		if v := &c.check.found[i]; v.members() == member {
			return list([]string{v.text(olderWords, "")}, true)
		}
	}
	return nil
}
