package expr

import "strings"

// kind is the kind of a token.
type kind uint8

const (
	tokEOF   kind = iota
	tokIdent      // attribute names, keywords and function names
	tokName       // #name
	tokValue      // :value
	tokNumber
	tokPunct // operators, punctuation, and anything that is no token
)

// token is a piece of an expression's text, with its byte offsets.
type token struct {
	kind       kind
	text       string
	start, end int
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isWord(c byte) bool   { return isLetter(c) || isDigit(c) || c == '_' }

// lex splits an expression. It never fails: invalid bytes become punctuation, which no grammar accepts.
func lex(text string) []token {
	var out []token
	i := 0
	word := func(from int) int {
		for from < len(text) && isWord(text[from]) {
			from++
		}
		return from
	}
	for i < len(text) {
		c := text[i]
		start := i
		k := tokPunct
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case isLetter(c):
			k, i = tokIdent, word(i)
		case c == '0': // a number has no leading zero: 01 is two numbers
			k = tokNumber
			i++
		case isDigit(c):
			k = tokNumber
			for i < len(text) && isDigit(text[i]) {
				i++
			}
		case c == '#' || c == ':':
			i = word(i + 1)
			if i > start+1 {
				k = tokName
				if c == ':' {
					k = tokValue
				}
			}
		case strings.HasPrefix(text[i:], "<>"), strings.HasPrefix(text[i:], "<="), strings.HasPrefix(text[i:], ">="):
			i += 2
		default:
			i++
			for i < len(text) && text[i] >= 0x80 && text[i] < 0xC0 { // the rest of a UTF-8 sequence
				i++
			}
		}
		out = append(out, token{kind: k, text: text[start:i], start: start, end: i})
	}
	return append(out, token{kind: tokEOF, text: "<EOF>", start: len(text), end: len(text)})
}
