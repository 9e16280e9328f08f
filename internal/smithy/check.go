package smithy

import (
	"errors"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/awserr"
)

// Checker checks a request against the constraints of AWS's model. It is the only place that prints the constraint sentences. Since
// 2026 AWS reports only the first violation, so the Checker keeps that one.
// Generated code walks a shape with Enter and Leave, which maintain the path of the current member for messages.
type Checker struct {
	path    []byte
	problem string
}

// Failed reports whether a violation was found: generated code stops then.
func (c *Checker) Failed() bool { return c.problem != "" }

// Err returns the ValidationException for the violation found, or nil.
func (c *Checker) Err() *awserr.Error {
	if c.problem == "" {
		return nil
	}
	return awserr.New(awserr.Validation, c.problem)
}

// oneDetected precedes a single violation.
const oneDetected = "1 validation error detected: "

// detected words an operation's error like a violation if AWS's validator finds errors of its class in the operation's requests.
func detected(err error, classes awserr.Class) error {
	if e, ok := errors.AsType[*awserr.Error](err); ok && e.Of(classes) {
		return e.Worded(oneDetected + e.Message)
	}
	return err
}

// Enter descends into a member and returns the mark for Leave.
func (c *Checker) Enter(member string) int {
	mark := len(c.path)
	c.path = append(c.path, member...)
	c.path = append(c.path, '.')
	return mark
}

// EnterElem descends into element i, counted from 0, of a list member. In AWS's paths elements count from 1 and are followed by
// "member".
func (c *Checker) EnterElem(member string, i int) int {
	mark := len(c.path)
	c.path = append(c.path, member...)
	c.path = append(c.path, '.')
	c.path = strconv.AppendInt(c.path, int64(i+1), 10)
	c.path = append(c.path, ".member."...)
	return mark
}

// EnterValue descends into the value of a key of a map member.
func (c *Checker) EnterValue(member, key string) int {
	mark := len(c.path)
	c.path = append(c.path, member...)
	c.path = append(c.path, '.')
	c.path = append(c.path, key...)
	c.path = append(c.path, ".member."...)
	return mark
}

// Leave returns to where Enter was called.
func (c *Checker) Leave(mark int) { c.path = c.path[:mark] }

// fail records the first violation. shown is the value as AWS prints it, in parts: it may be megabytes, and is copied only once.
func (c *Checker) fail(member, constraint string, shown ...string) {
	if c.problem != "" {
		return
	}
	if len(shown) > 0 {
		shown = append(shown, " ")
	}
	where := strings.TrimSuffix(string(c.path)+member, ".")
	c.problem = oneDetected + "Value " + strings.Join(shown, "") + "at '" + where + "' failed to satisfy constraint: " + constraint
}

// Required fails if the member is not present.
func (c *Checker) Required(member string, present bool) {
	if !present {
		c.fail(member, "Member must not be null", "null")
	}
}

// MinLen fails if the length of a string is below bound.
func (c *Checker) MinLen(member, value string, bound int) {
	if len(value) < bound && Length(value) < bound {
		c.fail(member, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'", value, "'")
	}
}

// MaxLen fails if the length of a string is above bound.
func (c *Checker) MaxLen(member, value string, bound int) {
	if len(value) > bound && Length(value) > bound {
		c.fail(member, "Member must have length less than or equal to "+strconv.Itoa(bound), "'", value, "'")
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

// MinSize fails if a list or map has fewer than bound entries.
func (c *Checker) MinSize(member string, n, bound int) {
	if n < bound {
		c.fail(member, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'[]'")
	}
}

// MinEntries is MinSize for maps: AWS prints an empty map as {}.
func (c *Checker) MinEntries(member string, n, bound int) {
	if n < bound {
		c.fail(member, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'{}'")
	}
}

// MaxSize fails if a list or map has more than bound entries. AWS doesn't print the collection.
func (c *Checker) MaxSize(member string, n, bound int) {
	if n > bound {
		c.fail(member, "Member must have length less than or equal to "+strconv.Itoa(bound))
	}
}

// Min fails if a number is below bound.
func (c *Checker) Min(member string, v, bound int64) {
	if v < bound {
		c.fail(member, "Member must have value greater than or equal to "+strconv.FormatInt(bound, 10), "'", strconv.FormatInt(v, 10), "'")
	}
}

// Max fails if a number is above bound.
func (c *Checker) Max(member string, v, bound int64) {
	if v > bound {
		c.fail(member, "Member must have value less than or equal to "+strconv.FormatInt(bound, 10), "'", strconv.FormatInt(v, 10), "'")
	}
}

// Pattern fails if ok is false: generated code has matched the value against the pattern.
func (c *Checker) Pattern(member, value, pattern string, ok bool) {
	if !ok {
		c.fail(member, "Member must satisfy regular expression pattern: "+pattern, "'", value, "'")
	}
}

// Enum fails if value is not in the set. The set is printed in the given order.
func (c *Checker) Enum(member, value string, set []string) {
	for _, s := range set {
		if s == value {
			return
		}
	}
	c.fail(member, "Member must satisfy enum value set: ["+strings.Join(set, ", ")+"]", "'", value, "'")
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

// TooLong returns the violation of a list's bound that AWS has and its model lacks.
func TooLong(member string, bound int) *awserr.Error {
	var c Checker
	c.MaxSize(member, bound+1, bound)
	return c.Err()
}

// Absent returns the violation of a member that AWS requires and its model does not.
func Absent(member string) *awserr.Error {
	var c Checker
	c.Required(member, false)
	return c.Err()
}

// TooLarge returns the violation of a number's upper bound that AWS has and its model lacks.
func TooLarge(member string, v, bound int64) *awserr.Error {
	var c Checker
	c.Max(member, v, bound)
	return c.Err()
}

// TooSmall returns the violation of a number's lower bound that AWS has and its model lacks.
func TooSmall(member string, v, bound int64) *awserr.Error {
	var c Checker
	c.Min(member, v, bound)
	return c.Err()
}
