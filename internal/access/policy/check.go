package policy

import (
	"slices"
	"strings"
)

// check reports the first fault in the meaning of a document. Like AWS, it checks a rule in all statements before the next rule.
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
		// Resource policies accept any case. For identity policies, checkLegacy reports it.
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

// checkLegacy checks what AWS's older parser of identity policies refuses: an effect in the wrong case, and invalid dates.
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

// checkActionsExist checks that a statement has actions and, in an identity policy, no principals.
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

// checkResourcesExist checks that a statement has resources or, in a trust policy, that it has none.
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

// partitions are the partitions of AWS ("Amazon Resource Names (ARNs)"); "*" stands for all of them.
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
