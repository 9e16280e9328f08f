package policy

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
func (d Decision) Reason(action string) string { return "" }

// Decide decides whether a principal may do what the request says ("Policy evaluation logic"). set has the principal's policies and the
// resource's. An identity that is nil or of the type Account is the root of r.Principal's account. Without conditions and variables,
// Decide allocates nothing.
func Decide(r *Request, id *Identity, set Set) Decision { return Decision{} }

// DecideTrust is Decide for sts:AssumeRole and sts:AssumeRoleWithWebIdentity. r.Resource is the role's ARN and set.Resource its trust
// policy. A role can be assumed only if its trust policy allows that. For a web identity, r.Principal has nothing but Federated, and set
// nothing but the trust policy.
func DecideTrust(r *Request, id *Identity, set Set) Decision { return Decision{} }
