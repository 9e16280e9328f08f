// Package access decides whether a caller may take an action on a resource. Every request asks Authorize; nothing else decides.
// [github.com/statordb/stator/internal/access/policy] evaluates the policies.
package access

import (
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

// Any is the resource of actions without a resource of their own, e.g. dynamodb:ListTables.
const Any = "*"

// Question asks whether the sender of a request may take an action on a resource.
type Question struct {
	Call   *smithy.Call
	Action string // e.g. dynamodb:GetItem
	// Resource is an Amazon Resource Name, or Any.
	Resource string
	// Owner is the account that the resource belongs to; empty for the caller's.
	Owner string
	// Policy is the resource's policy; nil without one.
	Policy *policy.Document
	// Keys are the condition keys of the request that only its operation knows; nil for none.
	Keys policy.Context

	// The question as the evaluator needs it. It is here, so that a Question that is reused needs no memory.
	request policy.Request
	keys    keys
}

// Authorize returns nil if the caller may take the action on the resource, and AWS's AccessDeniedException otherwise ("Troubleshoot access
// denied error messages"). Without credentials all callers are the root of every account, and only a resource's policy can refuse them.
func Authorize(q *Question) *awserr.Error {
	caller := &q.Call.Caller
	owner := q.Owner
	if owner == "" || !caller.Verified {
		owner = caller.Account
	}
	if caller.Identity == nil && q.Policy == nil && owner == caller.Account {
		return nil
	}
	id, r := q.ask(owner)
	set := id.Policies
	set.Resource = q.Policy
	d := policy.Decide(r, id, set)
	if d.Allowed {
		return nil
	}
	return awserr.New(awserr.AccessDenied, "User: "+id.ARN+" is not authorized to perform: "+q.Action+" on resource: "+q.Resource+" "+d.Reason(q.Action))
}

// Identity returns the sender of a request. It is never nil: an account's root has the type Account.
func Identity(call *smithy.Call) *policy.Identity {
	if call.Caller.Identity != nil {
		return call.Caller.Identity
	}
	return root(call.Caller.Account)
}

// Context returns the condition keys that every request has, and own, the operation's.
func Context(call *smithy.Call, own policy.Context) policy.Context {
	return &keys{Question: &Question{Call: call, Keys: own}, id: Identity(call), owner: call.Caller.Account}
}

// Conditional reports whether the answer that Authorize gave last may depend on condition keys. Otherwise it is the same for every question of
// the same identity about the same action, resource, owner and policy.
func (q *Question) Conditional() bool { return q.keys.read }

// PolicyAlone returns what the resource's policy by itself says about the question.
func PolicyAlone(q *Question) policy.Effect {
	_, r := q.ask(q.Owner)
	return q.Policy.Evaluate(r)
}

// ask returns the caller's identity, and the question as the evaluator needs it.
func (q *Question) ask(owner string) (*policy.Identity, *policy.Request) {
	id := Identity(q.Call)
	q.keys = keys{Question: q, id: id, owner: owner}
	q.request = policy.Request{Principal: &id.Principal, Action: q.Action, Resource: q.Resource, Owner: owner, Context: &q.keys}
	return id, &q.request
}

// AuthorizeOperator returns nil if the caller may take one of Stator's own actions, e.g. "stator:CreateCheckpoint". Its key must be an
// operator's; a user's or session's account must have such a key, and its policies must allow the action on Any.
func AuthorizeOperator(call *smithy.Call, action string) *awserr.Error {
	if call.Caller.Operator {
		return Authorize(&Question{Call: call, Action: action, Resource: Any})
	}
	return awserr.New(awserr.AccessDenied, "User: "+Principal(&call.Caller)+" is not authorized to perform: "+action+
		" because its access key is not an operator's")
}

// Principal returns the caller's Amazon Resource Name: that of its account's root, unless its key is a user's or a session's.
func Principal(caller *smithy.Caller) string {
	if caller.Identity != nil {
		return caller.Identity.ARN
	}
	return rootARN(caller.Account)
}

func rootARN(account string) string { return "arn:aws:iam::" + account + ":root" }

// root returns the identity of an account's root.
func root(account string) *policy.Identity {
	return &policy.Identity{Principal: policy.Principal{Account: account, ARN: rootARN(account)}, Type: "Account", UserID: account}
}

// Account returns the account in an Amazon Resource Name, arn:partition:service:region:account:resource, or "" for other texts.
func Account(arn string) string {
	for range 4 {
		_, arn, _ = strings.Cut(arn, ":")
	}
	account, _, ok := strings.Cut(arn, ":")
	if !ok {
		return ""
	}
	return account
}
