package partiql

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

type kind uint8

const (
	tokEnd     kind = iota
	tokWord         // keywords, functions and bare identifiers
	tokQuoted       // "identifier"
	tokString       // 'literal'
	tokNumber       // without sign
	tokSymbol       // operators and punctuation
	tokIon          // `literal`
	tokInvalid      // no token
)

// token is a piece of a statement. text has no quotes, and doubled quotes inside it are single.
type token struct {
	kind       kind
	text       string
	start, end int // in bytes
}

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
}
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// symbols are the operators and punctuation. Longer ones come before their prefixes.
var symbols = []string{"<<", ">>", "<>", "<=", ">=", "!=", "||", "=", "<", ">", "(", ")", "[", "]", "{", "}", ",", ".", ":", "*", "+", "-", "?", ";", "/", "%"}

// lex splits a statement. It never fails: invalid bytes become tokInvalid.
func lex(text string) []token {
	var out []token
	for i := 0; i < len(text); {
		start := i
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r':
			i++
			continue
		case strings.HasPrefix(text[i:], "--"):
			for i < len(text) && text[i] != '\n' {
				i++
			}
			continue
		case strings.HasPrefix(text[i:], "/*"):
			n := strings.Index(text[i+2:], "*/")
			if n < 0 {
				return append(out, token{kind: tokInvalid, text: text[i:], start: i, end: len(text)})
			}
			i += n + 4
			continue
		case c == '\'' || c == '"' || c == '`':
			content, n, ok := quoted(text[i:])
			i += n
			k := map[byte]kind{'\'': tokString, '"': tokQuoted, '`': tokIon}[c]
			if !ok {
				k = tokInvalid
			}
			out = append(out, token{kind: k, text: content, start: start, end: i})
			continue
		case isLetter(c) || c >= utf8.RuneSelf:
			for i < len(text) && (isLetter(text[i]) || isDigit(text[i]) || text[i] >= utf8.RuneSelf) {
				i++
			}
			out = append(out, token{kind: tokWord, text: text[start:i], start: start, end: i})
			continue
		case isDigit(c) || c == '.' && i+1 < len(text) && isDigit(text[i+1]):
			i = number(text, i)
			out = append(out, token{kind: tokNumber, text: text[start:i], start: start, end: i})
			continue
		}
		k := tokInvalid
		for _, s := range symbols {
			if strings.HasPrefix(text[i:], s) {
				k = tokSymbol
				i += len(s)
				break
			}
		}
		if k == tokInvalid { // skip the byte, so that the loop always advances
			i++
		}
		out = append(out, token{kind: k, text: text[start:i], start: start, end: i})
	}
	return append(out, token{kind: tokEnd, start: len(text), end: len(text)})
}

// quoted reads a quoted text, in which a doubled quote stands for a single one. n is its length with quotes.
func quoted(text string) (content string, n int, ok bool) {
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != quote {
			b.WriteByte(text[i])
			continue
		}
		if quote == '`' || i+1 == len(text) || text[i+1] != quote {
			return b.String(), i + 1, true
		}
		b.WriteByte(quote)
		i++
	}
	return b.String(), len(text), false
}

// number returns the end of the number at i.
func number(text string, i int) int {
	for i < len(text) && (isDigit(text[i]) || text[i] == '.') {
		i++
	}
	if i < len(text) && (text[i] == 'e' || text[i] == 'E') {
		j := i + 1
		if j < len(text) && (text[j] == '+' || text[j] == '-') {
			j++
		}
		if j < len(text) && isDigit(text[j]) {
			for j < len(text) && isDigit(text[j]) {
				j++
			}
			return j
		}
	}
	return i
}

// place returns a token's place in the form of AWS's messages: line, column and length.
func (p *parser) place(t token) string {
	before := p.text[:t.start]
	line := strings.Count(before, "\n") + 1
	column := t.start - strings.LastIndexByte(before, '\n')
	return " at " + strconv.Itoa(line) + ":" + strconv.Itoa(column) + ":" + strconv.Itoa(max(1, t.end-t.start))
}
