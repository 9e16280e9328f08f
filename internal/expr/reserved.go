package expr

import (
	_ "embed"
	"strings"
)

// reservedWords is the list on the AWS page "Reserved words in DynamoDB", one word per line.
//
//go:embed reserved.txt
var reservedWords string

var reserved = func() map[string]struct{} {
	set := make(map[string]struct{}, 600)
	for _, w := range strings.Fields(reservedWords) {
		set[w] = struct{}{}
	}
	return set
}()

// Reserved reports whether a word, in any case, can't be an attribute name in an expression.
func Reserved(word string) bool {
	_, ok := reserved[strings.ToUpper(word)]
	return ok
}
