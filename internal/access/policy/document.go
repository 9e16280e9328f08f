package policy

import "errors"

// Document is a compiled policy. It is immutable and safe for concurrent use.
type Document struct{}

// Parse compiles a policy document.
func Parse(text string, kind Kind) (*Document, error) {
	return nil, errors.New("not implemented")
}
