package access

import (
	"testing"

	"github.com/statordb/stator/internal/smithy"
)

func TestAuthorize(t *testing.T) {
	const arn = "arn:aws:dynamodb:us-east-1:111111111111:table/T"
	for _, c := range []struct {
		name    string
		caller  smithy.Caller
		arn     string
		allowed bool
	}{
		{"own account", smithy.Caller{Account: "111111111111", Verified: true}, arn, true},
		{"another account", smithy.Caller{Account: "222222222222", Verified: true}, arn, false},
		{"an operator's key is bound to its account too", smithy.Caller{Account: "222222222222", Verified: true, Operator: true}, arn, false},
		{"no ARN", smithy.Caller{Account: "222222222222", Verified: true}, "T", false},
		{"without credentials", smithy.Caller{Account: "000000000000"}, arn, true},
	} {
		err := Authorize(c.caller, "dynamodb:GetItem", c.arn)
		if (err == nil) != c.allowed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := AuthorizeARN(smithy.Caller{Account: "222222222222", Verified: true}, "dynamodb:GetItem", "T"); err != nil {
		t.Error(err)
	}
	if AuthorizeARN(smithy.Caller{Account: "222222222222", Verified: true}, "dynamodb:GetItem", arn) == nil ||
		AuthorizeOperator(smithy.Caller{Account: "222222222222", Verified: true}, "stator:X") == nil {
		t.Error("a stranger is allowed")
	}
	if err := AuthorizeOperator(smithy.Caller{Operator: true}, "stator:X"); err != nil {
		t.Error(err)
	}
	err := Authorize(smithy.Caller{Account: "222222222222", Verified: true}, "dynamodb:GetItem", arn)
	want := "AccessDeniedException: User: arn:aws:iam::222222222222:root is not authorized to perform: dynamodb:GetItem on resource: " + arn +
		" because no resource-based policy allows the dynamodb:GetItem action"
	if err.Error() != want {
		t.Errorf("got %s, want %s", err, want)
	}
}
