package iam

import (
	"context"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/stsapi"
	"github.com/statordb/stator/internal/smithy"
)

// Durations of sessions, in seconds ("AssumeRole", "GetSessionToken", "GetFederationToken").
const (
	defaultRoleSession = 3600
	maxChainedSession  = 3600 // of a role that a role's session assumes
	defaultUserSession = 43200
	maxRootSession     = 3600
)

// Bounds of a request's session policies ("AssumeRole").
const (
	maxSessionPolicy   = 2048 // characters
	maxSessionPolicies = 10   // managed ones
)

// errMFA refuses codes of devices: users have none here.
var errMFA = awserr.New(awserr.AccessDenied, "MultiFactorAuthentication failed, unable to validate MFA code. Please verify your MFA serial number is valid and associated with this user.")

// errTooLong is AWS's error for a session that is longer than its role allows.
var errTooLong = invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")

// getCallerIdentity needs no permission, and no policy can deny it.
func (s *Service) getCallerIdentity(_ context.Context, call *smithy.Call, _ *stsapi.GetCallerIdentityRequest) (*stsapi.GetCallerIdentityResponse, error) {
	id := s.Caller(call)
	return &stsapi.GetCallerIdentityResponse{UserId: smithy.Some(id.UserID), Account: smithy.Some(id.Account), Arn: smithy.Some(id.ARN)}, nil
}

// getAccessKeyInfo returns the account in an access key's id, whether or not there is such a key, as AWS does.
func (s *Service) getAccessKeyInfo(_ context.Context, call *smithy.Call, in *stsapi.GetAccessKeyInfoRequest) (*stsapi.GetAccessKeyInfoResponse, error) {
	if err := s.authorizeAction(call, "sts:"+call.Operation, "*", nil); err != nil {
		return nil, err
	}
	account := KeyAccount(in.AccessKeyId.Value)
	if account == "" {
		return nil, invalid("Invalid access key: %s", in.AccessKeyId.Value)
	}
	return &stsapi.GetAccessKeyInfoResponse{Account: smithy.Some(account)}, nil
}

// limit adds a request's session policies to a session of an account, and returns the share of a token's room that they and the session's tags
// take, in percent.
func (s *Service) limit(v *session, text smithy.Opt[string], arns []stsapi.PolicyDescriptorType) (packed smithy.Opt[int64], err error) {
	if text.Set {
		if _, err := parsePolicy(text.Value, policy.OfIdentity); err != nil {
			return packed, err
		}
		v.Limited, v.Policies = true, []string{text.Value}
	}
	if len(arns) > maxSessionPolicies {
		return packed, invalid("A session can have at most %d managed session policies.", maxSessionPolicies)
	}
	total := smithy.Length(text.Value)
	for _, p := range arns {
		if s.lookup(v.Account, p.Arn.Value) == nil {
			return packed, invalid("The session policy %s does not exist.", p.Arn.Value)
		}
		v.Limited, v.ARNs = true, append(v.ARNs, p.Arn.Value)
		total += smithy.Length(p.Arn.Value)
	}
	if total > maxSessionPolicy {
		return packed, errPacked
	}
	return v.packed()
}

func sessionTag(t stsapi.Tag) tag { return tag{t.Key.Value, t.Value.Value} }

// context returns the condition keys of a request: the operation's and the global ones.
func (s *Service) context(call *smithy.Call, own keys) policy.Context {
	if s.Context == nil {
		return own
	}
	return s.Context(call, own)
}

// trusted fails unless a role lets the caller take an action of AssumeRole. Without a role the answer is the same, so that it does not reveal which
// roles exist. On a server without credentials every caller may do everything.
func (s *Service) trusted(call *smithy.Call, r *role, arn, action string, own keys) error {
	id := s.Caller(call)
	refused := denied(id, action, arn, "")
	switch {
	case r == nil:
		return refused
	case !call.Caller.Verified:
		return nil
	}
	trust, err := r.Trust.compile(policy.OfTrust)
	if err != nil {
		return err
	}
	set := id.Policies
	set.Resource = trust
	request := &policy.Request{Principal: &id.Principal, Action: action, Resource: arn, Owner: r.Account, Context: s.context(call, own)}
	if !policy.DecideTrust(request, id, set).Allowed {
		return refused
	}
	return nil
}

// roleByARN returns the role with an ARN, of any account, or nil. Its error is for a text that is no role's ARN.
func (s *Service) roleByARN(arn string) (*role, error) {
	ref, ok := parseARN(arn)
	if !ok || ref.service != "iam" || ref.kind != "role" {
		return nil, invalid("%s is invalid", arn)
	}
	if r := s.roles.find(ref.account, ref.name); r != nil && r.Path == ref.path {
		return r, nil
	}
	return nil, nil
}

func (s *Service) assumeRole(_ context.Context, call *smithy.Call, in *stsapi.AssumeRoleRequest) (*stsapi.AssumeRoleResponse, error) {
	arn, id := in.RoleArn.Value, s.Caller(call)
	tags, err := newTags(in.Tags, sessionTag)
	if err != nil {
		return nil, err
	}
	r, err := s.roleByARN(arn)
	switch {
	case err != nil:
		return nil, err
	case id.Type == typeFederated:
		return nil, denied(id, "sts:AssumeRole", arn, "because its session can't call this operation")
	case id.Type == typeAccount && call.Caller.Verified:
		return nil, awserr.New(awserr.AccessDenied, "Roles may not be assumed by root accounts.")
	case in.SerialNumber.Set || in.TokenCode.Set:
		return nil, errMFA
	case len(in.ProvidedContexts) > 0:
		return nil, invalid("This server does not support ProvidedContexts.")
	}
	source := in.SourceIdentity.Value
	if id.SourceIdentity != "" && source != "" && source != id.SourceIdentity {
		return nil, denied(id, "sts:SetSourceIdentity", arn, "because its source identity is set")
	}
	if source == "" {
		source = id.SourceIdentity
	}
	given := tags // AWS inherits tags without asking for the permission to set them
	if tags, err = inherit(id, tags); err != nil {
		return nil, err
	}
	own := keys{}.one("sts:rolesessionname", in.RoleSessionName.Value).requestTags(tags)
	if in.ExternalId.Set {
		own.one("sts:externalid", in.ExternalId.Value)
	}
	if source != "" {
		own.one("sts:sourceidentity", source)
	}
	if len(in.TransitiveTagKeys) > 0 {
		own["sts:transitivetagkeys"] = policy.Values{List: in.TransitiveTagKeys, Multiple: true}
	}
	if r != nil {
		own.resourceTags(r.Tags)
	}
	actions := []string{"sts:AssumeRole"}
	if len(given) > 0 || len(in.TransitiveTagKeys) > 0 {
		actions = append(actions, "sts:TagSession")
	}
	if source != "" {
		actions = append(actions, "sts:SetSourceIdentity")
	}
	for _, action := range actions {
		if err := s.trusted(call, r, arn, action, own); err != nil {
			return nil, err
		}
	}
	duration := in.DurationSeconds.Or(defaultRoleSession)
	switch {
	case duration > r.MaxSession:
		return nil, errTooLong
	case id.Type == typeRole && duration > maxChainedSession:
		return nil, invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.")
	}
	v := newRoleSession(r, in.RoleSessionName.Value)
	v.Tags, v.Source = tags, source
	if v.Transitive, err = transitive(id, given, in.TransitiveTagKeys); err != nil {
		return nil, err
	}
	packed, err := s.limit(v, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	credentials, err := s.issue(v, duration)
	out := &stsapi.AssumeRoleResponse{Credentials: credentials, AssumedRoleUser: v.assumed(), PackedPolicySize: packed}
	if source != "" {
		out.SourceIdentity = smithy.Some(source)
	}
	return out, err
}

// newRoleSession returns a session of a role.
func newRoleSession(r *role, name string) *session {
	return &session{Type: typeRole, Account: r.Account, Owner: r.Name, OwnerID: r.ID, Name: name}
}

// assumed returns a role's session as answers have it.
func (v *session) assumed() *stsapi.AssumedRoleUser {
	return &stsapi.AssumedRoleUser{
		Arn: smithy.Some(sessionARN(v.Account, "assumed-role", v.Owner+"/"+v.Name)), AssumedRoleId: smithy.Some(v.OwnerID + ":" + v.Name),
	}
}

// inherit adds the transitive tags of the caller's session to a session's tags, which can't override them ("Pass session tags in AWS STS").
func inherit(id *policy.Identity, tags []tag) ([]tag, error) {
	var inherited []tag
	for _, key := range id.TransitiveTags {
		if slices.ContainsFunc(tags, func(t tag) bool { return strings.EqualFold(t.Key, key) }) {
			return nil, awserr.New(awserr.Validation, "The tag "+key+" is transitive in the session that assumes the role, and can't be set anew.")
		}
		if value, ok := id.Tags[key]; ok {
			inherited = append(inherited, tag{key, value})
		}
	}
	return withTags(tags, inherited), nil
}

// transitive returns the keys of a session's tags that its sessions inherit in turn.
func transitive(id *policy.Identity, tags []tag, names []string) ([]string, error) {
	out := slices.Clone(id.TransitiveTags)
	for _, name := range names {
		i := slices.IndexFunc(tags, func(t tag) bool { return strings.EqualFold(t.Key, name) })
		if i < 0 {
			return nil, invalid("The transitive tag key %s is not among the session tags.", name)
		}
		out = append(out, tags[i].Key)
	}
	return out, nil
}

// userSession returns a session of the caller, a user or root, for GetSessionToken and GetFederationToken. duration is in seconds.
func (s *Service) userSession(call *smithy.Call, given smithy.Opt[int64]) (v *session, duration int64, err error) {
	id := s.Caller(call)
	if !id.Issued.IsZero() || id.Type != typeUser && id.Type != typeAccount {
		return nil, 0, awserr.New(awserr.AccessDenied, "Cannot call "+call.Operation+" with session credentials")
	}
	v = &session{Account: id.Account}
	duration = given.Or(defaultUserSession)
	if id.Type == typeAccount {
		return v, min(duration, maxRootSession), nil
	}
	u := s.users.find(id.Account, id.UserName)
	if u == nil {
		return nil, 0, errUnrecognized
	}
	v.Owner, v.OwnerID = u.Name, u.ID
	return v, duration, nil
}

// getSessionToken needs no permission: it can't be controlled by policies ("GetSessionToken").
func (s *Service) getSessionToken(_ context.Context, call *smithy.Call, in *stsapi.GetSessionTokenRequest) (*stsapi.GetSessionTokenResponse, error) {
	if in.SerialNumber.Set || in.TokenCode.Set {
		return nil, errMFA
	}
	v, duration, err := s.userSession(call, in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	v.Type = s.Caller(call).Type
	credentials, err := s.issue(v, duration)
	return &stsapi.GetSessionTokenResponse{Credentials: credentials}, err
}

func (s *Service) getFederationToken(_ context.Context, call *smithy.Call, in *stsapi.GetFederationTokenRequest) (*stsapi.GetFederationTokenResponse, error) {
	id := s.Caller(call)
	tags, err := newTags(in.Tags, sessionTag)
	if err != nil {
		return nil, err
	}
	arn := sessionARN(id.Account, "federated-user", in.Name.Value)
	with := keys{}.requestTags(tags)
	if err := s.authorizeAction(call, "sts:GetFederationToken", arn, with); err != nil {
		return nil, err
	}
	if len(tags) > 0 {
		if err := s.authorizeAction(call, "sts:TagSession", arn, with); err != nil {
			return nil, err
		}
	}
	v, duration, err := s.userSession(call, in.DurationSeconds)
	if err != nil {
		return nil, err
	}
	v.Type, v.Name, v.Tags, v.Limited = typeFederated, in.Name.Value, tags, true
	packed, err := s.limit(v, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	credentials, err := s.issue(v, duration)
	return &stsapi.GetFederationTokenResponse{
		Credentials: credentials, PackedPolicySize: packed,
		FederatedUser: &stsapi.FederatedUser{Arn: smithy.Some(arn), FederatedUserId: smithy.Some(v.Account + ":" + v.Name)},
	}, err
}
