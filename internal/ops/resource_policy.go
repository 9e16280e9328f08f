package ops

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

const (
	maxPolicySize = 20 << 10    // bytes ("PutResourcePolicy")
	noPolicy      = "NO_POLICY" // the ExpectedRevisionId that means: no policy yet
)

// Resource policies are stored, validated in form and returned, but not enforced.

// newPolicy validates a policy's form. The revision is derived from resource and text, so storing the same policy again keeps
// it.
func newPolicy(document, resource string) (*catalog.Policy, error) {
	if len(document) > maxPolicySize {
		return nil, awserr.New(awserr.LimitExceeded, "Subscriber limit exceeded: Resource-based policy size exceeds the limit of 20 KB")
	}
	if problem := checkPolicy(document); problem != "" {
		return nil, awserr.ValidationError("Invalid policy document: " + problem)
	}
	a, b := xxhash.Sum64String(resource+"\x00"+document), xxhash.Sum64String(document+"\x00"+resource)
	return &catalog.Policy{Document: document, Revision: strconv.FormatUint(a>>1, 10) + strconv.FormatUint(b>>40, 10)}, nil
}

// checkPolicy returns what is wrong with a policy's text, or "". A policy is JSON whose statements have the members that every
// resource-based policy needs.
func checkPolicy(document string) (problem string) {
	var p struct {
		Version   string
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(document), &p); err != nil {
		return "Syntax errors in policy"
	}
	if p.Version != "" && p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return "The policy has an invalid Version"
	}
	var statements []map[string]json.RawMessage
	if err := json.Unmarshal(p.Statement, &statements); err != nil {
		var one map[string]json.RawMessage
		if err := json.Unmarshal(p.Statement, &one); err != nil {
			return "The policy has no Statement"
		}
		statements = append(statements, one)
	}
	if len(statements) == 0 {
		return "The policy has no Statement"
	}
	for _, st := range statements {
		var effect string
		if err := json.Unmarshal(st["Effect"], &effect); err != nil || effect != "Allow" && effect != "Deny" {
			return "Effect must be Allow or Deny"
		}
		for _, pair := range [][2]string{{"Principal", "NotPrincipal"}, {"Action", "NotAction"}, {"Resource", "NotResource"}} {
			_, one := st[pair[0]]
			_, other := st[pair[1]]
			if one == other {
				return "A statement must have either " + pair[0] + " or " + pair[1]
			}
		}
	}
	return ""
}

func policyNotFound(arn string) error {
	return awserr.New(awserr.PolicyNotFound, "Resource-based policy not found for the provided ResourceArn: "+arn)
}

// policyOf returns where the policy of a table, or of its stream, is stored; nil if the table has no such stream.
func policyOf(t *catalog.Table, r resource) **catalog.Policy {
	switch {
	case r.kind != kindStream:
		return &t.Policy
	case t.Stream.Active() && t.Stream.Label == r.name:
		return &t.Stream.Policy
	}
	return nil
}

// changePolicy changes the policy of the resource with an ARN.
func (s *Service) changePolicy(ctx context.Context, req *Request, arn string, change func(at **catalog.Policy) error) error {
	r, err := s.tagged(req, arn)
	if err != nil {
		return err
	}
	t, err := s.Tables.Catalog.Change(ctx, r.Namespace, r.table, func(t *catalog.Table) error {
		at := policyOf(t, r)
		if at == nil {
			return resourceNotFound(arn)
		}
		return change(at)
	})
	if err == nil && t == nil {
		err = resourceNotFound(arn)
	}
	return clientError(err)
}

// expectedRevision reports whether the policy has the revision that the request expects.
func expectedRevision(p *catalog.Policy, expected smithy.Opt[string]) bool {
	switch {
	case !expected.Set:
		return true
	case p == nil:
		return expected.Value == noPolicy
	}
	return expected.Value == p.Revision
}
