package iam

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/smithy"
)

// Bounds of a simulation: work grows with each of them. AWS has none that are published.
const (
	maxSimulated       = 1000    // pairs of actions and resources
	maxSimulatedPolicy = 1 << 17 // characters of all policies in a request together
)

// simulation is a request to the policy simulator.
type simulation struct {
	principal *policy.Principal
	identity  *policy.Identity // without its policies, which are in set
	set       policy.Set
	sources   [][2]string // id and type of each policy in set.Identity, as answers have them
	context   keys
	owner     string // account of the resources
	actions   []string
	resources []string
}

// source adds a policy to a simulation.
func (m *simulation) source(id, kind string, d *policy.Document) {
	m.set.Identity = append(m.set.Identity, d)
	m.sources = append(m.sources, [2]string{id, kind})
}

// grants adds the policies of a user, group or role.
func (m *simulation) grants(s *Service, account, word, name string, g *grants) error {
	for _, policyName := range slices.Sorted(maps.Keys(g.Inline)) {
		d, err := g.Inline[policyName].compile(policy.OfIdentity)
		if err != nil {
			return err
		}
		m.source(word+"_"+name+"_"+policyName, word, d)
	}
	for _, arn := range g.Attached {
		p := s.lookup(account, arn)
		if p == nil {
			return noPolicy(arn)
		}
		d, err := p.inForce().Text.compile(policy.OfIdentity)
		if err != nil {
			return err
		}
		kind := "user-managed"
		if p.Account == awsAccount {
			kind = "aws-managed"
		}
		m.source(p.Name, kind, d)
	}
	return nil
}

// parseList compiles the policies that a request brings, and names their places in it.
func parseList(texts []string, add func(place string, d *policy.Document)) error {
	for i, text := range texts {
		d, err := policy.Parse(text, policy.OfIdentity)
		if err != nil {
			return malformedInput(err)
		}
		add("PolicyInputList."+strconv.Itoa(i+1), d)
	}
	return nil
}

// malformedInput is AWS's error for a policy in a simulation that is malformed.
func malformedInput(err error) error {
	if e, ok := malformed(err).(*awserr.Error); ok {
		return awserr.New(invalidInput, e.Message)
	}
	return err
}

// request completes a simulation by what both operations have in common.
func (m *simulation) request(boundaries []string, resourcePolicy, owner, caller smithy.Opt[string], entries []api.ContextEntry) error {
	for i, text := range boundaries {
		if i > 0 {
			return awserr.New(invalidInput, "A simulation can have at most one permissions boundary.")
		}
		d, err := policy.Parse(text, policy.OfIdentity)
		if err != nil {
			return malformedInput(err)
		}
		m.set.Boundary = d
	}
	if resourcePolicy.Set {
		if !caller.Set && m.principal.ARN == "" {
			return awserr.New(invalidInput, "CallerArn is required with a ResourcePolicy.")
		}
		d, err := policy.Parse(resourcePolicy.Value, policy.OfResource)
		if err != nil {
			return malformedInput(err)
		}
		m.set.Resource = d
	}
	if caller.Set {
		r, ok := parseARN(caller.Value)
		if !ok || r.kind != "user" {
			return awserr.New(invalidInput, "CallerArn must be the ARN of a user: "+caller.Value)
		}
		m.principal = &policy.Principal{Account: r.account, ARN: caller.Value}
	}
	m.owner = owner.Or(m.owner)
	if r, ok := parseARN(m.owner); ok {
		m.owner = r.account
	}
	m.context = keys{}
	if m.identity.ARN != "" {
		m.context.caller(m.identity)
	}
	for _, e := range entries {
		m.context[strings.ToLower(e.ContextKeyName.Value)] = policy.Values{List: e.ContextKeyValues, Multiple: strings.HasSuffix(e.ContextKeyType.Value, "List")}
	}
	return nil
}

// caller adds the condition keys about a principal, which a simulation knows without being told.
func (k keys) caller(id *policy.Identity) {
	k.one("aws:principalarn", id.ARN).one("aws:principalaccount", id.Account).one("aws:principaltype", id.Type).one("aws:userid", id.UserID)
	if id.UserName != "" {
		k.one("aws:username", id.UserName)
	}
	for key, value := range id.Tags {
		k.one("aws:principaltag/"+strings.ToLower(key), value)
	}
}

// run simulates each action on each resource, and returns a page of the results.
func (m *simulation) run(marker smithy.Opt[string], size smithy.Opt[int64]) (*api.SimulatePolicyResponse, error) {
	if len(m.resources) == 0 {
		m.resources = []string{"*"}
	}
	if len(m.actions)*len(m.resources) > maxSimulated {
		return nil, awserr.New(invalidInput, "A simulation can have at most 1000 pairs of actions and resources.")
	}
	places := make([]int, 0, len(m.actions)*len(m.resources))
	for i := range cap(places) {
		places = append(places, i)
	}
	list, next, err := page(places, func(i int) string { return strconv.Itoa(maxSimulated + i) }, marker, size)
	return &api.SimulatePolicyResponse{
		EvaluationResults: mapped(list, func(i int) api.EvaluationResult {
			return m.evaluate(m.actions[i/len(m.resources)], m.resources[i%len(m.resources)])
		}),
		Marker: next, IsTruncated: smithy.Some(next.Set),
	}, err
}

// evaluate simulates one request.
func (m *simulation) evaluate(action, resource string) api.EvaluationResult {
	owner := m.owner
	if parts := strings.SplitN(resource, ":", 6); len(parts) == 6 && len(parts[4]) == accountLength {
		owner = parts[4]
	}
	got := policy.Simulate(&policy.Request{Principal: m.principal, Action: action, Resource: resource, Owner: owner, Context: m.context}, m.identity, m.set)
	out := api.EvaluationResult{
		EvalActionName: smithy.Some(action), EvalResourceName: smithy.Some(resource), EvalDecision: smithy.Some(got.String()),
		MatchedStatements: []api.Statement{}, MissingContextValues: mapped(got.Missing, itself),
	}
	if m.set.Boundary != nil {
		out.PermissionsBoundaryDecisionDetail = &api.PermissionsBoundaryDecisionDetail{AllowedByPermissionsBoundary: smithy.Some(got.ByBoundary)}
	}
	for _, match := range got.Matched {
		from := [2]string{"PermissionsBoundaryPolicyInputList.1", "none"}
		switch match.Source {
		case policy.FromIdentity:
			from = m.sources[match.Index]
		case policy.FromResource:
			from = [2]string{"ResourcePolicy", "resource"}
		}
		out.MatchedStatements = append(out.MatchedStatements, api.Statement{
			SourcePolicyId: smithy.Some(from[0]), SourcePolicyType: smithy.Some(from[1]), StartPosition: position(match.Start), EndPosition: position(match.End),
		})
	}
	return out
}

func position(p policy.Position) *api.Position {
	return &api.Position{Line: smithy.Some(int64(p.Line)), Column: smithy.Some(int64(p.Column))}
}

// simulatable fails if a simulation's policies are longer than the server is willing to parse.
func simulatable(lists ...[]string) error {
	total := 0
	for _, list := range lists {
		for _, text := range list {
			total += len(text)
		}
	}
	if total > maxSimulatedPolicy {
		return awserr.New(invalidInput, "The policies of a simulation can have at most 131072 characters together.")
	}
	return nil
}

func (s *Service) simulateCustomPolicy(_ context.Context, call *smithy.Call, in *api.SimulateCustomPolicyRequest) (*api.SimulatePolicyResponse, error) {
	if err := s.authorize(call, "*", nil); err != nil {
		return nil, err
	}
	if err := simulatable(in.PolicyInputList, in.PermissionsBoundaryPolicyInputList, []string{in.ResourcePolicy.Value}); err != nil {
		return nil, err
	}
	if len(in.OrderedOrganizationPolicyInputList) > 0 {
		return nil, awserr.New(invalidInput, "This server has no organizations: OrderedOrganizationPolicyInputList is not supported.")
	}
	account := s.Caller(call).Account
	m := &simulation{principal: &policy.Principal{Account: account}, identity: &policy.Identity{Type: typeUser}, owner: account, actions: in.ActionNames, resources: in.ResourceArns}
	if err := parseList(in.PolicyInputList, func(place string, d *policy.Document) { m.source(place, "none", d) }); err != nil {
		return nil, err
	}
	if err := m.request(in.PermissionsBoundaryPolicyInputList, in.ResourcePolicy, in.ResourceOwner, in.CallerArn, in.ContextEntries); err != nil {
		return nil, err
	}
	return m.run(in.Marker, in.MaxItems)
}

func (s *Service) simulatePrincipalPolicy(_ context.Context, call *smithy.Call, in *api.SimulatePrincipalPolicyRequest) (*api.SimulatePolicyResponse, error) {
	arn := in.PolicySourceArn.Value
	if err := s.authorize(call, arn, nil); err != nil {
		return nil, err
	}
	if err := simulatable(in.PolicyInputList, in.PermissionsBoundaryPolicyInputList, []string{in.ResourcePolicy.Value}); err != nil {
		return nil, err
	}
	if len(in.PolicyExclusionList) > 0 {
		return nil, awserr.New(invalidInput, "This server does not support PolicyExclusionList.")
	}
	account := s.Caller(call).Account
	m := &simulation{owner: account, actions: in.ActionNames, resources: in.ResourceArns}
	boundary, err := s.simulated(m, account, arn)
	if err != nil {
		return nil, err
	}
	if boundary != "" && len(in.PermissionsBoundaryPolicyInputList) == 0 {
		if err := s.limited(&m.set, account, boundary); err != nil {
			return nil, err
		}
	}
	if err := parseList(in.PolicyInputList, func(place string, d *policy.Document) { m.source(place, "none", d) }); err != nil {
		return nil, err
	}
	if err := m.request(in.PermissionsBoundaryPolicyInputList, in.ResourcePolicy, in.ResourceOwner, in.CallerArn, in.ContextEntries); err != nil {
		return nil, err
	}
	return m.run(in.Marker, in.MaxItems)
}

// simulated adds to a simulation the principal that an ARN names, a user, group or role, with its policies. It returns the principal's boundary.
func (s *Service) simulated(m *simulation, account, arn string) (boundary string, err error) {
	r, ok := parseARN(arn)
	if !ok || r.account != account || r.service != "iam" {
		return "", awserr.New(invalidInput, "Invalid Entity Arn: "+arn+" does not clearly define entity type and name.")
	}
	missing := awserr.New(noSuchEntity, "The principal "+arn+" cannot be found.")
	m.principal, m.identity = &policy.Principal{Account: account, ARN: arn}, &policy.Identity{Type: typeUser}
	switch r.kind {
	case "user":
		u := s.users.find(account, r.name)
		if u == nil || u.Path != r.path {
			return "", missing
		}
		m.identity = &policy.Identity{Principal: *m.principal, Type: typeUser, UserID: u.ID, UserName: u.Name, Tags: tagMap(u.Tags)}
		if err := m.grants(s, account, "user", u.Name, &u.grants); err != nil {
			return "", err
		}
		for _, g := range s.groupsOf(u) {
			if err := m.grants(s, account, "group", g.Name, &g.grants); err != nil {
				return "", err
			}
		}
		return u.Boundary, nil
	case "group":
		g := s.groups.find(account, r.name)
		if g == nil || g.Path != r.path {
			return "", missing
		}
		return "", m.grants(s, account, "group", g.Name, &g.grants)
	case "role":
		v := s.roles.find(account, r.name)
		if v == nil || v.Path != r.path {
			return "", missing
		}
		if m.identity, err = s.roleIdentity(v, v.Name); err != nil {
			return "", err
		}
		m.principal = &m.identity.Principal
		return v.Boundary, m.grants(s, account, "role", v.Name, &v.grants)
	}
	return "", awserr.New(invalidInput, "Invalid Entity Arn: "+arn+" does not clearly define entity type and name.")
}
