package identities

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/cli/client"
)

// maxVersions is how many versions a managed policy can have ("IAM and AWS STS quotas").
const maxVersions = 5

// policy is a managed policy in an answer.
type policy struct {
	PolicyName       string
	Arn              string
	DefaultVersionId string
	AttachmentCount  int
	UpdateDate       time.Time
}

// policies lists managed policies: those of the account (Local), or of AWS (AWS).
func policies(ctx context.Context, s *client.Server, scope string) ([]policy, error) {
	type page struct {
		Policies []policy `xml:"Policies>member"`
		Marker   string
	}
	return each(ctx, s, "ListPolicies", form("Scope", scope), func(p *page) ([]policy, string) { return p.Policies, p.Marker })
}

// ListPolicies prints the account's managed policies, or those of AWS.
func ListPolicies(ctx context.Context, opt Options, ofAWS bool) error {
	scope := "Local"
	if ofAWS {
		scope = "AWS"
	}
	list, err := policies(ctx, &opt.Server, scope)
	if err != nil {
		return err
	}
	return show(&opt, list, "POLICY\tVERSION\tATTACHED\tUPDATED\tARN", func(p policy) string {
		return fmt.Sprintf("%s\t%s\t%d\t%s\t%s", p.PolicyName, p.DefaultVersionId, p.AttachmentCount, day(p.UpdateDate), p.Arn)
	})
}

// find returns the policy with a name among those of the scopes, or nil.
func find(ctx context.Context, s *client.Server, name string, scopes ...string) (*policy, error) {
	for _, scope := range scopes {
		list, err := policies(ctx, s, scope)
		if err != nil {
			return nil, err
		}
		if at := slices.IndexFunc(list, func(p policy) bool { return p.PolicyName == name }); at >= 0 {
			return &list[at], nil
		}
	}
	return nil, nil
}

// PutPolicy makes a managed policy with a document, or gives the policy with that name a new default version, and prints the ARN and the version. If the policy
// has as many versions as it can, the oldest one that is not in force is deleted. A document that is in force already changes nothing.
func PutPolicy(ctx context.Context, opt Options, name, document string) error {
	p, err := find(ctx, &opt.Server, name, "Local")
	if err != nil {
		return err
	}
	if p == nil {
		var out struct{ Policy policy }
		if err := opt.Server.IAM(ctx, "CreatePolicy", form("PolicyName", name, "PolicyDocument", document), &out); err != nil {
			return err
		}
		p = &out.Policy
	} else if err := newVersion(ctx, &opt.Server, p, document); err != nil {
		return err
	}
	_, err = fmt.Fprintln(opt.Out, p.Arn, p.DefaultVersionId)
	return err
}

// version is a version of a policy in an answer.
type version struct {
	VersionId        string
	IsDefaultVersion bool
	Document         string // percent-encoded
}

// newVersion gives a policy a new default version, unless it has the same document.
func newVersion(ctx context.Context, s *client.Server, p *policy, document string) error {
	var now struct{ PolicyVersion version }
	if err := s.IAM(ctx, "GetPolicyVersion", form("PolicyArn", p.Arn, "VersionId", p.DefaultVersionId), &now); err != nil {
		return err
	}
	if text, err := url.PathUnescape(now.PolicyVersion.Document); err == nil && text == document {
		return nil
	}
	type page struct {
		Versions []version `xml:"Versions>member"`
		Marker   string
	}
	list, err := each(ctx, s, "ListPolicyVersions", form("PolicyArn", p.Arn), func(p *page) ([]version, string) { return p.Versions, p.Marker })
	if err != nil {
		return err
	}
	if len(list) >= maxVersions {
		old := slices.DeleteFunc(list, func(v version) bool { return v.IsDefaultVersion })
		oldest := slices.MinFunc(old, func(a, b version) int { return cmp.Compare(number(a), number(b)) })
		if err := s.IAM(ctx, "DeletePolicyVersion", form("PolicyArn", p.Arn, "VersionId", oldest.VersionId), nil); err != nil {
			return err
		}
	}
	var out struct{ PolicyVersion version }
	err = s.IAM(ctx, "CreatePolicyVersion", form("PolicyArn", p.Arn, "PolicyDocument", document, "SetAsDefault", "true"), &out)
	p.DefaultVersionId = out.PolicyVersion.VersionId
	return err
}

// number returns the number of a version: v12 is later than v2.
func number(v version) int {
	n, err := strconv.Atoi(strings.TrimPrefix(v.VersionId, "v"))
	if err != nil {
		return 0
	}
	return n
}

// ErrPrincipal means that a text does not name a user, group or role.
var ErrPrincipal = errors.New("name a principal as user/NAME, group/NAME or role/NAME")

// kinds are the kinds of principals, by how the command line names them, with their names in IAM's API.
var kinds = map[string]string{"user": "User", "group": "Group", "role": "Role"}

// principal splits user/NAME, group/NAME or role/NAME. kind is User, Group or Role.
func principal(text string) (kind, name string, err error) {
	before, name, _ := strings.Cut(text, "/")
	if kind = kinds[before]; kind == "" || name == "" {
		return "", "", fmt.Errorf("%q: %w", text, ErrPrincipal)
	}
	return kind, name, nil
}

// AttachPolicy attaches a managed policy to a user, group or role, or with detach removes it from there. The policy is given by its ARN, or by its name among
// the account's and then among AWS's.
func AttachPolicy(ctx context.Context, opt Options, policy, to string, detach bool) error {
	kind, name, err := principal(to)
	if err != nil {
		return err
	}
	arn := policy
	if !strings.HasPrefix(policy, "arn:") {
		p, err := find(ctx, &opt.Server, policy, "Local", "AWS")
		if err != nil {
			return err
		}
		if p == nil {
			return fmt.Errorf("there is no policy %q", policy)
		}
		arn = p.Arn
	}
	verb := "Attach"
	if detach {
		verb = "Detach"
	}
	return opt.Server.IAM(ctx, verb+kind+"Policy", form("PolicyArn", arn, kind+"Name", name), nil)
}

// Question is a request that TestPolicy asks about.
type Question struct {
	Principal string // user/NAME, group/NAME, role/NAME or an ARN
	Action    string // dynamodb: is put before it if it has no service
	Resource  string // an ARN, "*", or table/NAME and whatever follows in the ARN of a table of the principal's account
	// Context are condition keys, each as KEY=VALUE. A key that is given more than once has several values.
	Context []string
}

// lists are the condition keys that have lists of values ("Actions, resources, and condition keys for Amazon DynamoDB").
var lists = []string{
	"dynamodb:leadingkeys", "dynamodb:firstpartitionkeyvalues", "dynamodb:secondpartitionkeyvalues", "dynamodb:thirdpartitionkeyvalues",
	"dynamodb:fourthpartitionkeyvalues", "dynamodb:attributes", "aws:tagkeys",
}

// parameters returns the parameters of SimulatePrincipalPolicy.
func (q *Question) parameters(arn, region string) (url.Values, error) {
	action, resource := q.Action, q.Resource
	if !strings.Contains(action, ":") {
		action = "dynamodb:" + action
	}
	if strings.HasPrefix(resource, "table/") {
		account := strings.Split(arn+"::::", ":")[4]
		resource = "arn:aws:dynamodb:" + region + ":" + account + ":" + resource
	}
	v := form("PolicySourceArn", arn, "ActionNames.member.1", action, "ResourceArns.member.1", resource)
	var names []string
	values := map[string][]string{}
	for _, pair := range q.Context {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("%q: give condition keys as KEY=VALUE", pair)
		}
		if !slices.Contains(names, key) {
			names = append(names, key)
		}
		values[key] = append(values[key], value)
	}
	for i, key := range names {
		prefix := fmt.Sprintf("ContextEntries.member.%d.", i+1)
		kind := "string"
		if len(values[key]) > 1 || slices.Contains(lists, strings.ToLower(key)) {
			kind = "stringList"
		}
		v.Set(prefix+"ContextKeyName", key)
		v.Set(prefix+"ContextKeyType", kind)
		for j, value := range values[key] {
			v.Set(fmt.Sprintf("%sContextKeyValues.member.%d", prefix, j+1), value)
		}
	}
	return v, nil
}

// ErrDenied means that a request would be denied.
var ErrDenied = errors.New("denied")

// TestPolicy asks the policy simulator whether a principal may do something. It prints which statements allow it; if it is denied, TestPolicy returns an
// ErrDenied that says why.
func TestPolicy(ctx context.Context, opt Options, q Question) error {
	arn := q.Principal
	if !strings.HasPrefix(arn, "arn:") {
		kind, name, err := principal(arn)
		if err != nil {
			return err
		}
		var out struct {
			User, Group, Role struct{ Arn string }
		}
		if err := opt.Server.IAM(ctx, "Get"+kind, form(kind+"Name", name), &out); err != nil {
			return err
		}
		arn = out.User.Arn + out.Group.Arn + out.Role.Arn
	}
	in, err := q.parameters(arn, opt.Server.Region)
	if err != nil {
		return err
	}
	var out struct {
		Results []struct {
			EvalDecision string
			Matched      []struct {
				SourcePolicyId string
				StartPosition  struct{ Line, Column int }
			} `xml:"MatchedStatements>member"`
			Missing  []string `xml:"MissingContextValues>member"`
			Boundary *struct {
				Allowed bool `xml:"AllowedByPermissionsBoundary"`
			} `xml:"PermissionsBoundaryDecisionDetail"`
		} `xml:"EvaluationResults>member"`
	}
	if err := opt.Server.IAM(ctx, "SimulatePrincipalPolicy", in, &out); err != nil {
		return err
	}
	if len(out.Results) != 1 {
		return fmt.Errorf("the server answers with %d results", len(out.Results))
	}
	r := &out.Results[0]
	var matched []string
	for _, m := range r.Matched {
		matched = append(matched, fmt.Sprintf("%s (line %d, column %d)", m.SourcePolicyId, m.StartPosition.Line, m.StartPosition.Column))
	}
	by := strings.Join(matched, ", ")
	missing := ""
	if len(r.Missing) > 0 {
		missing = "; conditions refer to keys that were not given: " + strings.Join(r.Missing, ", ")
	}
	switch {
	case r.EvalDecision == "allowed":
		_, err := fmt.Fprintf(opt.Out, "allowed by %s%s\n", by, missing)
		return err
	case r.EvalDecision == "explicitDeny":
		return fmt.Errorf("%w by %s%s", ErrDenied, by, missing)
	case r.Boundary != nil && !r.Boundary.Allowed:
		return fmt.Errorf("%w: the permissions boundary does not allow it%s", ErrDenied, missing)
	}
	return fmt.Errorf("%w: no policy allows it%s", ErrDenied, missing)
}
