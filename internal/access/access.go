// Package access decides whether a caller may act on a resource. Every request that names a resource asks Authorize, and nothing
// else decides; policies will extend it.
package access

import (
	"strings"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

// Authorize returns nil if the caller may take the action (e.g. "dynamodb:GetItem") on the resource with the Amazon Resource
// Name, else AWS's AccessDeniedException ("Troubleshoot access denied error messages"). A caller whose signature was verified may
// use its own account's resources. Without credentials all callers share one account and any may use everything.
func Authorize(caller smithy.Caller, action, arn string) *awserr.Error {
	return AuthorizeOwned(caller, action, account(arn), func() string { return arn })
}

// AuthorizeOwned is Authorize for a resource whose account is known. Only a refusal asks for the Amazon Resource Name.
func AuthorizeOwned(caller smithy.Caller, action, account string, name func() string) *awserr.Error {
	if !caller.Verified || account == caller.Account {
		return nil
	}
	arn := name()
	return awserr.New(awserr.AccessDenied, "User: "+Principal(caller)+" is not authorized to perform: "+action+" on resource: "+arn+
		" because no resource-based policy allows the "+action+" action")
}

// AuthorizeARN is Authorize for a text that a request gives as an ARN. A text that is no ARN names nothing; the operation refuses it.
func AuthorizeARN(caller smithy.Caller, action, text string) *awserr.Error {
	if !strings.HasPrefix(text, "arn:") {
		return nil
	}
	return Authorize(caller, action, text)
}

// AuthorizeOperator returns nil if the caller runs the server, which the action of Stator's own needs, e.g. "stator:CreateCheckpoint".
func AuthorizeOperator(caller smithy.Caller, action string) *awserr.Error {
	if caller.Operator {
		return nil
	}
	return awserr.New(awserr.AccessDenied, "User: "+Principal(caller)+" is not authorized to perform: "+action+
		" because its access key is not an operator's")
}

// Principal returns the Amazon Resource Name of the caller: its account's root, until keys belong to users.
func Principal(caller smithy.Caller) string { return "arn:aws:iam::" + caller.Account + ":root" }

// account returns the account in an Amazon Resource Name, arn:partition:service:region:account:resource; empty for any other text.
func account(arn string) string {
	for range 4 {
		_, arn, _ = strings.Cut(arn, ":")
	}
	account, _, ok := strings.Cut(arn, ":")
	if !ok {
		return ""
	}
	return account
}
