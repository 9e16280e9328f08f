package smithy

import (
	"errors"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/awserr"
)

// Checker checks a request against the constraints of AWS's model, and keeps the violations. It is the only place that prints the
// constraint sentences; an operation's Rules say which of the violations are reported, and in which words.
// Generated code walks a shape with Enter and Leave, which maintain the path of the current member for messages.
type Checker struct {
	path  []byte // each member's name is preceded by memberMark
	found []violation
}

// violation is a violated constraint.
type violation struct {
	at         string // the member's path, with memberMarks
	kind       Constraint
	constraint string   // as AWS prints it
	shown      []string // the value as AWS prints it, in parts: it may be megabytes, and is copied only once
}

// memberMark tells members' names from the other parts of a path: keys of maps, indexes, and the word "member".
const memberMark = '\x01'

// maxViolations is how many violations an answer lists.
const maxViolations = 10

// Failed reports whether a violation was found.
func (c *Checker) Failed() bool { return len(c.found) > 0 }

// Full reports whether enough violations were found: generated code stops then.
func (c *Checker) Full() bool { return len(c.found) >= maxViolations }

// begin resets the Checker for the next request. It reuses the memory of the path.
func (c *Checker) begin() {
	clear(c.found)
	*c = Checker{path: c.path[:0], found: c.found[:0]}
}

// Enter descends into a member and returns the mark for Leave.
func (c *Checker) Enter(member string) int {
	mark := len(c.path)
	c.member(member)
	return mark
}

// member appends a member's name to the path.
func (c *Checker) member(name string) {
	if name != "" {
		c.path = append(c.path, memberMark)
		c.path = append(c.path, name...)
		c.path = append(c.path, '.')
	}
}

// EnterElem descends into element i, counted from 0, of a list member. In AWS's paths elements count from 1 and are followed by
// "member".
func (c *Checker) EnterElem(member string, i int) int {
	mark := len(c.path)
	c.member(member)
	c.path = strconv.AppendInt(c.path, int64(i+1), 10)
	c.path = append(c.path, ".member."...)
	return mark
}

// EnterValue descends into the value of a key of a map member.
func (c *Checker) EnterValue(member, key string) int {
	mark := len(c.path)
	c.member(member)
	c.path = append(c.path, key...)
	c.path = append(c.path, ".member."...)
	return mark
}

// Leave returns to where Enter was called.
func (c *Checker) Leave(mark int) { c.path = c.path[:mark] }

// fail keeps a violation. shown is the value as AWS prints it, in parts.
func (c *Checker) fail(member string, kind Constraint, constraint string, shown ...string) {
	if c.Full() {
		return
	}
	mark := c.Enter(member)
	c.found = append(c.found, violation{strings.TrimSuffix(string(c.path), "."), kind, constraint, shown})
	c.Leave(mark)
}

// Required fails if the member is not present.
func (c *Checker) Required(member string, present bool) {
	if !present {
		c.fail(member, Required, "Member must not be null", "null")
	}
}

// MinLen fails if the length of a string is below bound.
func (c *Checker) MinLen(member, value string, bound int) {
	if len(value) < bound && Length(value) < bound {
		c.fail(member, Min, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'", value, "'")
	}
}

// MaxLen fails if the length of a string is above bound.
func (c *Checker) MaxLen(member, value string, bound int) {
	if len(value) > bound && Length(value) > bound {
		c.fail(member, Max, "Member must have length less than or equal to "+strconv.Itoa(bound), "'", value, "'")
	}
}

// Length returns the length of s in UTF-16 code units, which is how Java, and so AWS, counts characters.
func Length(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// MinSize fails if a list has fewer than bound entries.
func (c *Checker) MinSize(member string, n, bound int) {
	if n < bound {
		c.fail(member, Min, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'[]'")
	}
}

// MinEntries is MinSize for maps: AWS prints an empty map as {}.
func (c *Checker) MinEntries(member string, n, bound int) {
	if n < bound {
		c.fail(member, Min, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'{}'")
	}
}

// MaxSize fails if a list or map has more than bound entries. echo appends it as Java prints it; nil if AWS does not print it.
func (c *Checker) MaxSize(member string, n, bound int, echo func(dst []byte) []byte) {
	if n > bound {
		c.fail(member, Max, "Member must have length less than or equal to "+strconv.Itoa(bound), quoted(echo)...)
	}
}

// quoted returns what echo appends, in quotes.
func quoted(echo func(dst []byte) []byte) []string {
	if echo == nil {
		return nil
	}
	return []string{"'", string(echo(nil)), "'"}
}

// Keys fails if ok is false: a key of a map violates one of the constraints. AWS prints all of them, not only the violated one.
func (c *Checker) Keys(member string, ok bool, constraints string, echo func(dst []byte) []byte) {
	if !ok {
		c.fail(member, Keys, "Map keys must satisfy constraint: ["+constraints+"]", quoted(echo)...)
	}
}

// Sizes fails if ok is false: a list among a map's values is too short or too long. AWS prints both bounds.
func (c *Checker) Sizes(member string, ok bool, low, high int, echo func(dst []byte) []byte) {
	if !ok {
		c.fail(member, Sizes, "Map value must satisfy constraint: [Member must have length less than or equal to "+strconv.Itoa(high)+
			", Member must have length greater than or equal to "+strconv.Itoa(low)+"]", quoted(echo)...)
	}
}

// Min fails if a number is below bound.
func (c *Checker) Min(member string, v, bound int64) {
	if v < bound {
		c.fail(member, Min, "Member must have value greater than or equal to "+strconv.FormatInt(bound, 10), "'", strconv.FormatInt(v, 10), "'")
	}
}

// Max fails if a number is above bound.
func (c *Checker) Max(member string, v, bound int64) {
	if v > bound {
		c.fail(member, Max, "Member must have value less than or equal to "+strconv.FormatInt(bound, 10), "'", strconv.FormatInt(v, 10), "'")
	}
}

// Pattern fails if ok is false: generated code has matched the value against the pattern.
func (c *Checker) Pattern(member, value, pattern string, ok bool) {
	if !ok {
		c.fail(member, Pattern, "Member must satisfy regular expression pattern: "+pattern, "'", value, "'")
	}
}

// Matchable is the length in bytes up to which values are matched against patterns. Longer ones violate their maximum length, and may be
// megabytes.
const Matchable = 1 << 16

// Enum fails if value is not in the set. The set is printed in the given order.
func (c *Checker) Enum(member, value string, set []string) {
	for _, s := range set {
		if s == value {
			return
		}
	}
	c.fail(member, Enum, "Member must satisfy enum value set: ["+strings.Join(set, ", ")+"]", "'", value, "'")
}

// tableNames are the constraints on names of tables and indexes.
const tableNames = "[a-zA-Z0-9_.-]+"

// TableName checks a table's name in an operation on tables. An ARN in its place is left to the operation.
func (c *Checker) TableName(member, value string) {
	if !strings.HasPrefix(value, "arn:") {
		c.MinLen(member, value, 3)
		c.MaxLen(member, value, 255)
		c.Pattern(member, value, tableNames, NameChars(value))
	}
}

// ItemTable checks a table's name in an operation on items: AWS has another bound for the empty name, and another order.
func (c *Checker) ItemTable(member, value string) {
	switch {
	case value == "":
		c.MinLen(member, value, 1)
	case !strings.HasPrefix(value, "arn:"):
		found := len(c.found)
		c.Pattern(member, value, tableNames, NameChars(value))
		c.MinLen(member, value, 3)
		c.MaxLen(member, value, 255)
		for i := found; i < len(c.found); i++ {
			c.found[i].kind = Name
		}
	}
}

// NameChars reports whether s consists of the characters of table and index names, [a-zA-Z0-9_.-]+.
func NameChars(s string) bool {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.', c == '-':
		default:
			return false
		}
	}
	return s != ""
}

// BadName returns the violation of a name's pattern by a name that an operation checks itself.
func BadName(member, value string) *awserr.Error {
	return awserr.ValidationError(oneDetected + "Value '" + value + "' at '" + member + "' failed to satisfy constraint: Member must satisfy regular expression pattern: " + tableNames)
}

// BadRegion returns the violation of an ARN of another region in place of a table's name.
func BadRegion(arn string) *awserr.Error {
	return awserr.ValidationError(oneDetected + "Invalid AWS region in '" + arn + "'")
}

// NameConstraints are the constraints on table names that are keys of a map, as AWS prints them.
const NameConstraints = "Member must have length less than or equal to 255, Member must have length greater than or equal to 3, " +
	"Member must satisfy regular expression pattern: " + tableNames

// IsName reports whether a key of a map is a table's name or an ARN.
func IsName(s string) bool {
	return strings.HasPrefix(s, "arn:") || len(s) >= 3 && len(s) <= 255 && NameChars(s)
}

// oneDetected precedes a single violation.
const oneDetected = "1 validation error detected: "

// Word words an operation's error like a violation if AWS's validator finds errors of its class in the operation's requests. r may be nil.
func (r *Rules) Word(err error) error {
	if e, ok := errors.AsType[*awserr.Error](err); ok && r != nil && e.Of(r.Detects) {
		return e.Worded(oneDetected + e.Message)
	}
	return err
}

// text returns the violation in words.
func (v *violation) text(w words, set string) string {
	if w == newerWords && v.kind == Enum {
		return "Failed to satisfy constraint: Member must satisfy enum value set: " + set
	}
	var b strings.Builder
	size := len("Value  at '' failed to satisfy constraint: ") + len(v.at) + len(v.constraint)
	for _, s := range v.shown {
		size += len(s)
	}
	b.Grow(size)
	b.WriteString("Value ")
	if w == olderWords && len(v.shown) > 0 {
		for _, s := range v.shown {
			b.WriteString(s)
		}
		b.WriteByte(' ')
	}
	b.WriteString("at '")
	for i := 0; i < len(v.at); i++ {
		switch {
		case v.at[i] != memberMark:
			b.WriteByte(v.at[i])
		case w == newerWords:
			i++
			b.WriteByte(v.at[i] &^ 0x20) // members begin with a small letter
		}
	}
	b.WriteString("' failed to satisfy constraint: ")
	b.WriteString(v.constraint)
	return b.String()
}

// NotInSet is the error for a value outside its enumeration that AWS finds after reading the request. set is the enumeration as AWS
// prints it.
func NotInSet(set string) *awserr.Error {
	return awserr.RequestError((&violation{kind: Enum}).text(newerWords, set))
}

// TooLarge returns the violation of a number's upper bound that AWS has and its model lacks.
func TooLarge(member string, v, bound int64) *awserr.Error {
	var c Checker
	c.Max(member, v, bound)
	return c.Err(nil)
}

// TooSmall returns the violation of a number's lower bound that AWS has and its model lacks.
func TooSmall(member string, v, bound int64) *awserr.Error {
	var c Checker
	c.Min(member, v, bound)
	return c.Err(nil)
}
