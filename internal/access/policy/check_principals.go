package policy

import (
	"slices"
	"strings"
)

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
