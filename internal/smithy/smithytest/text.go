package smithytest

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var repeat = regexp.MustCompile(`<([^<>"]+)\*(\d+)>`)

// Expand replaces each <text*n> in test data by n times the text. It panics if n is not an int.
func Expand(text string) string {
	return repeat.ReplaceAllStringFunc(text, func(m string) string {
		parts := repeat.FindStringSubmatch(m)
		n, err := strconv.Atoi(parts[2])
		if err != nil {
			panic(err)
		}
		return strings.Repeat(parts[1], n)
	})
}

// Shorten replaces each run of more than 20 equal bytes by <text*n>.
func Shorten(text string) string {
	var out []byte
	for i, n := 0, 0; i < len(text); i += n {
		for n = 1; i+n < len(text) && text[i+n] == text[i]; n++ {
		}
		if n > 20 {
			out = fmt.Appendf(out, "<%c*%d>", text[i], n)
		} else {
			out = append(out, text[i:i+n]...)
		}
	}
	return string(out)
}
