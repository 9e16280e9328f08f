// Package policy compiles and evaluates IAM policies. It does no I/O and reads no clock: the caller brings the request's context.
// Sources of the rules: "IAM JSON policy elements reference", "Policy evaluation logic" and "Policy grammar" in the IAM User Guide.
package policy

import "time"

// Kind says where a document is used, which decides what it must and may contain.
type Kind uint8

const (
	// OfIdentity is the kind of managed and inline policies, permissions boundaries and session policies: no Principal.
	OfIdentity Kind = iota
	// OfResource is the kind of the policies of tables and streams: every statement names a Principal.
	OfResource
	// OfTrust is the kind of a role's trust policy: every statement names a Principal, and none a Resource.
	OfTrust
	// OfManaged is OfIdentity for managed policies, whose Version must be 2012-10-17.
	OfManaged
)

// Principal is the sender of a request as policies name it.
type Principal struct {
	Account string // twelve digits
	// ARN is that of the user, the role's session, the federated session or the account's root.
	ARN string
	// Role is the ARN of the role whose session the principal is; empty for others.
	Role string
	// Federated is the provider of a web identity, e.g. the issuer's host and path; empty for others. Only trust policies see it.
	Federated string
}

// Identity is a principal together with its policies. It is immutable: a change of a policy makes a new Identity.
type Identity struct {
	Principal
	// Type is aws:PrincipalType: Account, User, AssumedRole or FederatedUser.
	Type string
	// UserID is aws:userid: AIDA… for a user, AROA…:session for a role's session.
	UserID string
	// UserName is aws:username; empty unless the principal is a user.
	UserName string
	// Tags are aws:PrincipalTag.
	Tags map[string]string
	// Issued and Expires bound a session; zero for a long-term key.
	Issued, Expires time.Time
	// SourceIdentity is aws:SourceIdentity, which stays with all sessions that descend from a session; empty without one.
	SourceIdentity string
	// TransitiveTags are the keys of the session tags that the sessions of other roles inherit, if this session assumes those.
	TransitiveTags []string
	// Policies are what the identity brings. Set.Resource is empty here.
	Policies Set
}

// Set holds the policies that apply to a request.
type Set struct {
	// Identity are the policies of the user, its groups or the role.
	Identity []*Document
	// Boundary is the permissions boundary; nil without one.
	Boundary *Document
	// Session are the session policies. nil means that the session has none; an empty list allows nothing.
	Session []*Document
	// Resource is the policy of the resource; nil without one.
	Resource *Document
}

// Context has the values of a request's condition keys.
type Context interface {
	// Lookup returns the values of a condition key, whose name is in lower case. ok is false for a key that the request does not have.
	Lookup(key string) (v Values, ok bool)
}

// Values are a condition key's values. A key with several values (ArrayOfString) is one even while it holds a single value.
type Values struct {
	List     []string
	Multiple bool
}

// Request is what a principal wants to do.
type Request struct {
	Principal *Principal
	Action    string // as in policies: dynamodb:GetItem
	Resource  string // an ARN, or "*" for an action without a resource
	// Owner is the account that the resource belongs to.
	Owner   string
	Context Context
}
