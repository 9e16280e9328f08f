package ops

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/smithy"
)

const (
	maxPolicySize = 20480       // bytes ("PutResourcePolicy")
	noPolicy      = "NO_POLICY" // the ExpectedRevisionId that means: no policy yet
)

// AWS stores and compares resource policies in a canonical form, and validates them in other words than IAM its own policies.

// policyStatement is a statement of a policy, with its members in canonical order.
type policyStatement struct {
	Sid          string          `json:",omitempty"`
	Effect       string          `json:",omitempty"`
	Principal    json.RawMessage `json:",omitempty"`
	NotPrincipal json.RawMessage `json:",omitempty"`
	Action       json.RawMessage `json:",omitempty"`
	NotAction    json.RawMessage `json:",omitempty"`
	Resource     json.RawMessage `json:",omitempty"`
	NotResource  json.RawMessage `json:",omitempty"`
	Condition    json.RawMessage `json:",omitempty"`
}

// policyDocument is a policy, with its members in canonical order.
type policyDocument struct {
	Version   string
	ID        string `json:"Id,omitempty"`
	Statement []policyStatement
}

func invalidPolicy(problem string) error {
	return awserr.Invalid("Invalid policy document: " + problem)
}

// parsePolicy checks a policy's text and returns its canonical form.
func parsePolicy(text string, of resource) (string, error) {
	if len(text) > maxPolicySize {
		return "", awserr.Invalid(fmt.Sprintf("Maximum policy size of %d bytes exceeded", maxPolicySize))
	}
	p, err := readPolicy(text)
	if err != nil {
		return "", err
	}
	ids := map[string]bool{}
	for i := range p.Statement {
		st := &p.Statement[i]
		if st.Sid != "" && ids[st.Sid] {
			return "", invalidPolicy("The Statement Ids in the policy are not unique")
		}
		ids[st.Sid] = true
		if err := st.normalize(text, of); err != nil {
			return "", err
		}
	}
	for i := range p.Statement {
		if p.Statement[i].unbounded() {
			return "", awserr.ValidationError("Resource-based policy grants unbounded access in one or more elements. Please revise the policy to ensure least-privilege form of access")
		}
	}
	document := string(encoded(p))
	if _, err := policy.Parse(document, policy.OfResource); err != nil {
		return "", invalidPolicy(err.Error())
	}
	return document, nil
}

// readPolicy reads a policy whose statements are not checked yet.
func readPolicy(text string) (*policyDocument, error) {
	trimmed := strings.TrimSpace(text)
	if !json.Valid([]byte(trimmed)) || strings.HasPrefix(trimmed, "[") {
		return nil, invalidPolicy("This policy contains invalid Json")
	}
	if !strings.HasPrefix(trimmed, "{") {
		return nil, invalidPolicy("This text appears not to be a policy")
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(trimmed), &raw); err != nil || raw.Statement == nil {
		return nil, syntaxError(trimmed, len(trimmed))
	}
	p := &policyDocument{Version: raw.Version, ID: raw.ID}
	if p.Version == "" {
		p.Version = "2008-10-17"
	}
	if p.Version != "2012-10-17" && p.Version != "2008-10-17" {
		return nil, syntaxError(trimmed, strings.Index(trimmed, raw.Version)+len(raw.Version)+1)
	}
	list := []byte(raw.Statement)
	if list[0] == '{' {
		list = slices.Concat([]byte("["), list, []byte("]"))
	}
	if err := json.Unmarshal(list, &p.Statement); err != nil {
		return nil, syntaxError(trimmed, len(trimmed))
	}
	if len(p.Statement) == 0 {
		return nil, invalidPolicy("Could not parse the policy: Statement is empty!")
	}
	return p, nil
}

// syntaxError names the line and column behind n bytes of a policy's text.
func syntaxError(text string, n int) error {
	before := text[:n]
	line := 1 + strings.Count(before, "\n")
	column := n - strings.LastIndex(before, "\n")
	return invalidPolicy(fmt.Sprintf("Syntax error at position (%d,%d)", line, column))
}

// normalize checks a statement and brings it to its canonical form.
func (st *policyStatement) normalize(text string, of resource) error {
	switch strings.ToLower(st.Effect) {
	case "allow":
		st.Effect = "Allow"
	case "deny":
		st.Effect = "Deny"
	case "":
		return invalidPolicy("Missing required field Effect")
	default:
		return syntaxError(text, strings.Index(text, st.Effect)+len(st.Effect)+1)
	}
	for _, pair := range []struct {
		name     string
		one, not *json.RawMessage
	}{{"Principal", &st.Principal, &st.NotPrincipal}, {"Action", &st.Action, &st.NotAction}, {"Resource", &st.Resource, &st.NotResource}} {
		switch {
		case *pair.one == nil && *pair.not == nil:
			return invalidPolicy("Missing required field " + pair.name)
		case *pair.one != nil && *pair.not != nil:
			return invalidPolicy("Statement must contain only one of " + pair.name + " and Not" + pair.name)
		}
		for _, at := range []*json.RawMessage{pair.one, pair.not} {
			if *at == nil {
				continue
			}
			value, ok := canonical(*at, pair.name == "Principal")
			if !ok {
				return syntaxError(text, strings.Index(text, string(*at))+len(*at))
			}
			*at = value
		}
	}
	if st.Condition != nil {
		var compact bytes.Buffer
		if err := json.Compact(&compact, st.Condition); err != nil {
			return awserr.Internal(err)
		}
		st.Condition = compact.Bytes()
	}
	return checkActions(texts(slices.Concat(st.Action, st.NotAction)), of)
}

// canonical returns a principal, or a list of actions or resources, in canonical form: without repetitions, a single element instead of
// a list of one, and accounts as the ARNs of their roots. A principal is "*" or a map of lists.
func canonical(raw json.RawMessage, principal bool) (json.RawMessage, bool) {
	var kinds map[string]json.RawMessage
	if principal && json.Unmarshal(raw, &kinds) == nil {
		for kind, v := range kinds {
			value, ok := canonical(v, false)
			if !ok {
				return nil, false
			}
			kinds[kind] = value
		}
		return encoded(kinds), true
	}
	list := texts(raw)
	if list == nil || principal && list[0] != "*" {
		return nil, false
	}
	var unique []string
	for _, v := range list {
		if len(v) == 12 && strings.Trim(v, "0123456789") == "" {
			v = "arn:aws:iam::" + v + ":root"
		}
		if !slices.Contains(unique, v) {
			unique = append(unique, v)
		}
	}
	if len(unique) == 1 {
		return encoded(unique[0]), true
	}
	return encoded(unique), true
}

// encoded returns a value as JSON.
func encoded(v any) json.RawMessage {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // can't happen: it holds only maps, lists, strings, and JSON that was decoded
	}
	return bytes.TrimSpace(out.Bytes())
}

// texts reads a string or list of strings; nil for anything else, and for an empty list.
func texts(raw json.RawMessage) []string {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	var list []string
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return nil
	}
	return list
}

// streamActions are the actions on streams that policies can name.
var streamActions = []string{"dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:DescribeStream", "dynamodb:ListStreams"}

// checkActions rejects actions that the resource does not have.
func checkActions(actions []string, of resource) error {
	var wrong []string
	for _, a := range actions {
		onStream := slices.Contains(streamActions, a)
		if service, _, _ := strings.Cut(a, ":"); a != "*" && !strings.EqualFold(service, "dynamodb") || onStream && of.kind != kindStream {
			wrong = append(wrong, strconv.Quote(a))
		}
	}
	if wrong != nil {
		return invalidPolicy("The following action names are invalid: " + strings.Join(wrong, ", "))
	}
	return nil
}

// principals returns the AWS principals of a statement; "*" is everybody.
func (st *policyStatement) principals() []string {
	var kinds map[string]json.RawMessage
	if json.Unmarshal(st.Principal, &kinds) == nil {
		return texts(kinds["AWS"])
	}
	return texts(st.Principal)
}

// unbounded reports whether a statement allows something to everybody.
func (st *policyStatement) unbounded() bool {
	return st.Effect == "Allow" && st.Condition == nil && slices.Contains(st.principals(), "*")
}

// checkLockout rejects a policy, in canonical form, that denies the caller further changes of it.
func checkLockout(req *Request, of *resource, document string) error {
	compiled, err := policy.Parse(document, policy.OfResource)
	if err != nil {
		return awserr.Internal(err) // parsePolicy has parsed it
	}
	q := access.Question{Call: req.Call, Action: "dynamodb:PutResourcePolicy", Resource: of.ARN(), Owner: of.Account, Policy: compiled}
	if access.PolicyAlone(&q) == policy.Deny {
		return awserr.New(awserr.AccessDenied, "The new resource policy will not allow you to update the resource policy in the future.")
	}
	return nil
}

func policyNotFound(what string) error {
	return awserr.New(awserr.PolicyNotFound, "Resource-based policy not found for the provided ResourceArn: "+what)
}

// withPolicy resolves the ARN of a resource with a policy.
func (s *Service) withPolicy(req *Request, arn string) (resource, error) {
	return s.tableOrStream(req, arn, asks{}, func(r resource) error {
		if r.Account != req.Caller.Account {
			return awserr.ValidationError("This action is only supported by accounts that match the resource owner’s account.")
		}
		return awserr.Invalid("Invalid resource Arn: " + arn)
	})
}

// policyOf returns where the policy of a table, or of its stream, is stored.
func policyOf(t *catalog.Table, r resource) (**catalog.Policy, error) {
	switch {
	case r.kind != kindStream:
		return &t.Policy, nil
	case t.Stream.Active() && t.Stream.Label == r.name:
		return &t.Stream.Policy, nil
	}
	return nil, awserr.New(awserr.ResourceNotFound, "Requested resource not found: Stream: "+r.name+" not found for Table: "+r.table)
}

// changePolicy changes the policy of the resource with an ARN. document is the new policy; "" deletes it. It returns the policy
// before and after the change. A deleted policy has no document.
func (s *Service) changePolicy(ctx context.Context, req *Request, arn, document string, expected smithy.Opt[string]) (before, after *catalog.Policy, err error) {
	r, err := s.withPolicy(req, arn)
	if err != nil {
		return nil, nil, err
	}
	t, err := s.Tables.Catalog.Change(ctx, r.Namespace, r.table, func(t *catalog.Table) error {
		switch s.phaseOf(t) {
		case phaseCreating:
			return awserr.TableBusy("created", t.Name)
		case phaseUnknown:
			return awserr.TableNotFound(t.Name)
		}
		at, err := policyOf(t, r)
		if err != nil {
			return err
		}
		before, after = *at, *at
		if err := expectRevision(t, *at, expected); err != nil {
			return err
		}
		old := ""
		if before.Exists() {
			old = before.Document
		}
		if document == old {
			return nil
		}
		after, err = s.nextPolicy(t, r, before, document)
		*at = after
		return err
	})
	if err == nil && t == nil {
		err = awserr.TableNotFound(r.table)
	}
	return before, after, clientError(err)
}

// nextPolicy returns the policy that follows another one; its revision is the time of the change in milliseconds, but always grows.
func (s *Service) nextPolicy(t *catalog.Table, r resource, before *catalog.Policy, document string) (*catalog.Policy, error) {
	now := s.Now()
	if now.UnixMilli() < t.PolicyBusyUntil {
		return nil, awserr.StillInUse("Table is pending previous resource-based policy update: " + t.Name)
	}
	revision := now.UnixMilli()
	if before != nil {
		// Revisions of old versions of Stator are no times. They are larger than any.
		if last, err := strconv.ParseInt(before.Revision, 10, 64); err == nil {
			what := "Resource-based policy for table " + t.Name
			if r.kind == kindStream {
				what = "Resource-based policy for stream " + r.name
			}
			if last <= revision && s.TransientStatus > 0 { // otherwise a change has settled at once
				if err := s.settling(what, last, now, "."); err != nil {
					return nil, err
				}
			}
			if len(before.Revision) == len(strconv.FormatInt(revision, 10)) {
				revision = max(revision, last+1)
			}
		}
	}
	t.PolicyBusyUntil = now.Add(min(s.TransientStatus, time.Second)).UnixMilli()
	return &catalog.Policy{Document: document, Revision: strconv.FormatInt(revision, 10)}, nil
}

// expectRevision returns AWS's error if the policy does not have the revision that a request expects.
func expectRevision(t *catalog.Table, p *catalog.Policy, expected smithy.Opt[string]) error {
	const request = "Requested update for policy with revision id "
	want := expected.Value
	switch {
	case !expected.Set || p.Exists() && want == p.Revision || !p.Exists() && want == noPolicy:
		return nil
	case p == nil:
		return policyNotFound(request + want + ", but table " + t.Name + " has no associated policy.")
	case want == noPolicy:
		return policyNotFound("Requested policy update expecting none to be present for table " + t.Name + ", but a policy exists with revision id " + p.Revision + ".")
	}
	return policyNotFound(request + want + ", but the policy associated to target table " + t.Name + " has revision id " + p.Revision + ".")
}
