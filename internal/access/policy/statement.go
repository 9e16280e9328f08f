package policy

import (
	"slices"
	"strings"
)

// statement is a compiled statement.
type statement struct {
	effect       Effect
	start, end   Position
	actions      []action
	notActions   bool
	anyResource  bool
	resources    []*template
	notResources bool
	principals   *principals // nil in identity policies
	conditions   []*condition
}

// action is an action of a policy.
type action struct {
	name    string   // in lower case
	pattern *pattern // nil without wildcards
}

func (a *action) match(name string) bool {
	if a.pattern == nil {
		return equalFold(a.name, name)
	}
	return a.pattern.match(name, true)
}

// naming says how closely a statement names the principal of a request. "Policy evaluation logic" treats these cases differently.
type naming uint8

const (
	notNamed  naming = iota
	byAccount        // the account: it delegates to the account's identity policies
	byRole           // the role: limited by the session's boundary and session policies
	byItself         // the user, the session, or everybody; also the principal of an identity policy
)

// providerInARN is what precedes the issuer in the ARN of an OIDC provider.
const providerInARN = ":oidc-provider/"

// principals is the list of a statement's Principal or NotPrincipal.
type principals struct {
	not       bool
	everybody bool
	arns      []string
	accounts  []string
	federated []string
}

// compile compiles a statement that has been checked.
func (r *reader) compile(raw *rawStatement, variables bool) *statement {
	s := &statement{start: r.position(raw.start), end: r.position(raw.end), notActions: raw.has("NotAction"), notResources: raw.has("NotResource")}
	s.effect = Allow
	if strings.EqualFold(raw.effect.value, "Deny") {
		s.effect = Deny
	}
	for _, t := range slices.Concat(raw.actions, raw.notActions) {
		a := action{name: toLower(t.value)}
		pattern, _ := newTemplate(a.name, wildcardText, false)
		a.pattern = pattern.pattern
		s.actions = append(s.actions, a)
	}
	s.anyResource = r.kind == OfTrust
	for _, t := range slices.Concat(raw.resources, raw.notResources) {
		s.anyResource = s.anyResource || t.value == "*"
		template, ok := newTemplate(t.value, resourceText, variables)
		if !ok {
			r.syntax(t.at)
		}
		s.resources = append(s.resources, template)
	}
	for _, c := range raw.conditions {
		var values []string
		for _, v := range c.values {
			values = append(values, v.value)
		}
		compiled, _, ok := newCondition(c.operator.value, c.key.value, values, variables)
		if !ok {
			r.syntax(c.key.at)
			return s
		}
		compiled.effect = s.effect
		s.conditions = append(s.conditions, compiled)
	}
	if r.kind.principals() {
		s.principals = newPrincipals(slices.Concat(raw.principals, raw.notPrincipals), raw.has("NotPrincipal"))
	}
	return s
}

// newPrincipals compiles the principals of a statement. It drops services and canonical users, which send no requests.
func newPrincipals(list []rawPrincipal, not bool) *principals {
	p := &principals{not: not}
	for _, raw := range list {
		v := raw.value.value
		switch kind := raw.kind.value; {
		case v == "*" && (kind == "*" || kind == "AWS"):
			p.everybody = true
		case kind == "AWS" && accountOf(v) != "":
			p.accounts = append(p.accounts, accountOf(v))
		case kind == "AWS":
			p.arns = append(p.arns, v)
		case kind == "Federated":
			p.federated = append(p.federated, v)
		}
	}
	return p
}

// applies returns how closely the statement names the request's principal, and notNamed if it does not apply to the request.
func (s *statement) applies(r *Request) naming {
	if !s.hasAction(r.Action) || !s.hasResource(r) {
		return notNamed
	}
	named := byItself
	if s.principals != nil {
		if named = s.principals.name(r, s.effect); named == notNamed {
			return notNamed
		}
	}
	for _, c := range s.conditions {
		if !c.holds(r.Context) {
			return notNamed
		}
	}
	return named
}

// hasAction reports whether the statement is about an action.
func (s *statement) hasAction(name string) bool {
	for i := range s.actions {
		if s.actions[i].match(name) {
			return !s.notActions
		}
	}
	return s.notActions
}

// hasResource reports whether the statement is about the request's resource.
func (s *statement) hasResource(r *Request) bool {
	if s.anyResource {
		return !s.notResources
	}
	for _, t := range s.resources {
		if t.match(r.Resource, r.Context) {
			return !s.notResources
		}
	}
	return s.notResources
}

// name returns how closely the list names the request's principal.
func (p *principals) name(r *Request, effect Effect) naming {
	if r.Principal == nil {
		return notNamed
	}
	if !p.not {
		return p.lists(r)
	}
	// A Deny spares a principal only if the list has its account, its role and itself. An Allow leaves a principal out if the list has any
	// of them ("AWS JSON policy elements: NotPrincipal").
	if effect == Deny && !p.listsAll(r.Principal) || effect == Allow && p.lists(r) == notNamed {
		return byItself
	}
	return notNamed
}

// lists returns the closest naming of the request's principal.
func (p *principals) lists(r *Request) naming {
	who := r.Principal
	switch {
	case who.web():
		// Entries of the kind AWS, even *, do not include web identities.
		if p.listsProvider(who.Federated, r.Owner) {
			return byItself
		}
	case p.everybody, slices.Contains(p.arns, who.ARN):
		return byItself
	case who.Role != "" && slices.Contains(p.arns, who.Role):
		return byRole
	case slices.Contains(p.accounts, who.Account):
		return byAccount
	}
	return notNamed
}

// web reports whether the principal is a web identity that does not have a session yet.
func (p *Principal) web() bool { return p.ARN == "" && p.Federated != "" }

// listsAll reports whether the list has the principal together with its account and, if it is a session, its role.
func (p *principals) listsAll(who *Principal) bool {
	return p.everybody || slices.Contains(p.accounts, who.Account) && (accountOf(who.ARN) != "" || slices.Contains(p.arns, who.ARN)) &&
		(who.Role == "" || slices.Contains(p.arns, who.Role))
}

// listsProvider reports whether the list has a web identity's provider, by its name or by its ARN in the account that owns the role.
func (p *principals) listsProvider(provider, account string) bool {
	for _, f := range p.federated {
		if f == provider {
			return true
		}
		if prefix, issuer, ok := strings.Cut(f, providerInARN); ok && issuer == provider && strings.HasSuffix(prefix, ":"+account) {
			return true
		}
	}
	return false
}

// keys calls a function for each condition key that the statement refers to, in lower case and as written.
func (s *statement) keys(add func(key, name string)) {
	variables := func(list []*template) {
		for _, t := range list {
			for _, p := range t.parts {
				if p.name != "" {
					add(p.key, p.name)
				}
			}
		}
	}
	variables(s.resources)
	for _, c := range s.conditions {
		add(c.key, c.name)
		if c.compare != nil {
			variables(c.compare.variables())
		}
	}
}
