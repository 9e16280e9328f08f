package policy

import "fmt"

// sentences are what IAM says about the form of a document. AWS reads documents with principals by a parser whose sentences differ from
// those about identity policies.
type sentences struct {
	json        string
	noPolicy    string
	syntax      func(Position) string
	unknown     func(element string) string
	noStatement string
	noEffect    string
	badEffect   func(effect string) string
	badOperator func(operator string) string
	version     string
	sids        string
	noAction    string
	noResource  string
}

const syntaxErrors = "Syntax errors in policy."

var identitySentences = &sentences{
	json:        syntaxErrors,
	noPolicy:    syntaxErrors,
	syntax:      func(Position) string { return syntaxErrors },
	unknown:     func(string) string { return syntaxErrors },
	noStatement: syntaxErrors,
	noEffect:    syntaxErrors,
	badEffect:   func(string) string { return syntaxErrors },
	badOperator: func(string) string { return syntaxErrors },
	version:     syntaxErrors,
	sids:        "Statement IDs (SID) in a single policy must be unique.",
	noAction:    "Policy statement must contain actions.",
	noResource:  "Policy statement must contain resources.",
}

var principalSentences = &sentences{
	json:        "This policy contains invalid Json",
	noPolicy:    "This text appears not to be a policy",
	syntax:      syntaxErrorAt,
	unknown:     func(element string) string { return "Unknown field " + cut(element) },
	noStatement: "Could not parse the policy: Statement is empty!",
	noEffect:    "Missing required field Effect",
	badEffect:   func(effect string) string { return "Invalid effect: " + cut(effect) },
	badOperator: func(operator string) string { return "Invalid Condition type : " + cut(operator) },
	version:     "The policy must contain a valid version string",
	sids:        "The Statement Ids in the policy are not unique",
	noAction:    "Missing required field Action",
	noResource:  "Missing required field Resource",
}

func syntaxErrorAt(at Position) string {
	return fmt.Sprintf("Syntax error at position (%d,%d)", at.Line, at.Column)
}

// sentences returns the sentences for a kind of document.
func (k Kind) sentences() *sentences {
	if k.principals() {
		return principalSentences
	}
	return identitySentences
}

// principals reports whether statements of this kind of document name principals.
func (k Kind) principals() bool { return k == OfResource || k == OfTrust }

// The versions of the policy language. A document without a version has the older one, in which variables are plain text.
const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

// Parse compiles a policy document ("Grammar of the IAM JSON policy language"). Every error is an *Error. The time and memory that Parse
// takes are linear in the text, whose size the caller limits.
func Parse(text string, kind Kind) (*Document, error) {
	r := newReader(text, kind)
	raw := r.document(text)
	if r.err == nil {
		r.check(&raw)
	}
	if r.err != nil {
		return nil, r.err
	}
	d := &Document{}
	for i := range raw.statements {
		d.statements = append(d.statements, r.compile(&raw.statements[i], raw.version.value == version2012))
	}
	if r.err != nil {
		return nil, r.err
	}
	d.buildIndex()
	return d, nil
}
