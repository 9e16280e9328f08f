package smithy

import (
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/awserr"
)

// Checker collects what of a request violates the constraints of AWS's model. It is the only place that prints the
// constraint sentences. Since 2026 AWS reports the first violation alone, so the Checker stops at it.
type Checker struct {
	path    []byte
	problem string
}

// Failed reports whether a violation was found, so that generated code can stop.
func (c *Checker) Failed() bool { return c.problem != "" }

// Err returns the ValidationException for the violation found, or nil.
func (c *Checker) Err() *awserr.Error {
	if c.problem == "" {
		return nil
	}
	return awserr.New(awserr.Validation, c.problem)
}

// Enter descends into the member and returns the mark for Leave.
func (c *Checker) Enter(member string) int {
	mark := len(c.path)
	c.path = append(c.path, member...)
	c.path = append(c.path, '.')
	return mark
}

// EnterElem descends into element i (counted from 0) of the list member; AWS counts from 1 and names the element
// 'member'.
func (c *Checker) EnterElem(member string, i int) int {
	mark := len(c.path)
	c.path = append(c.path, member...)
	c.path = append(c.path, '.')
	c.path = strconv.AppendInt(c.path, int64(i+1), 10)
	c.path = append(c.path, ".member."...)
	return mark
}

// EnterValue descends into the value of a key of the map member.
func (c *Checker) EnterValue(member, key string) int {
	mark := len(c.path)
	c.path = append(c.path, member...)
	c.path = append(c.path, '.')
	c.path = append(c.path, key...)
	c.path = append(c.path, ".member."...)
	return mark
}

// Leave goes back to where Enter was called.
func (c *Checker) Leave(mark int) { c.path = c.path[:mark] }

// fail notes the first violation; shown is the value as AWS prints it, in parts, for it may be megabytes.
func (c *Checker) fail(member, constraint string, shown ...string) {
	if c.problem != "" {
		return
	}
	if len(shown) > 0 {
		shown = append(shown, " ")
	}
	where := strings.TrimSuffix(string(c.path)+member, ".")
	c.problem = "1 validation error detected: Value " + strings.Join(shown, "") + "at '" + where + "' failed to satisfy constraint: " + constraint
}

// Required fails if the member is not present.
func (c *Checker) Required(member string, present bool) {
	if !present {
		c.fail(member, "Member must not be null", "null")
	}
}

// MinLen fails if the length of a string is below bound.
func (c *Checker) MinLen(member, value string, bound int) {
	if len(value) < bound && utf16Len(value) < bound {
		c.fail(member, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'", value, "'")
	}
}

// MaxLen fails if the length of a string is above bound.
func (c *Checker) MaxLen(member, value string, bound int) {
	if len(value) > bound && utf16Len(value) > bound {
		c.fail(member, "Member must have length less than or equal to "+strconv.Itoa(bound), "'", value, "'")
	}
}

// utf16Len is the length of s in Java's characters.
func utf16Len(s string) int {
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

// MinEntries is MinSize for maps, whose empty value AWS prints as {}.
func (c *Checker) MinEntries(member string, n, bound int) {
	if n < bound {
		c.fail(member, "Member must have length greater than or equal to "+strconv.Itoa(bound), "'{}'")
	}
}

// MaxSize fails if a list or map has more than bound entries. The collection itself is not printed.
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

// Pattern fails if ok is false.
func (c *Checker) Pattern(member, value, pattern string, ok bool) {
	if !ok {
		c.fail(member, "Member must satisfy regular expression pattern: "+pattern, "'", value, "'")
	}
}

// Enum fails if value is none of the set, which is printed in the model's order.
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

// TooLong is the violation by a list of a bound that the model does not have but AWS does.
func TooLong(member string, bound int) *awserr.Error {
	var c Checker
	c.MaxSize(member, bound+1, bound)
	return c.Err()
}

// TooLarge is the violation by a number of a bound that the model does not have but AWS does.
func TooLarge(member string, v, bound int64) *awserr.Error {
	var c Checker
	c.Max(member, v, bound)
	return c.Err()
}

// TooSmall is the violation by a number of a bound that the model does not have but AWS does.
func TooSmall(member string, v, bound int64) *awserr.Error {
	var c Checker
	c.Min(member, v, bound)
	return c.Err()
}
