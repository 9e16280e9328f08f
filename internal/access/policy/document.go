package policy

import "fmt"

// Effect is what a policy says about a request.
type Effect uint8

// The effects. A Deny outweighs any Allow.
const (
	None Effect = iota // no statement applies
	Allow
	Deny
)

// Position is a place in a policy's text. Lines and columns count from 1, columns in bytes.
type Position struct{ Line, Column int }

// Document is a compiled policy. It is immutable and safe for concurrent use.
type Document struct{}

// Error is the fault for which Parse refuses a document.
type Error struct {
	// Message is the sentence that IAM answers with MalformedPolicyDocument.
	Message string
	// Position is where the fault is.
	Position
}

// Error implements error: the position and IAM's sentence, for policies that are kept in files.
func (e *Error) Error() string { return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Message) }

// Parse compiles a policy document ("Grammar of the IAM JSON policy language"). Every error is an *Error. The time and memory that Parse
// takes are linear in the text, whose size the caller limits.
func Parse(text string, kind Kind) (*Document, error) {
	return nil, &Error{Message: "Syntax errors in policy.", Position: Position{1, 1}}
}

// Evaluate returns what the document by itself says about a request. Use Decide to learn whether a request is allowed.
func (d *Document) Evaluate(r *Request) Effect { return None }

// ContextKeys returns the condition keys that the document refers to, in conditions and variables, sorted and in lower case
// ("GetContextKeysForCustomPolicy").
func (d *Document) ContextKeys() []string { return nil }
