package iam

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
)

// generation caches the identities behind access keys and session tokens. It is valid until any record changes: then a new generation begins,
// in which each identity is made again when it is needed. The policies themselves stay compiled with their records.
type generation struct {
	version uint64 // of the records

	mu      sync.RWMutex
	entries map[string]*credential // by the token of a session, or the id of a user's access key

	principals sync.Map // *policy.Identity by ARN, as Principal returns it
}

// credential is what Credential answers.
type credential struct {
	key, secret string
	identity    *policy.Identity
}

// maxEntries bounds a generation. Clients may make any number of sessions.
const maxEntries = 20_000

func (g *generation) get(name string) *credential {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.entries[name]
}

func (g *generation) put(name string, c *credential) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.entries) >= maxEntries {
		clear(g.entries)
	}
	g.entries[strings.Clone(name)] = c
}

// version returns a number that grows with each change of a record that identities rest on.
func (s *Service) version() uint64 {
	return s.users.Version() + s.groups.Version() + s.roles.Version() + s.policies.Version() + s.keys.Version()
}

// current returns the generation for the records as they are now. The version is read before the records are, so that what is cached can only be newer.
func (s *Service) current() *generation {
	version := s.version()
	g := s.known.Load()
	if g == nil || g.version != version {
		g = &generation{version: version, entries: map[string]*credential{}}
		s.known.Store(g)
	}
	return g
}

// Errors of Credential ("Common Errors").
var (
	errUnrecognized = awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
	errExpired      = awserr.New(expiredToken, "The security token included in the request is expired")
)

// Credential returns the secret access key and the identity of the sender of a request, by its access key and, for a session, its token. now is the time
// at which sessions must not have expired. Errors are UnrecognizedClientException for an unknown or inactive key and a token that no server of this
// store has issued or whose role or user is gone, ExpiredTokenException, and InternalServerError for records that can't be read. The identity is shared
// and must not be changed. While no record changes, Credential allocates nothing and parses nothing for a key or token that it has seen.
func (s *Service) Credential(accessKey, token string, now time.Time) (secret string, id *policy.Identity, err *awserr.Error) {
	g := s.current()
	name := accessKey
	if token != "" {
		name = token
	}
	c := g.get(name)
	if c == nil {
		var cause error
		if token != "" {
			c, cause = s.openSession(token)
		} else {
			c, cause = s.openKey(accessKey)
		}
		if cause != nil {
			return "", nil, awserr.Internal(cause)
		}
		if c == nil {
			return "", nil, errUnrecognized
		}
		g.put(name, c)
	}
	switch expires := c.identity.Expires; {
	case c.key != accessKey:
		return "", nil, errUnrecognized
	case !expires.IsZero() && !now.Before(expires):
		return "", nil, errExpired
	}
	return c.secret, c.identity, nil
}

// openKey returns the credential of a user's access key; nil if there is no such key, or it is inactive.
func (s *Service) openKey(id string) (*credential, error) {
	account := KeyAccount(id)
	if account == "" { // most keys of clients of an open server
		return nil, nil
	}
	k := s.keys.Get(keyRecord(account, id))
	if k == nil || k.Status != api.StatusTypeActive {
		return nil, nil
	}
	u := s.users.Get(recordOf(account, k.User)) // regardless of the name's case, which may be changing
	if u == nil {
		return nil, nil
	}
	secret, err := s.unseal(k)
	if err != nil {
		return nil, err
	}
	identity, err := s.userIdentity(u)
	return &credential{k.ID, secret, identity}, err
}

// openSession returns the credential of a session; nil if no server of this store has issued its token, or its role or user is gone.
func (s *Service) openSession(token string) (*credential, error) {
	v, secret, err := s.secrets.Load().open(token)
	switch {
	case err == errToken:
		return nil, nil
	case err != nil:
		return nil, err
	}
	identity, err := s.sessionIdentity(v)
	if err != nil || identity == nil {
		return nil, err
	}
	return &credential{v.Key, secret, identity}, nil
}

// Principal returns the identity of the root, user, role or role's session that an ARN names, as Identity does, or nil for an unknown
// principal. While no record changes, it returns the same identity again.
func (s *Service) Principal(arn string) (*policy.Identity, error) {
	g := s.current()
	if id, ok := g.principals.Load(arn); ok {
		return id.(*policy.Identity), nil
	}
	r, ok := parseARN(arn)
	if !ok {
		return nil, nil
	}
	id, refused := s.Identity(r.account, arn)
	switch {
	case refused != nil && refused.Code == noSuchEntity:
		return nil, nil
	case refused != nil:
		return nil, refused
	}
	g.principals.Store(strings.Clone(arn), id) // only ARNs of records that exist, so their number is bounded
	return id, nil
}

// documents returns the compiled policies of a user, group or role.
func (s *Service) documents(account string, g *grants) (out []*policy.Document, err error) {
	add := func(d *document) error {
		compiled, err := d.compile(policy.OfIdentity)
		out = append(out, compiled)
		return err
	}
	for name, d := range g.Inline {
		if err := add(d); err != nil {
			return nil, fmt.Errorf("policy %s: %w", name, err)
		}
	}
	for _, arn := range g.Attached {
		m := s.lookup(account, arn)
		if m == nil {
			return nil, fmt.Errorf("the attached policy %s is missing", arn)
		}
		if err := add(m.inForce().Text); err != nil {
			return nil, fmt.Errorf("policy %s: %w", arn, err)
		}
	}
	return out, nil
}

// limited adds a permissions boundary to a set of policies.
func (s *Service) limited(set *policy.Set, account, boundary string) (err error) {
	if boundary == "" {
		return nil
	}
	m := s.lookup(account, boundary)
	if m == nil {
		return fmt.Errorf("the permissions boundary %s is missing", boundary)
	}
	set.Boundary, err = m.inForce().Text.compile(policy.OfIdentity)
	return err
}

// userIdentity returns the identity of a user.
func (s *Service) userIdentity(u *user) (*policy.Identity, error) {
	id := &policy.Identity{
		Principal: policy.Principal{Account: u.Account, ARN: u.arn("user")}, Type: typeUser, UserID: u.ID, UserName: u.Name, Tags: tagMap(u.Tags),
	}
	var err error
	if id.Policies.Identity, err = s.documents(u.Account, &u.grants); err != nil {
		return id, err
	}
	for _, g := range s.groupsOf(u) {
		more, err := s.documents(u.Account, &g.grants)
		if err != nil {
			return id, err
		}
		id.Policies.Identity = append(id.Policies.Identity, more...)
	}
	return id, s.limited(&id.Policies, u.Account, u.Boundary)
}

// roleIdentity returns the identity of a role's session with a name.
func (s *Service) roleIdentity(r *role, name string) (*policy.Identity, error) {
	id := &policy.Identity{
		Principal: policy.Principal{Account: r.Account, ARN: sessionARN(r.Account, "assumed-role", r.Name+"/"+name), Role: r.arn("role")},
		Type:      typeRole, UserID: r.ID + ":" + name, Tags: tagMap(r.Tags),
	}
	var err error
	if id.Policies.Identity, err = s.documents(r.Account, &r.grants); err != nil {
		return id, err
	}
	return id, s.limited(&id.Policies, r.Account, r.Boundary)
}

// rootIdentity returns the identity of an account's root.
func rootIdentity(account string) *policy.Identity {
	return &policy.Identity{Principal: policy.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":root"}, Type: typeAccount, UserID: account}
}

// userByID returns the user with an id, whose name has been name and may have changed; nil if it is gone.
func (s *Service) userByID(account, name, id string) *user {
	if u := s.users.find(account, name); u != nil && u.ID == id {
		return u
	}
	for _, u := range s.users.under(account, "/") {
		if u.ID == id {
			return u
		}
	}
	return nil
}

// tagMap returns tags as identities have them.
func tagMap(tags []tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	out := make(map[string]string, len(tags))
	for _, t := range tags {
		out[t.Key] = t.Value
	}
	return out
}

// Identity returns the identity of the principal that an ARN names: an account's root, a user, or a session of a role
// (arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION). A role's ARN gives a session with the role's name. Errors are NoSuchEntity, if account has no such
// principal, and InternalServerError. It is for front ends with other ways to authenticate, and makes the identity anew at each call.
func (s *Service) Identity(account, arn string) (*policy.Identity, *awserr.Error) {
	r, ok := parseARN(arn)
	missing := awserr.New(noSuchEntity, "The principal "+arn+" cannot be found.")
	if !ok || r.account != account {
		return nil, missing
	}
	var id *policy.Identity
	var err error
	switch r.kind {
	case "root":
		return rootIdentity(account), nil
	case "user":
		if u := s.users.find(account, r.name); u != nil && u.Path == r.path {
			id, err = s.userIdentity(u)
		}
	case "role":
		if v := s.roles.find(account, r.name); v != nil && v.Path == r.path {
			id, err = s.roleIdentity(v, v.Name)
		}
	case "assumed-role":
		if v := s.roles.find(account, strings.Trim(r.path, "/")); v != nil {
			id, err = s.roleIdentity(v, r.name)
		}
	}
	switch {
	case err != nil:
		return nil, awserr.Internal(err)
	case id == nil:
		return nil, missing
	}
	return id, nil
}
