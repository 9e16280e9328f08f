package iam

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// Values of aws:PrincipalType.
const (
	typeAccount   = "Account"
	typeUser      = "User"
	typeRole      = "AssumedRole"
	typeFederated = "FederatedUser"
)

// Quotas of an account and its users ("IAM and AWS STS quotas").
const (
	maxUsers         = 5000
	maxGroupsPerUser = 10
	maxKeysPerUser   = 2
)

// AWS's errors for deleting what is still in use.
var (
	errHasPolicies = awserr.New(deleteConflict, "Cannot delete entity, must delete policies first.")
	errAttached    = awserr.New(deleteConflict, "Cannot delete entity, must detach all policies first.")
	errHasKeys     = awserr.New(deleteConflict, "Cannot delete entity, must delete access keys first.")
	errInGroup     = awserr.New(deleteConflict, "Cannot delete entity, must remove users from group first.")
	errInProfile   = awserr.New(deleteConflict, "Cannot delete entity, must remove roles from instance profile first.")
)

// deletable fails if the user, group or role has policies.
func (g *grants) deletable() error {
	switch {
	case len(g.Inline) > 0:
		return errHasPolicies
	case len(g.Attached) > 0:
		return errAttached
	}
	return nil
}

// answer returns a user as answers have it. Lists leave out tags and boundary, as AWS's do.
func (u *user) answer() api.User {
	return api.User{
		Path: smithy.Some(u.Path), UserName: smithy.Some(u.Name), UserId: smithy.Some(u.ID), Arn: smithy.Some(u.arn("user")), CreateDate: seconds(u.Created),
	}
}

// whole is answer with tags and boundary.
func (u *user) whole() *api.User {
	out := u.answer()
	out.Tags, out.PermissionsBoundary = tagsOf(u.Tags), boundaryOf(u.Boundary)
	return &out
}

// userName returns the name of the user that a request is about: by default the caller.
func (s *Service) userName(call *smithy.Call, given smithy.Opt[string]) (string, error) {
	if given.Set {
		return given.Value, nil
	}
	if id := s.Caller(call); id.Type == typeUser {
		return id.UserName, nil
	}
	return "", invalid("Must specify userName when calling with non-User credentials")
}

func (s *Service) createUser(ctx context.Context, call *smithy.Call, in *api.CreateUserRequest) (*api.CreateUserResponse, error) {
	tags, err := newTags(in.Tags, tagOf)
	if err != nil {
		return nil, err
	}
	account := s.Caller(call).Account
	u := &user{entity: s.newEntity(account, prefixUser, in.UserName.Value, in.Path, tags), Boundary: in.PermissionsBoundary.Value}
	if err := s.authorize(call, u.arn("user"), keys{}.requestTags(tags).boundary(u.Boundary)); err != nil {
		return nil, err
	}
	if err := s.users.room(account, "UsersPerAccount", maxUsers); err != nil {
		return nil, err
	}
	err = s.update(ctx, account, func(txn *registry.Txn) error {
		if err := s.users.putNew(txn, u); err != nil {
			return err
		}
		return s.bound(txn, account, "", u.Boundary)
	})
	return &api.CreateUserResponse{User: u.whole()}, err
}

// boundary adds the condition key of a permissions boundary, if there is one.
func (k keys) boundary(arn string) keys {
	if arn != "" {
		k.one("iam:permissionsboundary", arn)
	}
	return k
}

// root returns an account's root in the form of a user. The time when an account was made is unknown.
func root(account string) *api.User {
	return &api.User{
		Path: smithy.Some("/"), UserName: smithy.Some("root"), UserId: smithy.Some(account), Arn: smithy.Some("arn:aws:iam::" + account + ":root"), CreateDate: seconds(0),
	}
}

func (s *Service) getUser(_ context.Context, call *smithy.Call, in *api.GetUserRequest) (*api.GetUserResponse, error) {
	if id := s.Caller(call); !in.UserName.Set && id.Type == typeAccount {
		return &api.GetUserResponse{User: root(id.Account)}, s.authorize(call, "arn:aws:iam::"+id.Account+":root", nil)
	}
	name, err := s.userName(call, in.UserName)
	if err != nil {
		return nil, err
	}
	u, err := s.users.get(s, call, name)
	if err != nil {
		return nil, err
	}
	return &api.GetUserResponse{User: u.whole()}, nil
}

func (s *Service) listUsers(_ context.Context, call *smithy.Call, in *api.ListUsersRequest) (*api.ListUsersResponse, error) {
	all, err := s.users.listing(s, call, in.PathPrefix)
	if err != nil {
		return nil, err
	}
	list, next, err := page(all, named, in.Marker, in.MaxItems)
	return &api.ListUsersResponse{Users: mapped(list, (*user).answer), Marker: next, IsTruncated: smithy.Some(next.Set)}, err
}

// updateUser changes a user's name or path. It moves the user's record, and tells its access keys.
func (s *Service) updateUser(ctx context.Context, call *smithy.Call, in *api.UpdateUserRequest) (*api.NoOutput, error) {
	account, err := s.users.allowed(s, call, in.UserName.Value, nil)
	if err != nil {
		return nil, err
	}
	next := entity{Account: account, Name: in.NewUserName.Or(in.UserName.Value), Path: in.NewPath.Or("/")}
	if old := s.users.find(account, in.UserName.Value); old != nil {
		next.Path = in.NewPath.Or(old.Path)
	}
	// The caller needs the permission for the new name and path too ("UpdateUser").
	if err := s.authorize(call, next.arn("user"), nil); err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.users.moveIn(txn, account, in.UserName.Value, in.NewUserName, in.NewPath, func(u *user) error {
			for _, id := range u.Keys {
				if _, err := s.keys.ChangeIn(txn, keyRecord(account, id), func(k *accessKey) error { k.User = u.Name; return nil }); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// moveIn gives an entity another name or path, and tells moved.
func (k *kind[T, P]) moveIn(txn *registry.Txn, account, name string, newName, newPath smithy.Opt[string], moved func(P) error) error {
	id := recordOf(account, name)
	v, err := k.GetIn(txn, id)
	switch {
	case err != nil:
		return err
	case v == nil || P(v).base().Name != name:
		return k.missing(name)
	}
	e := P(v).base()
	if err := e.modifiable(); err != nil {
		return err
	}
	e.Name, e.Path = newName.Or(e.Name), newPath.Or(e.Path)
	// Lookups find the changes one by one, in this order, so what refers to the entity always finds it.
	if e.record() == id {
		if err := k.PutIn(txn, id, v); err != nil {
			return err
		}
		return moved(v)
	}
	if err := k.putNew(txn, v); err != nil {
		return err
	}
	if err := moved(v); err != nil {
		return err
	}
	return k.RemoveIn(txn, id)
}

func (s *Service) deleteUser(ctx context.Context, call *smithy.Call, in *api.DeleteUserRequest) (*api.NoOutput, error) {
	account, err := s.users.allowed(s, call, in.UserName.Value, nil)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		return s.users.removeIn(txn, account, in.UserName.Value, func(u *user) error {
			switch {
			case len(u.Keys) > 0:
				return errHasKeys
			case len(u.Groups) > 0:
				return errInGroup
			}
			if err := u.deletable(); err != nil {
				return err
			}
			return s.bound(txn, account, u.Boundary, "")
		})
	})
}

// keyRecord identifies the record of an access key.
func keyRecord(account, id string) registry.ID {
	return registry.ID{Account: account, Region: region, Name: id}
}

// keyOwner returns the user whose access keys a request changes, if the caller may change them.
func (s *Service) keyOwner(call *smithy.Call, given smithy.Opt[string]) (account, name string, err error) {
	if name, err = s.userName(call, given); err == nil {
		account, err = s.users.allowed(s, call, name, nil)
	}
	return account, name, err
}

func (s *Service) createAccessKey(ctx context.Context, call *smithy.Call, in *api.CreateAccessKeyRequest) (*api.CreateAccessKeyResponse, error) {
	account, name, err := s.keyOwner(call, in.UserName)
	if err != nil {
		return nil, err
	}
	with, err := s.sealer()
	if err != nil {
		return nil, err
	}
	id, err := newKeyID(prefixKey, account)
	if err != nil {
		return nil, err
	}
	secret := secretText(randomBytes())
	k := &accessKey{Account: account, ID: id, User: name, Status: api.StatusTypeActive, Created: s.Now().UnixMilli()}
	k.seal(with, secret)
	err = s.update(ctx, account, func(txn *registry.Txn) error {
		err := s.users.touchIn(txn, account, name, func(u *user) error {
			if len(u.Keys) >= maxKeysPerUser {
				return exceeded("AccessKeysPerUser", maxKeysPerUser)
			}
			u.Keys = append(u.Keys, id)
			return nil
		})
		if err != nil {
			return err
		}
		if old, err := s.keys.GetIn(txn, k.record()); err != nil || old != nil {
			return cmp.Or(err, error(awserr.New(awserr.ServiceUnavailable, "The new access key's id is taken. Try again.")))
		}
		return s.keys.PutIn(txn, k.record(), k)
	})
	return &api.CreateAccessKeyResponse{AccessKey: &api.AccessKey{
		UserName: smithy.Some(name), AccessKeyId: smithy.Some(id), Status: smithy.Some(k.Status), SecretAccessKey: smithy.Some(secret), CreateDate: seconds(k.Created),
	}}, err
}

func (s *Service) listAccessKeys(_ context.Context, call *smithy.Call, in *api.ListAccessKeysRequest) (*api.ListAccessKeysResponse, error) {
	name, err := s.userName(call, in.UserName)
	if err != nil {
		return nil, err
	}
	u, err := s.users.get(s, call, name)
	if err != nil {
		return nil, err
	}
	var all []*accessKey
	for _, id := range u.Keys {
		if k := s.keys.Get(keyRecord(u.Account, id)); k != nil {
			all = append(all, k)
		}
	}
	// In the order in which they were made: there are too few for their places to have two digits.
	list, next, err := page(all, func(k *accessKey) string { return strconv.Itoa(slices.Index(u.Keys, k.ID)) }, in.Marker, in.MaxItems)
	return &api.ListAccessKeysResponse{Marker: next, IsTruncated: smithy.Some(next.Set), AccessKeyMetadata: mapped(list, func(k *accessKey) api.AccessKeyMetadata {
		return api.AccessKeyMetadata{UserName: smithy.Some(k.User), AccessKeyId: smithy.Some(k.ID), Status: smithy.Some(k.Status), CreateDate: seconds(k.Created)}
	})}, err
}

// noKey is AWS's error for an access key that the user does not have.
func noKey(id string) error {
	return awserr.New(noSuchEntity, "The Access Key with id "+id+" cannot be found.")
}

func (s *Service) updateAccessKey(ctx context.Context, call *smithy.Call, in *api.UpdateAccessKeyRequest) (*api.NoOutput, error) {
	account, name, err := s.keyOwner(call, in.UserName)
	if err != nil {
		return nil, err
	}
	if in.Status.Value == api.StatusTypeExpired {
		return nil, awserr.New(invalidInput, "The status of an access key can be set to Active or Inactive.")
	}
	id := in.AccessKeyId.Value
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		k, err := s.keys.ChangeIn(txn, keyRecord(account, id), func(k *accessKey) error {
			if k.User != name {
				return noKey(id)
			}
			k.Status = in.Status.Value
			return nil
		})
		if err == nil && k == nil {
			err = noKey(id)
		}
		return err
	})
}

func (s *Service) deleteAccessKey(ctx context.Context, call *smithy.Call, in *api.DeleteAccessKeyRequest) (*api.NoOutput, error) {
	account, name, err := s.keyOwner(call, in.UserName)
	if err != nil {
		return nil, err
	}
	id := in.AccessKeyId.Value
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		err := s.users.touchIn(txn, account, name, func(u *user) error {
			i := slices.Index(u.Keys, id)
			if i < 0 {
				return noKey(id)
			}
			u.Keys = slices.Delete(u.Keys, i, i+1)
			return nil
		})
		if err != nil {
			return err
		}
		if err := s.uses.RemoveIn(txn, keyRecord(account, id)); err != nil {
			return err
		}
		return s.keys.RemoveIn(txn, keyRecord(account, id))
	})
}

func (s *Service) putUserPermissionsBoundary(ctx context.Context, call *smithy.Call, in *api.PutUserPermissionsBoundaryRequest) (*api.NoOutput, error) {
	return setBoundary(ctx, s, s.users, call, in.UserName.Value, in.PermissionsBoundary.Value)
}

func (s *Service) deleteUserPermissionsBoundary(ctx context.Context, call *smithy.Call, in *api.DeleteUserPermissionsBoundaryRequest) (*api.NoOutput, error) {
	return setBoundary(ctx, s, s.users, call, in.UserName.Value, "")
}

func (s *Service) putRolePermissionsBoundary(ctx context.Context, call *smithy.Call, in *api.PutRolePermissionsBoundaryRequest) (*api.NoOutput, error) {
	return setBoundary(ctx, s, s.roles, call, in.RoleName.Value, in.PermissionsBoundary.Value)
}

func (s *Service) deleteRolePermissionsBoundary(ctx context.Context, call *smithy.Call, in *api.DeleteRolePermissionsBoundaryRequest) (*api.NoOutput, error) {
	return setBoundary(ctx, s, s.roles, call, in.RoleName.Value, "")
}

// bounded is implemented by pointers to users and roles.
type bounded[T any] interface {
	record[T]
	boundary() *string
}

// setBoundary sets or, with an empty arn, removes the permissions boundary of a user or role.
func setBoundary[T any, P bounded[T]](ctx context.Context, s *Service, of *kind[T, P], call *smithy.Call, name, arn string) (*api.NoOutput, error) {
	with := keys{}
	switch v := of.find(s.Caller(call).Account, name); {
	case arn != "":
		with.boundary(arn)
	case v != nil:
		with.boundary(*v.boundary())
	}
	account, err := of.allowed(s, call, name, with)
	if err != nil {
		return nil, err
	}
	return &api.NoOutput{}, s.update(ctx, account, func(txn *registry.Txn) error {
		var old string
		err := of.changeIn(txn, account, name, func(v P) error {
			old, *v.boundary() = *v.boundary(), arn
			return nil
		})
		if err != nil {
			return err
		}
		return s.bound(txn, account, old, arn)
	})
}

// bound counts that an entity's permissions boundary has changed. Either may be empty.
func (s *Service) bound(txn *registry.Txn, account, from, to string) error {
	if from == to {
		return nil
	}
	if from != "" {
		if err := s.useIn(txn, account, from, func(m *managed) { m.Boundaries-- }); err != nil {
			return err
		}
	}
	if to == "" {
		return nil
	}
	return s.useIn(txn, account, to, func(m *managed) { m.Boundaries++ })
}

// currentBoundary returns the condition key of the boundary that a user or role has; none for groups.
func currentBoundary[P any](v P) keys {
	if b, ok := any(v).(interface{ boundary() *string }); ok {
		return keys{}.boundary(*b.boundary())
	}
	return keys{}
}
