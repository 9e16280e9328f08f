package policy

import (
	"fmt"
	"slices"
	"strings"
)

// sentences are what IAM says about the form of a document. Documents with principals are read by another parser of AWS's than identity
// policies, with sentences of its own.
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

// The versions of the policy language. Without a version, a document has the older one, in which variables are plain text.
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

// check reports the first fault in the meaning of a document. AWS checks one rule in all statements before the next rule.
func (r *reader) check(d *rawDocument) {
	say := r.kind.sentences()
	if d.hasVersion && d.version.value != version2012 && d.version.value != version2008 {
		r.fail(d.version.at, say.version)
	}
	if len(d.statements) == 0 {
		r.fail(d.at, say.noStatement)
	}
	for _, rule := range []func(*rawStatement){r.checkForm, r.checkOperators} {
		r.each(d, rule)
	}
	if r.kind == OfManaged && d.version.value != version2012 {
		r.fail(d.version.at, "Policy document must be version 2012-10-17 or greater.")
	}
	r.each(d, r.checkLegacy)
	r.checkSids(d, say)
	if r.kind.principals() {
		r.each(d, r.checkPrincipals)
	}
	for _, rule := range []func(*rawStatement){r.checkActionsExist, r.checkResources, r.checkVendors, r.checkResourcesExist} {
		r.each(d, rule)
	}
}

// each applies a rule to all statements.
func (r *reader) each(d *rawDocument, rule func(*rawStatement)) {
	for i := range d.statements {
		if r.err != nil {
			return
		}
		rule(&d.statements[i])
	}
}

// checkForm checks which elements a statement combines.
func (r *reader) checkForm(s *rawStatement) {
	say := r.kind.sentences()
	e := s.effect.value
	switch {
	case !s.has("Effect"):
		r.fail(s.start, say.noEffect)
	case e == "Allow", e == "Deny":
	case r.kind != OfTrust && (strings.EqualFold(e, "Allow") || strings.EqualFold(e, "Deny")):
		// Resource policies may have it so; about identity policies checkLegacy has another sentence.
	default:
		r.fail(s.effect.at, say.badEffect(s.effect.value))
	}
	for _, pair := range [][2]string{{"Action", "NotAction"}, {"Resource", "NotResource"}, {"Principal", "NotPrincipal"}} {
		if s.has(pair[0]) && s.has(pair[1]) {
			r.syntax(s.elements[pair[1]])
		}
	}
}

// checkOperators checks the names of condition operators.
func (r *reader) checkOperators(s *rawStatement) {
	for _, c := range s.conditions {
		if _, found, _ := newCondition(c.operator.value, c.key.value, nil, false); !found {
			r.fail(c.operator.at, r.kind.sentences().badOperator(c.operator.value))
		}
	}
}

// checkLegacy checks what AWS's older parser of identity policies refuses: an effect in the wrong case, and dates that are none.
func (r *reader) checkLegacy(s *rawStatement) {
	if e := s.effect.value; !r.kind.principals() && e != "Allow" && e != "Deny" {
		r.legacy(s.effect.at)
	}
	for _, c := range s.conditions {
		if !strings.Contains(c.operator.value, "Date") {
			continue
		}
		for _, v := range c.values {
			if _, ok := parseDate(v.value); !ok {
				r.legacy(v.at)
			}
		}
	}
}

// legacy records that AWS's older parser refuses the document.
func (r *reader) legacy(at int) {
	if r.kind.principals() {
		r.syntax(at)
		return
	}
	r.fail(at, "The policy failed legacy parsing")
}

// checkSids checks the statements' names.
func (r *reader) checkSids(d *rawDocument, say *sentences) {
	seen := map[string]bool{}
	for i := range d.statements {
		sid := d.statements[i].sid
		if !r.kind.principals() && strings.ContainsFunc(sid.value, func(c rune) bool { return c >= 0x80 || !alphanumeric(byte(c)) }) {
			r.fail(sid.at, "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*")
		}
		if seen[sid.value] {
			r.fail(sid.at, say.sids)
		}
		if sid.value != "" {
			seen[sid.value] = true
		}
	}
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= lower(c) && lower(c) <= 'z'
}

// checkActionsExist checks that a statement has actions, and in identity policies no principals.
func (r *reader) checkActionsExist(s *rawStatement) {
	if !r.kind.principals() {
		for _, element := range []string{"Principal", "NotPrincipal"} {
			if at, ok := s.elements[element]; ok {
				r.fail(at, "Policy document should not specify a principal.")
			}
		}
	}
	if len(s.actions)+len(s.notActions) == 0 {
		r.fail(s.start, r.kind.sentences().noAction)
	}
}

// checkVendors checks that actions and condition keys begin with a service.
func (r *reader) checkVendors(s *rawStatement) {
	const vendor = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
	for _, a := range slices.Concat(s.actions, s.notActions) {
		service, _, found := strings.Cut(a.value, ":")
		switch {
		case r.kind == OfTrust && !strings.EqualFold(service, "sts"):
			r.fail(a.at, "AssumeRole policy may only specify STS AssumeRole actions.")
		case a.value == "*":
		case !found:
			r.fail(a.at, vendor)
		case strings.Count(a.value, ":") > 1:
			r.fail(a.at, "Actions/Condition can contain only one colon.")
		case service != "*" && !vendorName(service):
			r.fail(a.at, "Vendor "+cut(service)+" is not valid")
		}
	}
	for _, c := range s.conditions {
		if !strings.Contains(c.key.value, ":") {
			r.fail(c.key.at, vendor)
		}
	}
}

// vendorName reports whether a text can be the name of a service.
func vendorName(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && s[i] != '-' && s[i] != '.' {
			return false
		}
	}
	return s != ""
}

// checkResourcesExist checks that a statement has resources, and in trust policies none.
func (r *reader) checkResourcesExist(s *rawStatement) {
	switch {
	case r.kind == OfTrust && s.has("Resource"):
		r.fail(s.elements["Resource"], "Has prohibited field Resource")
	case r.kind == OfTrust && s.has("NotResource"):
		r.fail(s.elements["NotResource"], "AssumeRole policy must not contain resources.")
	case r.kind != OfTrust && len(s.resources)+len(s.notResources) == 0:
		r.fail(s.start, r.kind.sentences().noResource)
	}
}

// partitions are the partitions of AWS ("Amazon Resource Names (ARNs)"); policies may also name all of them.
var partitions = []string{"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc", "*"}

// checkResources checks the ARNs of resources.
func (r *reader) checkResources(s *rawStatement) {
	if r.kind == OfTrust {
		return
	}
	for _, t := range slices.Concat(s.resources, s.notResources) {
		if t.value == "*" {
			continue
		}
		fields := strings.SplitN(t.value, ":", arnFields)
		if len(fields) == 1 {
			r.fail(t.at, "Resource "+cut(t.value)+` must be in ARN format or "*".`)
			return
		}
		if fields[0] != "arn" || !slices.Contains(partitions, fields[1]) {
			whole := append([]string{"arn"}, fields[1:]...)
			for len(whole) < arnFields {
				whole = append(whole, "*")
			}
			r.fail(t.at, "Partition "+quoted(fields[1])+" is not valid for resource "+quoted(strings.Join(whole, ":"))+".")
			return
		}
		switch {
		case len(fields) == 2 || strings.ContainsAny(fields[2], "*?"):
			r.fail(t.at, "Resource vendor must be fully qualified and cannot contain regexes.")
		case len(fields) < arnFields && !strings.Contains(t.value, "*"): // a * may stand for several fields
			r.legacy(t.at)
		case fields[2] == "iam" && len(fields) > 3 && fields[3] != "":
			r.fail(t.at, "IAM resource "+cut(t.value)+" cannot contain region information.")
		case fields[2] == "iam" && len(fields) == arnFields && !iamPath(fields[5]):
			r.fail(t.at, `IAM resource path must either be "*", root, or start with `+strings.Join(iamPaths, ", ")+".")
		}
	}
}

// iamPaths are the beginnings of IAM's resources.
var iamPaths = []string{"user/", "federated-user/", "role/", "group/", "instance-profile/", "mfa/", "server-certificate/", "policy/",
	"sms-mfa/", "saml-provider/", "oidc-provider/", "report/", "access-report/"}

func iamPath(resource string) bool {
	return resource == "*" || resource == "root" || slices.ContainsFunc(iamPaths, func(p string) bool { return strings.HasPrefix(resource, p) })
}

// checkPrincipals checks the principals of a statement ("AWS JSON policy elements: Principal").
func (r *reader) checkPrincipals(s *rawStatement) {
	at, named := s.elements["Principal"]
	not := s.has("NotPrincipal")
	switch {
	case not && r.kind == OfTrust && s.effect.value == "Allow":
		r.fail(s.elements["NotPrincipal"], "Allow with NotPrincipal is not allowed.")
	case not && r.kind == OfTrust:
		r.fail(s.elements["NotPrincipal"], "AssumeRole policy must not contain NotPrincipal field.")
	case !named && !not:
		r.fail(s.start, "Missing required field Principal")
	case named && r.kind == OfTrust && s.principalText:
		r.fail(at, "Principal must be a JSON object.")
	case len(s.principals)+len(s.notPrincipals) == 0:
		r.fail(at, "Missing required field Principal cannot be empty!")
	}
	for _, p := range slices.Concat(s.principals, s.notPrincipals) {
		if problem := p.problem(r.kind, len(s.conditions) > 0); problem != "" {
			r.fail(p.value.at, problem)
			return
		}
	}
}

// problem returns AWS's sentence about a principal that can't exist; empty for others.
func (p *rawPrincipal) problem(kind Kind, conditional bool) string {
	invalid := "Invalid principal in policy: " + quoted(p.kind.value)
	v := p.value.value
	switch p.kind.value {
	case "*":
		return ""
	case "AWS":
		if v == "*" || accountOf(v) != "" || principalARN(v) {
			return ""
		}
	case "Service":
		if vendorName(v) {
			return ""
		}
		return "Invalid principal in policy: " + `"SERVICE":` + quoted(v)
	case "Federated":
		if v == "cognito-identity.amazonaws.com" && kind == OfTrust && !conditional {
			return "A condition block must be present for the Cognito provider"
		}
		if isARN(v) && (strings.Contains(v, ":saml-provider/") || strings.Contains(v, providerInARN)) || strings.Contains(v, ".") && !strings.ContainsAny(v, ": *") {
			return ""
		}
		return "Federated principals must be valid domain names or SAML metadata ARNs"
	case "CanonicalUser":
		if kind == OfResource {
			return ""
		}
		return invalid
	default:
		return invalid
	}
	return invalid + ":" + quoted(v)
}

// principalARN reports whether a text is the ARN of a user, a role, a role's session or a federated user. Wildcards are not allowed.
func principalARN(s string) bool {
	fields := strings.SplitN(s, ":", arnFields)
	if len(fields) < arnFields || fields[0] != "arn" || fields[3] != "" || !isAccount(fields[4]) || strings.ContainsAny(s, "*?") {
		return false
	}
	kind, name, _ := strings.Cut(fields[5], "/")
	if name == "" || strings.HasSuffix(name, "/") {
		return false
	}
	switch fields[2] {
	case "iam":
		return kind == "user" || kind == "role"
	case "sts":
		return kind == "assumed-role" && strings.Contains(name, "/") || kind == "federated-user"
	}
	return false
}

// accountOf returns the account that a principal's text, an account's number or its root's ARN, stands for; empty for other texts.
func accountOf(s string) string {
	if isAccount(s) {
		return s
	}
	fields := strings.Split(s, ":")
	if len(fields) == arnFields && fields[0] == "arn" && fields[2] == "iam" && fields[3] == "" && isAccount(fields[4]) && fields[5] == "root" {
		return fields[4]
	}
	return ""
}

func isAccount(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
