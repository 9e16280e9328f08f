package policy

import "strings"

// Source is a type of policy.
type Source uint8

// The types of policies, in the order in which a denial names them if several deny.
const (
	FromIdentity Source = iota // policies of the user, its groups or the role
	FromBoundary
	FromSession
	FromResource
	FromTrust
)

// names are the types as AWS's sentences name them.
var names = [...]string{"identity-based policy", "permissions boundary", "session policy", "resource-based policy", "role trust policy"}

// Decision is the answer to a request.
type Decision struct {
	Allowed bool
	// Explicit is whether a statement denies the request; a denial without one is implicit.
	Explicit bool
	// Source is the type of the policy that denies the request or, in an implicit denial, does not allow it.
	Source Source
}

// String returns the decision as the policy simulator names it: allowed, explicitDeny or implicitDeny.
func (d Decision) String() string {
	switch {
	case d.Allowed:
		return "allowed"
	case d.Explicit:
		return "explicitDeny"
	}
	return "implicitDeny"
}

// Reason returns the end of AWS's sentence about a denied request ("Troubleshoot access denied error messages"), for instance
// "because no identity-based policy allows the dynamodb:GetItem action". It is empty for an allowed request.
func (d Decision) Reason(action string) string {
	switch {
	case d.Allowed:
		return ""
	case !d.Explicit:
		return "because no " + names[d.Source] + " allows the " + action + " action"
	case d.Source == FromIdentity:
		return "with an explicit deny in an " + names[d.Source]
	case d.Source == FromTrust:
		return "with an explicit deny in the " + names[d.Source]
	}
	return "with an explicit deny in a " + names[d.Source]
}

// Decide decides whether a principal may do what the request says ("Policy evaluation logic"). set has the principal's policies, usually
// those of id, and the resource's. An identity that is nil or of the type Account is the root of r.Principal's account. A request whose
// Owner is not the principal's account, also an empty Owner, crosses accounts. Without conditions and variables, Decide allocates nothing.
func Decide(r *Request, id *Identity, set Set) Decision { return decide(r, id, &set, FromResource) }

// DecideTrust is Decide for sts:AssumeRole and sts:AssumeRoleWithWebIdentity. r.Resource is the role's ARN, r.Owner its account, and
// set.Resource its trust policy. A role can be assumed only if its trust policy allows that. For a web identity, r.Principal has nothing
// but Federated, and set nothing but the trust policy.
func DecideTrust(r *Request, id *Identity, set Set) Decision { return decide(r, id, &set, FromTrust) }

// decide implements Decide, with FromResource as the type of set.Resource, and DecideTrust, with FromTrust.
func decide(r *Request, id *Identity, set *Set, resource Source) Decision {
	if r.Principal == nil {
		return Decision{Source: FromIdentity}
	}
	var buffer [maxAction]byte
	q := newQuery(r, buffer[:0])
	root := (id == nil || id.Type == "Account") && r.Principal.Account != ""
	own := r.Owner != "" && r.Owner == r.Principal.Account

	deny, identity := evaluateAny(set.Identity, &q)
	if deny {
		return Decision{Explicit: true, Source: FromIdentity}
	}
	identity = identity || root
	deny, allow := set.Boundary.evaluate(&q)
	if deny {
		return Decision{Explicit: true, Source: FromBoundary}
	}
	boundary := set.Boundary == nil || allow != notNamed
	deny, session := evaluateAny(set.Session, &q)
	if deny {
		return Decision{Explicit: true, Source: FromSession}
	}
	session = session || set.Session == nil
	deny, named := set.Resource.evaluate(&q)
	if deny && !(root && own && resource == FromResource && managesPolicy(r.Action)) {
		return Decision{Explicit: true, Source: resource}
	}

	switch {
	case resource == FromTrust && r.Principal.web():
		return Decision{Allowed: named != notNamed, Source: FromTrust}
	case own && named == byItself:
		return Decision{Allowed: true}
	case own && named == byRole:
		identity = true
	case named == notNamed && (!own || resource == FromTrust):
		return Decision{Source: resource}
	}
	// Otherwise the principal's own policies must allow the request, too.
	switch {
	case !identity:
		return Decision{Source: FromIdentity}
	case !boundary:
		return Decision{Source: FromBoundary}
	case !session:
		return Decision{Source: FromSession}
	}
	return Decision{Allowed: true}
}

// evaluateAny returns whether one of the documents denies the request and, if none does, whether one allows it.
func evaluateAny(documents []*Document, q *query) (deny, allow bool) {
	for _, d := range documents {
		deny, named := d.evaluate(q)
		if deny {
			return true, false
		}
		allow = allow || named != notNamed
	}
	return false, allow
}

// managesPolicy reports whether an action is about a resource's policy. The root of an account can always repair the policies of its
// resources ("PutResourcePolicy").
func managesPolicy(action string) bool {
	return strings.EqualFold(action, "dynamodb:PutResourcePolicy") || strings.EqualFold(action, "dynamodb:GetResourcePolicy") ||
		strings.EqualFold(action, "dynamodb:DeleteResourcePolicy")
}
