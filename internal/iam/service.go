// Package iam is AWS's Identity and Access Management and its Security Token Service: the records of principals and policies, the operations
// that change them, and the identities that requests are authorized by.
//
// It evaluates no request of other services: package access does, by the identities that Credential returns. Records are kept by package
// registry, so that all servers of a store know them. Every invariant between two records (a policy that is attached can't be deleted) is kept
// by counts or names in both of them, which one transaction changes.
//
//	records.go     the records; ids.go their ids and ARNs
//	entities.go    what users, groups, roles, policies and instance profiles have in common; pages of lists
//	users.go …     the operations of each kind; inline.go, attachments.go, tags.go those of several kinds
//	managed.go     managed policies; awspolicies.go those of AWS
//	secrets.go     encryption of what is secret
//	token.go       session tokens; sts.go and webidentity.go the operations that make them
//	credential.go  who a request comes from
//	simulate.go    the policy simulator
//	apply.go       records that files declare; declaration.go which files were applied last
//
// Sources: IAM's and STS's API References, "IAM and AWS STS quotas".
package iam

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/iam/stsapi"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// Options configure a Service.
type Options struct {
	Records registry.Storage
	Now     func() time.Time
	// Secrets encrypt access keys and session tokens. Without one, operations that make them are refused.
	Secrets Keyring
	// Caller returns the sender of a request, never nil. The root of an account has the type Account.
	Caller func(call *smithy.Call) *policy.Identity
	// Authorize returns nil if the sender of a request may take an action on a resource, which is an ARN or "*", and AWS's
	// AccessDeniedException otherwise. context has the action's own condition keys.
	Authorize func(call *smithy.Call, action, resource string, context policy.Context) *awserr.Error
	// Context adds the condition keys that every request has (aws:SourceIp, aws:CurrentTime, …) to an action's own, for the evaluation of
	// trust policies; nil adds none.
	Context func(call *smithy.Call, own policy.Context) policy.Context
	// OpenID are the OpenID Connect providers whose tokens AssumeRoleWithWebIdentity accepts at first; SetIssuers replaces them.
	OpenID []Issuer
	// HTTP reads the keys of providers; nil for a client with a timeout.
	HTTP   *http.Client
	Logger *slog.Logger // may be nil
}

// Service executes the operations of IAM and STS, and knows the identities behind access keys.
type Service struct {
	Options

	users    *kind[user, *user]
	groups   *kind[group, *group]
	roles    *kind[role, *role]
	policies *kind[managed, *managed]
	profiles *kind[profile, *profile]
	keys     *registry.Set[accessKey]
	uses     *registry.Set[keyUse]
	checks   *registry.Set[secretsCheck]
	applied  *registry.Set[applied]

	secrets atomic.Pointer[ring]
	issuers atomic.Pointer[[]*issuer]
	known   atomic.Pointer[generation] // what Credential has found out

	used sync.Map // keyUse of each access key since the start of the server, by id
}

// New returns a Service with the records that the store has.
func New(ctx context.Context, opt Options) (*Service, error) {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{Options: opt}
	if err := s.SetSecrets(opt.Secrets); err != nil {
		return nil, err
	}
	var errs [10]error
	s.users, errs[0] = openKind[user](ctx, opt.Records, registry.IAMUsers, "user", "user")
	s.groups, errs[1] = openKind[group](ctx, opt.Records, registry.IAMGroups, "group", "group")
	s.roles, errs[2] = openKind[role](ctx, opt.Records, registry.IAMRoles, "role", "role")
	s.policies, errs[3] = openKind[managed](ctx, opt.Records, registry.IAMPolicies, "policy", "policy")
	s.profiles, errs[4] = openKind[profile](ctx, opt.Records, registry.IAMProfiles, "instance-profile", "Instance Profile")
	s.keys, errs[5] = registry.Open[accessKey](ctx, opt.Records, registry.IAMAccessKeys)
	s.uses, errs[6] = registry.Open[keyUse](ctx, opt.Records, registry.IAMKeyUses)
	s.checks, errs[7] = registry.Open[secretsCheck](ctx, opt.Records, registry.IAMSecrets)
	s.applied, errs[8] = registry.Open[applied](ctx, opt.Records, registry.IAMApplied)
	errs[9] = s.SetIssuers(opt.OpenID)
	return s, errors.Join(errs[:]...)
}

// Codes of IAM's and STS's errors.
const (
	noSuchEntity    awserr.Code = "NoSuchEntity"
	alreadyExists   awserr.Code = "EntityAlreadyExists"
	deleteConflict  awserr.Code = "DeleteConflict"
	limitExceeded   awserr.Code = "LimitExceeded"
	malformedPolicy awserr.Code = "MalformedPolicyDocument"
	invalidInput    awserr.Code = "InvalidInput"
	unmodifiable    awserr.Code = "UnmodifiableEntity"
	notAttachable   awserr.Code = "PolicyNotAttachable"
	packedTooLarge  awserr.Code = "PackedPolicyTooLarge"
	expiredToken    awserr.Code = "ExpiredTokenException" // of a request's session
	expiredIdentity awserr.Code = "ExpiredWebIdentity"
	invalidIdentity awserr.Code = "InvalidIdentityToken"
	providerProblem awserr.Code = "IDPCommunicationError"
)

// common are the errors that IAM and STS present alike ("Common Errors").
var common = map[awserr.Code]protocol.ErrorInfo{
	noSuchEntity:                      {Status: http.StatusNotFound},
	alreadyExists:                     {Status: http.StatusConflict},
	deleteConflict:                    {Status: http.StatusConflict},
	limitExceeded:                     {Status: http.StatusConflict},
	expiredIdentity:                   {QueryCode: "ExpiredTokenException"},
	awserr.AccessDenied:               {QueryCode: "AccessDenied", Status: http.StatusForbidden},
	awserr.UnrecognizedClient:         {QueryCode: "InvalidClientTokenId", Status: http.StatusForbidden},
	awserr.InvalidSignature:           {QueryCode: "SignatureDoesNotMatch", Status: http.StatusForbidden},
	awserr.MissingAuthenticationToken: {QueryCode: "MissingAuthenticationToken", Status: http.StatusForbidden},
	awserr.IncompleteSignature:        {QueryCode: "IncompleteSignature"},
	expiredToken:                      {QueryCode: "ExpiredToken", Status: http.StatusForbidden},
	awserr.Validation:                 {QueryCode: "ValidationError"},
	awserr.Serialization:              {QueryCode: "MalformedInput"},
	awserr.Throttling:                 {QueryCode: "Throttling"},
	awserr.InternalServerError:        {QueryCode: "ServiceFailure", Status: http.StatusInternalServerError},
}

// API describes IAM to package httpd.
var API = &protocol.Service{
	Name:         "IAM",
	SigningName:  "iam",
	Version:      "2010-05-08",
	XMLNamespace: "https://iam.amazonaws.com/doc/2010-05-08/",
	Schema:       &api.Schema,
	Errors:       common,
}

// STS describes the Security Token Service to package httpd.
var STS = &protocol.Service{
	Name:         "STS",
	SigningName:  "sts",
	Version:      "2011-06-15",
	XMLNamespace: "https://sts.amazonaws.com/doc/2011-06-15/",
	Schema:       &stsapi.Schema,
	Errors:       common,
}

// Operations returns all operations, sorted by target.
func (s *Service) Operations() []smithy.Handler {
	list := []smithy.Handler{
		smithy.Bind(api.AddRoleToInstanceProfile, s.addRoleToInstanceProfile),
		smithy.Bind(api.AddUserToGroup, s.addUserToGroup),
		smithy.Bind(api.AttachGroupPolicy, s.attachGroupPolicy),
		smithy.Bind(api.AttachRolePolicy, s.attachRolePolicy),
		smithy.Bind(api.AttachUserPolicy, s.attachUserPolicy),
		smithy.Bind(api.CreateAccessKey, s.createAccessKey),
		smithy.Bind(api.CreateGroup, s.createGroup),
		smithy.Bind(api.CreateInstanceProfile, s.createInstanceProfile),
		smithy.Bind(api.CreatePolicy, s.createPolicy),
		smithy.Bind(api.CreatePolicyVersion, s.createPolicyVersion),
		smithy.Bind(api.CreateRole, s.createRole),
		smithy.Bind(api.CreateUser, s.createUser),
		smithy.Bind(api.DeleteAccessKey, s.deleteAccessKey),
		smithy.Bind(api.DeleteGroup, s.deleteGroup),
		smithy.Bind(api.DeleteGroupPolicy, s.deleteGroupPolicy),
		smithy.Bind(api.DeleteInstanceProfile, s.deleteInstanceProfile),
		smithy.Bind(api.DeletePolicy, s.deletePolicy),
		smithy.Bind(api.DeletePolicyVersion, s.deletePolicyVersion),
		smithy.Bind(api.DeleteRole, s.deleteRole),
		smithy.Bind(api.DeleteRolePermissionsBoundary, s.deleteRolePermissionsBoundary),
		smithy.Bind(api.DeleteRolePolicy, s.deleteRolePolicy),
		smithy.Bind(api.DeleteUser, s.deleteUser),
		smithy.Bind(api.DeleteUserPermissionsBoundary, s.deleteUserPermissionsBoundary),
		smithy.Bind(api.DeleteUserPolicy, s.deleteUserPolicy),
		smithy.Bind(api.DetachGroupPolicy, s.detachGroupPolicy),
		smithy.Bind(api.DetachRolePolicy, s.detachRolePolicy),
		smithy.Bind(api.DetachUserPolicy, s.detachUserPolicy),
		smithy.Bind(api.GetAccessKeyLastUsed, s.getAccessKeyLastUsed),
		smithy.Bind(api.GetAccountAuthorizationDetails, s.getAccountAuthorizationDetails),
		smithy.Bind(api.GetAccountSummary, s.getAccountSummary),
		smithy.Bind(api.GetGroup, s.getGroup),
		smithy.Bind(api.GetGroupPolicy, s.getGroupPolicy),
		smithy.Bind(api.GetInstanceProfile, s.getInstanceProfile),
		smithy.Bind(api.GetPolicy, s.getPolicy),
		smithy.Bind(api.GetPolicyVersion, s.getPolicyVersion),
		smithy.Bind(api.GetRole, s.getRole),
		smithy.Bind(api.GetRolePolicy, s.getRolePolicy),
		smithy.Bind(api.GetUser, s.getUser),
		smithy.Bind(api.GetUserPolicy, s.getUserPolicy),
		smithy.Bind(api.ListAccessKeys, s.listAccessKeys),
		smithy.Bind(api.ListAccountAliases, s.listAccountAliases),
		smithy.Bind(api.ListAttachedGroupPolicies, s.listAttachedGroupPolicies),
		smithy.Bind(api.ListAttachedRolePolicies, s.listAttachedRolePolicies),
		smithy.Bind(api.ListAttachedUserPolicies, s.listAttachedUserPolicies),
		smithy.Bind(api.ListEntitiesForPolicy, s.listEntitiesForPolicy),
		smithy.Bind(api.ListGroupPolicies, s.listGroupPolicies),
		smithy.Bind(api.ListGroups, s.listGroups),
		smithy.Bind(api.ListGroupsForUser, s.listGroupsForUser),
		smithy.Bind(api.ListInstanceProfileTags, s.listInstanceProfileTags),
		smithy.Bind(api.ListInstanceProfiles, s.listInstanceProfiles),
		smithy.Bind(api.ListInstanceProfilesForRole, s.listInstanceProfilesForRole),
		smithy.Bind(api.ListPolicies, s.listPolicies),
		smithy.Bind(api.ListPolicyTags, s.listPolicyTags),
		smithy.Bind(api.ListPolicyVersions, s.listPolicyVersions),
		smithy.Bind(api.ListRolePolicies, s.listRolePolicies),
		smithy.Bind(api.ListRoleTags, s.listRoleTags),
		smithy.Bind(api.ListRoles, s.listRoles),
		smithy.Bind(api.ListUserPolicies, s.listUserPolicies),
		smithy.Bind(api.ListUserTags, s.listUserTags),
		smithy.Bind(api.ListUsers, s.listUsers),
		smithy.Bind(api.PutGroupPolicy, s.putGroupPolicy),
		smithy.Bind(api.PutRolePermissionsBoundary, s.putRolePermissionsBoundary),
		smithy.Bind(api.PutRolePolicy, s.putRolePolicy),
		smithy.Bind(api.PutUserPermissionsBoundary, s.putUserPermissionsBoundary),
		smithy.Bind(api.PutUserPolicy, s.putUserPolicy),
		smithy.Bind(api.RemoveRoleFromInstanceProfile, s.removeRoleFromInstanceProfile),
		smithy.Bind(api.RemoveUserFromGroup, s.removeUserFromGroup),
		smithy.Bind(api.SetDefaultPolicyVersion, s.setDefaultPolicyVersion),
		smithy.Bind(api.SimulateCustomPolicy, s.simulateCustomPolicy),
		smithy.Bind(api.SimulatePrincipalPolicy, s.simulatePrincipalPolicy),
		smithy.Bind(api.TagInstanceProfile, s.tagInstanceProfile),
		smithy.Bind(api.TagPolicy, s.tagPolicy),
		smithy.Bind(api.TagRole, s.tagRole),
		smithy.Bind(api.TagUser, s.tagUser),
		smithy.Bind(api.UntagInstanceProfile, s.untagInstanceProfile),
		smithy.Bind(api.UntagPolicy, s.untagPolicy),
		smithy.Bind(api.UntagRole, s.untagRole),
		smithy.Bind(api.UntagUser, s.untagUser),
		smithy.Bind(api.UpdateAccessKey, s.updateAccessKey),
		smithy.Bind(api.UpdateAssumeRolePolicy, s.updateAssumeRolePolicy),
		smithy.Bind(api.UpdateGroup, s.updateGroup),
		smithy.Bind(api.UpdateRole, s.updateRole),
		smithy.Bind(api.UpdateRoleDescription, s.updateRoleDescription),
		smithy.Bind(api.UpdateUser, s.updateUser),
	}
	for i := range list {
		list[i].Service, list[i].Settles = API.Name, true
	}
	tokens := []smithy.Handler{
		smithy.Bind(stsapi.AssumeRole, s.assumeRole),
		smithy.Bind(stsapi.AssumeRoleWithWebIdentity, s.assumeRoleWithWebIdentity),
		smithy.Bind(stsapi.GetAccessKeyInfo, s.getAccessKeyInfo),
		smithy.Bind(stsapi.GetCallerIdentity, s.getCallerIdentity),
		smithy.Bind(stsapi.GetFederationToken, s.getFederationToken),
		smithy.Bind(stsapi.GetSessionToken, s.getSessionToken),
	}
	for i := range tokens {
		tokens[i].Service = STS.Name
		tokens[i].Unsigned = tokens[i].Target == stsapi.AssumeRoleWithWebIdentity.Target // the provider's token takes the signature's place
	}
	return append(list, tokens...)
}

// Missing returns the targets of operations in AWS's models that this package lacks.
func (s *Service) Missing() []string {
	have := s.Operations()
	return append(smithy.Missing(api.IAMOperations, have), smithy.Missing(stsapi.STSOperations, have)...)
}

// keys are the condition keys of a request to IAM or STS, in lower case. They implement policy.Context.
type keys map[string]policy.Values

// Lookup implements policy.Context.
func (k keys) Lookup(key string) (policy.Values, bool) {
	v, ok := k[key]
	return v, ok
}

// one sets a key with a single value.
func (k keys) one(key, value string) keys {
	k[key] = policy.Values{List: []string{value}}
	return k
}

// authorize asks whether the caller may take the operation's action on a resource. Every operation calls it before it reveals whether the resource
// exists.
func (s *Service) authorize(call *smithy.Call, resource string, with keys) error {
	return s.authorizeAction(call, "iam:"+call.Operation, resource, with)
}

func (s *Service) authorizeAction(call *smithy.Call, action, resource string, with keys) error {
	if with == nil {
		with = keys{}
	}
	id := s.Caller(call)
	// "GetSessionToken" and "GetFederationToken" say what their sessions can't call, whatever their policies allow.
	session := !id.Issued.IsZero()
	if id.Type == typeFederated || session && (id.Type == typeUser || id.Type == typeAccount) && action != "sts:AssumeRole" {
		if strings.HasPrefix(action, "iam:") {
			return errUnrecognized // AWS does not say why
		}
		return denied(id, action, resource, "because its session can't call this operation")
	}
	if err := s.Authorize(call, action, resource, with); err != nil {
		return err
	}
	return nil
}

// denied returns AWS's refusal of an action ("Troubleshoot access denied error messages").
func denied(id *policy.Identity, action, resource, reason string) *awserr.Error {
	message := "User: " + id.ARN + " is not authorized to perform: " + action + " on resource: " + resource
	if reason != "" {
		message += " " + reason
	}
	return awserr.New(awserr.AccessDenied, message)
}
