package policy

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strings"
	"time"

	"github.com/cockroachdb/apd/v3"
)

// textValues are the policy's values of a string operator.
type textValues struct {
	values []*template
	fold   bool
}

// texts returns the compiler of a string operator.
func texts(how syntax, fold bool) func([]string, bool) (comparison, bool) {
	return func(values []string, variables bool) (comparison, bool) {
		c := textValues{fold: fold}
		for _, v := range values {
			t, ok := newTemplate(v, how, variables)
			if !ok {
				return nil, false
			}
			c.values = append(c.values, t)
		}
		return c, true
	}
}

func (c textValues) variables() []*template { return c.values }

func (c textValues) compare(value string, ctx Context) outcome {
	if c.fold {
		value = strings.ToLower(value)
	}
	for _, t := range c.values {
		if c.fold {
			// AWS compares lower-cased texts instead of folding case: ſ does not equal s.
			if text, ok := t.value(ctx); ok && strings.ToLower(text) == value {
				return matches
			}
		} else if t.match(value, ctx) {
			return matches
		}
	}
	return differs
}

// constants is embedded in comparisons whose values have no variables.
type constants struct{}

func (constants) variables() []*template { return nil }

// constant reports whether values have no variables. Only string and ARN operators take variables.
func constant(values []string, variables bool) bool {
	for _, v := range values {
		if variables && strings.Contains(v, "${") {
			return false
		}
	}
	return true
}

// ordered compares numbers or dates. A value of the request that can't be read equals nothing.
type ordered[T any] struct {
	constants
	values []T
	read   func(string) (T, bool)
	order  func(a, b T) int
	holds  func(order int) bool
}

func (c ordered[T]) compare(value string, _ Context) outcome {
	got, ok := c.read(value)
	if !ok {
		return differs
	}
	for _, want := range c.values {
		if c.holds(c.order(got, want)) {
			return matches
		}
	}
	return differs
}

// numbers returns the compiler of a numeric operator. A policy's value that is not a number matches nothing.
func numbers(holds func(order int) bool) func([]string, bool) (comparison, bool) {
	return func(values []string, variables bool) (comparison, bool) {
		c := ordered[*apd.Decimal]{read: parseNumber, order: (*apd.Decimal).Cmp, holds: holds}
		for _, v := range values {
			if n, ok := parseNumber(v); ok {
				c.values = append(c.values, n)
			}
		}
		return c, constant(values, variables)
	}
}

// dates returns the compiler of a date operator. IAM refuses values that are not dates.
func dates(holds func(order int) bool) func([]string, bool) (comparison, bool) {
	return func(values []string, variables bool) (comparison, bool) {
		c := ordered[time.Time]{read: parseDate, order: time.Time.Compare, holds: holds}
		for _, v := range values {
			t, ok := parseDate(v)
			if !ok {
				return nil, false
			}
			c.values = append(c.values, t)
		}
		return c, true
	}
}

// maxNumber is the longest text of a number, in bytes, and maxExponent the largest exponent. They keep comparisons cheap.
const (
	maxNumber   = 128
	maxExponent = 1000
)

// parseNumber reads an integer or a decimal number, with or without an exponent.
func parseNumber(s string) (*apd.Decimal, bool) {
	if len(s) > maxNumber {
		return nil, false
	}
	n, _, err := apd.NewFromString(s)
	if err != nil || n.Form != apd.Finite || n.Exponent > maxExponent || n.Exponent < -maxExponent {
		return nil, false
	}
	return n, true
}

// dateLayouts are the forms of dates in W3C's profile of ISO 8601; "Z07:00" also stands for Z. A fraction may follow the seconds.
var dateLayouts = []string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z07:00", "2006-01-02T15Z07:00",
	"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02", "2006-01",
}

// parseDate reads a date, or the seconds since 1970, with or without a fraction.
func parseDate(s string) (time.Time, bool) {
	for _, layout := range dateLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	// A year without a month looks like seconds, and counts as a year.
	if t, err := time.Parse("2006", s); err == nil {
		return t, true
	}
	n, ok := parseNumber(s)
	if !ok {
		return time.Time{}, false
	}
	var whole, fraction apd.Decimal
	n.Modf(&whole, &fraction)
	seconds, err := whole.Int64()
	if err != nil {
		return time.Time{}, false
	}
	fraction.Exponent += 9
	fraction.Modf(&whole, nil)
	nanoseconds, err := whole.Int64()
	return time.Unix(seconds, nanoseconds), err == nil
}

// booleanValues are the policy's values of Bool.
type booleanValues struct {
	constants
	values []bool
}

func booleans(values []string, variables bool) (comparison, bool) {
	var c booleanValues
	for _, v := range values {
		if b, ok := parseBool(v); ok {
			c.values = append(c.values, b)
		}
	}
	return c, constant(values, variables)
}

func (c booleanValues) compare(value string, _ Context) outcome {
	got, ok := parseBool(value)
	for _, want := range c.values {
		if ok && got == want {
			return matches
		}
	}
	return differs
}

// parseBool reads true or false, in any case.
func parseBool(s string) (value, ok bool) {
	value = strings.EqualFold(s, "true")
	return value, value || strings.EqualFold(s, "false")
}

// binaryValues are the policy's values of BinaryEquals.
type binaryValues struct {
	constants
	values [][]byte
}

func binaries(values []string, variables bool) (comparison, bool) {
	var c binaryValues
	for _, v := range values {
		if b, err := base64.StdEncoding.DecodeString(v); err == nil {
			c.values = append(c.values, b)
		}
	}
	return c, constant(values, variables)
}

func (c binaryValues) compare(value string, _ Context) outcome {
	got, err := base64.StdEncoding.DecodeString(value)
	for _, want := range c.values {
		if err == nil && bytes.Equal(got, want) {
			return matches
		}
	}
	return differs
}

// addressValues are the policy's values of IpAddress. An address and a network match only within the same version of IP.
type addressValues struct {
	constants
	values []netip.Prefix
}

func addresses(values []string, variables bool) (comparison, bool) {
	var c addressValues
	for _, v := range values {
		if network, err := netip.ParsePrefix(v); err == nil {
			c.values = append(c.values, network)
		} else if address, err := netip.ParseAddr(v); err == nil && address.Zone() == "" {
			c.values = append(c.values, netip.PrefixFrom(address, address.BitLen()))
		}
	}
	return c, constant(values, variables)
}

func (c addressValues) compare(value string, _ Context) outcome {
	address, err := netip.ParseAddr(value)
	if err != nil || address.Zone() != "" {
		return incomparable
	}
	address = address.Unmap()
	for _, network := range c.values {
		if network.Contains(address) {
			return matches
		}
	}
	return differs
}

// arnValues are the policy's values of an ARN operator. ArnEquals takes wildcards like ArnLike.
type arnValues struct{ values []*template }

func arns(values []string, variables bool) (comparison, bool) {
	var c arnValues
	for _, v := range values {
		t, ok := newTemplate(v, arnText, variables)
		if !ok {
			return nil, false
		}
		c.values = append(c.values, t)
	}
	return c, true
}

func (c arnValues) variables() []*template { return c.values }

func (c arnValues) compare(value string, ctx Context) outcome {
	if !isARN(value) {
		return incomparable
	}
	result := differs
	for _, t := range c.values {
		switch well, ok := t.arn(ctx); {
		case !ok: // a variable without a value matches nothing
		case !well:
			result = malformed
		case t.match(value, ctx):
			return matches
		}
	}
	return result
}

// arn reports whether the template, with its variables replaced, is an ARN or *. ok is false if a variable has no value.
func (t *template) arn(ctx Context) (well, ok bool) {
	switch {
	case t.parts != nil:
		tokens, ok := t.expand(ctx)
		return countColons(tokens) >= arnFields-1, ok
	case t.pattern != nil:
		return countColons(t.pattern.tokens) >= arnFields-1 || len(t.pattern.tokens) == 1 && t.pattern.tokens[0] == anyRun, true
	}
	return isARN(t.text), true
}

func countColons(tokens []token) (n int) {
	for _, t := range tokens {
		if t == ':' {
			n++
		}
	}
	return n
}

// isARN reports whether a text has the six fields of an ARN.
func isARN(s string) bool { return strings.Count(s, ":") >= arnFields-1 }
