package expr

import (
	_ "embed"
	"strings"
)

// reservedWords are the words of the AWS page "Reserved words in DynamoDB", one a line.
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

// Reserved reports whether the word, in any case, may not be used as an attribute name in an expression.
func Reserved(word string) bool {
	_, ok := reserved[strings.ToUpper(word)]
	return ok
}
