package policy

import (
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// token is an element of a pattern: a byte of literal text, or a wildcard.
type token uint16

const (
	anyRun   token = 256 + iota // *: any run of characters, also an empty one
	anyOne                      // ?: a single UTF-16 unit, so a character beyond U+FFFF takes two
	fieldRun                    // anyRun within a field of an ARN: no colon
	fieldOne                    // anyOne within a field of an ARN
)

// pattern is text with wildcards. No other character is special. Matching takes time proportional to the text for patterns in use, and
// at most the product of both lengths divided by the machine's word size.
type pattern struct {
	tokens   []token
	prefix   string // the literal text before the first wildcard, or a part of it
	one      bool   // has anyOne or fieldOne
	fields   bool   // has fieldRun or fieldOne
	separate bool   // is an ARN whose first five fields have no other wildcards than those
}

// newPattern completes a pattern. The prefix, which only saves time, is what its caller knows of it.
func newPattern(tokens []token, prefix string) *pattern {
	p := &pattern{tokens: tokens, prefix: prefix}
	colons, crossing := 0, false
	for _, t := range tokens {
		p.one = p.one || t == anyOne || t == fieldOne
		p.fields = p.fields || t == fieldRun || t == fieldOne
		crossing = crossing || colons < arnFields-1 && (t == anyRun || t == anyOne)
		if t == ':' {
			colons++
		}
	}
	p.separate = p.fields && !crossing && colons >= arnFields-1
	return p
}

// match reports whether all of text matches. With fold, ASCII letters match in any case; the pattern is in lower case then.
func (p *pattern) match(text string, fold bool) bool {
	if p.fields && !p.separate || p.one && !ascii(text) {
		return p.matchUnits(text, fold)
	}
	n := len(p.prefix)
	if len(text) < n || text[:n] != p.prefix && !(fold && equalFold(p.prefix, text[:n])) {
		return false
	}
	var matched, done bool
	if p.separate {
		matched, done = matchFields(p.tokens, text)
	} else {
		matched, done = matchRuns(p.tokens[n:], text[n:], fold)
	}
	if !done {
		return p.matchUnits(text, fold)
	}
	return matched
}

// matchFields matches the fields of an ARN one by one. done is false if that takes too many steps.
func matchFields(tokens []token, text string) (matched, done bool) {
	for range arnFields - 1 {
		field, rest, ok := strings.Cut(text, ":")
		colon := slices.Index(tokens, ':')
		if !ok {
			return false, true
		}
		if matched, done := matchRuns(tokens[:colon], field, false); !matched || !done {
			return false, done
		}
		tokens, text = tokens[colon+1:], rest
	}
	return matchRuns(tokens, text, false)
}

// matchRuns matches a text without distinguishing the kinds of wildcards. It advances through both; on a mismatch, it lets the last run
// take another byte, as that run can take whatever an earlier one could. done is false if that takes too many steps.
func matchRuns(tokens []token, text string, fold bool) (matched, done bool) {
	t, i := 0, 0
	run, taken := -1, 0
	for steps := 64 + 16*(len(text)+len(tokens)); i < len(text); steps-- {
		if steps == 0 {
			return false, false
		}
		if t < len(tokens) {
			c := text[i]
			if fold {
				c = lower(c)
			}
			switch tokens[t] {
			case anyRun, fieldRun:
				if t == len(tokens)-1 {
					return true, true
				}
				run, taken = t, i
				t++
				continue
			case anyOne, fieldOne, token(c):
				t++
				i++
				continue
			}
		}
		if run < 0 {
			return false, true
		}
		taken++
		t, i = run+1, taken
	}
	for t < len(tokens) && (tokens[t] == anyRun || tokens[t] == fieldRun) {
		t++
	}
	return t == len(tokens), true
}

// matchUnits is match for all patterns and texts. It follows all ways to match at once: after each token, bit i of a set says whether the
// tokens so far match the first i units of the text.
func (p *pattern) matchUnits(text string, fold bool) bool {
	if fold {
		text = toLower(text)
	}
	units := utf16.Encode([]rune(text))
	words := len(units)/64 + 1
	set, next := make([]uint64, words), make([]uint64, words)
	set[0] = 1
	// rows has for each value of a unit's high byte, and behind them of its low byte, the set of the units that have it.
	var rows [2 * 256][]uint64
	row := func(half int, value uint16) []uint64 {
		at := &rows[half*256+int(value&0xff)]
		if *at == nil {
			*at = make([]uint64, words)
			for i, u := range units {
				if half == 0 {
					u >>= 8
				}
				if u&0xff == value&0xff {
					(*at)[i/64] |= 1 << (i % 64)
				}
			}
		}
		return *at
	}
	// consume advances over a unit that the function permits.
	consume := func(permits func(word int) uint64) bool {
		carry, alive := uint64(0), uint64(0)
		for w := range set {
			kept := set[w] & permits(w)
			next[w] = kept<<1 | carry
			carry = kept >> 63
			alive |= next[w]
		}
		next[len(units)/64] &= 1<<(len(units)%64+1) - 1
		set, next = next, set
		return alive != 0
	}
	literal := func(u uint16) bool {
		high, low := row(0, u>>8), row(1, u)
		return consume(func(w int) uint64 { return high[w] & low[w] })
	}
	for i := 0; i < len(p.tokens); i++ {
		alive := true
		switch t := p.tokens[i]; t {
		case anyRun:
			extend(set, len(units), nil)
		case fieldRun:
			extend(set, len(units), units)
		case anyOne:
			alive = consume(func(int) uint64 { return ^uint64(0) })
		case fieldOne:
			high, low := row(0, 0), row(1, ':')
			alive = consume(func(w int) uint64 { return ^(high[w] & low[w]) })
		default:
			if t < utf8.RuneSelf {
				alive = literal(uint16(t))
				break
			}
			r, size := p.rune(i)
			i += size - 1
			for _, u := range utf16.Encode([]rune{r}) {
				alive = alive && literal(u)
			}
		}
		if !alive {
			return false
		}
	}
	return set[len(units)/64]>>(len(units)%64)&1 == 1
}

// rune decodes the literal character that begins at token i.
func (p *pattern) rune(i int) (rune, int) {
	var b [utf8.UTFMax]byte
	n := 0
	for ; n < len(b) && i+n < len(p.tokens) && p.tokens[i+n] < anyRun; n++ {
		b[n] = byte(p.tokens[i+n])
	}
	return utf8.DecodeRune(b[:n])
}

// extend adds to a set of the first n+1 positions what a run reaches from each: all later positions or, given the units, those up to the
// next colon.
func extend(set []uint64, n int, units []uint16) {
	reached := false
	for i := range n + 1 {
		if reached && units != nil && units[i-1] == ':' {
			reached = false
		}
		bit := uint64(1) << (i % 64)
		if reached {
			set[i/64] |= bit
		}
		reached = reached || set[i/64]&bit != 0
	}
}

// equalFold reports whether s equals a text in lower case, with ASCII letters in any case.
func equalFold(lowered, s string) bool {
	if len(lowered) != len(s) {
		return false
	}
	for i := range len(s) {
		if lower(s[i]) != lowered[i] {
			return false
		}
	}
	return true
}

// toLower brings ASCII letters to lower case.
func toLower(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
