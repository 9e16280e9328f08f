package partiql

import (
	"math"
	"strconv"
	"strings"
)

type kind uint8

const (
	tokEnd        kind = iota
	tokIdentifier      // a bare name
	tokQuoted          // "name"
	tokKeyword
	tokParticle // a keyword that begins nothing, such as AS
	tokOperator // by symbol or word
	tokString   // 'text'
	tokNumber   // without sign
	tokBool
	tokNull
	tokMissing
	tokIon    // `literal`
	tokStar   // a multiplication sign or a wildcard
	tokSymbol // punctuation
	tokParameter
)

// token is a piece of a statement.
type token struct {
	kind kind
	// text is a name, or a literal without its quotes and with doubled quotes made single.
	text string
	// word is what the grammar compares: a keyword in lower case, an operator, a symbol. "" for names and literals.
	word       string
	start, end int // in bytes
	number     int // of a parameter, from 0
}

// lexer splits a statement.
type lexer struct {
	text       string
	at         int
	tokens     []token
	parameters int
}

// lex splits a statement. The last token is a tokEnd. ok is false if some text is no token.
func lex(text string) (tokens []token, ok bool) {
	l := &lexer{text: text}
	for l.space() && l.at < len(text) {
		if !l.token() {
			return nil, false
		}
	}
	l.tokens = append(l.tokens, token{start: len(text), end: len(text)})
	return l.tokens, l.at == len(text)
}

func isLetter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '$'
}
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// space skips white space and comments. It returns false for a comment without an end.
func (l *lexer) space() bool {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		switch {
		case strings.IndexByte(" \t\n\r\v\f", rest[0]) >= 0:
			l.at++
		case strings.HasPrefix(rest, "--"):
			if n := strings.IndexAny(rest, "\r\n"); n >= 0 {
				l.at += n
			} else {
				l.at = len(l.text)
			}
		case strings.HasPrefix(rest, "/*"):
			n := strings.Index(rest[2:], "*/")
			if n < 0 {
				return false
			}
			l.at += n + 4
		default:
			return true
		}
	}
	return true
}

// symbols are punctuation and operators. Longer ones come before their prefixes.
var symbols = []string{"<<", ">>", "<>", "<=", ">=", "!=", "||", "=", "<", ">", "(", ")", "[", "]", "{", "}", ",", ".", ":", "*", "+", "-", "?", ";", "/", "%", "@"}

// token appends the next token. It returns false at the end of the text.
func (l *lexer) token() bool {
	rest, start := l.text[l.at:], l.at
	switch c := rest[0]; {
	case c == '\'' || c == '"' || c == '`':
		content, n, ok := quoted(rest)
		l.at += n
		l.add(token{kind: map[byte]kind{'\'': tokString, '"': tokQuoted, '`': tokIon}[c], text: content, start: start, end: l.at})
		return ok
	case isLetter(c):
		for l.at < len(l.text) && (isLetter(l.text[l.at]) || isDigit(l.text[l.at])) {
			l.at++
		}
		t := token{text: l.text[start:l.at], start: start, end: l.at}
		t.kind, t.word = classify(t.text)
		l.add(t)
		return true
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		n, ok := number(rest)
		l.at += n
		l.add(token{kind: tokNumber, text: rest[:n], start: start, end: l.at})
		return ok
	}
	for _, s := range symbols {
		if !strings.HasPrefix(rest, s) {
			continue
		}
		l.at += len(s)
		t := token{kind: tokSymbol, text: s, word: s, start: start, end: l.at}
		switch s {
		case "*":
			t.kind = tokStar
		case "?":
			t.kind, t.number = tokParameter, l.parameters
			l.parameters++
		case "!=":
			t.kind, t.word = tokOperator, "<>"
		case "<>", "<=", ">=", "||", "=", "<", ">", "+", "-", "/", "%", "@":
			t.kind = tokOperator
		}
		l.add(t)
		return true
	}
	return false
}

// add appends a token, or joins it with those before it: NOT IN is one operator.
func (l *lexer) add(t token) {
	for n := min(2, len(l.tokens)); n > 0 && t.word != ""; n-- {
		words := ""
		for _, before := range l.tokens[len(l.tokens)-n:] {
			words += before.word + " "
		}
		if k, ok := joined[words+t.word]; ok {
			t.kind, t.word = k, strings.ReplaceAll(words+t.word, " ", "_")
			l.tokens = l.tokens[:len(l.tokens)-n+1]
			first := &l.tokens[len(l.tokens)-1] // the token's place is that of its first word
			first.kind, first.text, first.word = t.kind, t.word, t.word
			return
		}
	}
	l.tokens = append(l.tokens, t)
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

// number returns the length of the number at the beginning of a text. ok is false if it ends too early, or if its exponent or scale has more
// than 32 bits.
func number(text string) (n int, ok bool) {
	digits := func() {
		for n < len(text) && isDigit(text[n]) {
			n++
		}
	}
	digits()
	fraction := 0
	if n < len(text) && text[n] == '.' {
		n++
		point := n
		digits()
		fraction = n - point
	}
	if n == len(text) || text[n] != 'e' && text[n] != 'E' {
		return n, true
	}
	n++
	begin := n
	if n < len(text) && (text[n] == '+' || text[n] == '-') {
		n++
	}
	digits()
	exponent, err := strconv.ParseInt(text[begin:n], 10, 32)
	return n, err == nil && int64(fraction)-exponent <= math.MaxInt32 && int64(fraction)-exponent >= math.MinInt32
}
