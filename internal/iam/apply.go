package iam

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// Declared is the desired state of an account's declared users, groups, roles and managed policies. The rules for names, paths, sizes and numbers are
// those of the API. Policies are JSON objects.
type Declared struct {
	Users    []DeclaredUser
	Groups   []DeclaredGroup
	Roles    []DeclaredRole
	Policies []DeclaredPolicy
}

// Holder is what declared users, groups and roles have in common.
type Holder struct {
	Name string
	Path string // "/" if it is empty
	// Inline are inline policies, by name.
	Inline map[string]json.RawMessage
	// Attached are managed policies: the names of declared ones, or the ARNs of these, of AWS's or of others of the account.
	Attached []string
}

// DeclaredUser is a user. Its access keys are not declared: the API makes them.
type DeclaredUser struct {
	Holder
	Tags     map[string]string
	Boundary string   // a managed policy, as in Attached; empty for none
	Groups   []string // names of declared groups
}

// DeclaredGroup is a group.
type DeclaredGroup struct{ Holder }

// DeclaredRole is a role.
type DeclaredRole struct {
	Holder
	Tags        map[string]string
	Boundary    string // a managed policy, as in Attached; empty for none
	Description string
	Trust       json.RawMessage
	MaxSession  int64 // seconds; 0 for an hour
}

// DeclaredPolicy is a managed policy. It has one version.
type DeclaredPolicy struct {
	Name        string
	Path        string // "/" if it is empty
	Description string
	Tags        map[string]string
	Document    json.RawMessage
}

// Invalid is an error of Apply about one declared object.
type Invalid struct {
	Account string
	Kind    string // user, group, role or policy
	Name    string
	// Member is the part that is wrong, in CloudFormation's terms (Path, Tags, Groups, ManagedPolicyArns, PermissionsBoundary, Policies,
	// AssumeRolePolicyDocument, Description, MaxSessionDuration), or "" for the whole object. Value is the element of a list: a group, a managed
	// policy, or the name of an inline policy.
	Member, Value string
	Err           error
}

// Error implements error.
func (e *Invalid) Error() string {
	where := ""
	switch e.Member {
	case MemberInline:
		where = fmt.Sprintf("inline policy %q: ", e.Value)
	case MemberTrust:
		where = "trust policy: "
	}
	return fmt.Sprintf("%s %q: %s%v", e.Kind, e.Name, where, e.Err)
}

// Unwrap returns the error itself.
func (e *Invalid) Unwrap() error { return e.Err }

// Values of Invalid.Member, which are also the members of declarations in files.
const (
	MemberPath        = "Path"
	MemberTags        = "Tags"
	MemberGroups      = "Groups"
	MemberAttached    = "ManagedPolicyArns"
	MemberInline      = "Policies"
	MemberBoundary    = "PermissionsBoundary"
	MemberTrust       = "AssumeRolePolicyDocument"
	MemberDescription = "Description"
	MemberMaxSession  = "MaxSessionDuration"
)

// Apply makes the declared users, groups, roles and policies of all accounts equal to the desired state, all or none of them. It stores nothing if they
// are already. What the API has made is left alone, and what Apply has made can't be changed by the API, except for access keys. Declared
// users that are no longer desired go with their access keys. Its errors are joined Invalids: one for each fault of an object, an object that
// the API has made under the same name, or one whose removal would leave something without its policy.
func (s *Service) Apply(ctx context.Context, desired Declaration) (Outcome, error) {
	var out Outcome
	opt := kv.TxnOpt{}
	accounts := s.declaring(desired.Accounts)
	for _, account := range accounts {
		opt.Hint = append(opt.Hint, keyspace.IAMAccount(account))
	}
	err := registry.Update(ctx, s.Records.KV, opt, func(txn *registry.Txn) error {
		all := make([]*applying, len(accounts))
		var failed []error
		for i, account := range accounts {
			a := &applying{Service: s, account: account, txn: txn, now: s.Now().UnixMilli()}
			if err := a.load(ctx); err != nil {
				return err
			}
			d := desired.Accounts[account]
			a.desire(&d)
			failed = append(failed, a.failed...)
			all[i] = a
		}
		if failed != nil {
			return errors.Join(failed...)
		}
		for _, a := range all {
			a.count()
			if err := a.store(); err != nil {
				return err
			}
		}
		var err error
		out, err = s.sign(txn, &desired)
		return err
	})
	return out, err
}

// declaring returns the accounts that have declared objects, or shall have some, in order.
func (s *Service) declaring(desired map[string]Declared) []string {
	accounts := map[string]bool{}
	for account := range desired {
		accounts[account] = true
	}
	declaredIn(accounts, s.users)
	declaredIn(accounts, s.groups)
	declaredIn(accounts, s.roles)
	declaredIn(accounts, s.policies)
	return slices.Sorted(maps.Keys(accounts))
}

func declaredIn[T any, P record[T]](accounts map[string]bool, of *kind[T, P]) {
	for _, v := range of.All() {
		if e := P(v).base(); e.Declared {
			accounts[e.Account] = true
		}
	}
}

// shelf has the records of one kind in an account, before and after Apply.
type shelf[T any, P record[T]] struct {
	*kind[T, P]
	before map[string][]byte // JSON, by the name in lower case
	after  map[string]P
}

// applying is an Apply in its transaction. It works on copies of all records, and stores those that have changed in the end.
type applying struct {
	*Service
	account string
	txn     *registry.Txn
	now     int64
	failed  []error
	gone    []string // ids of the access keys of users that are removed

	users    shelf[user, *user]
	groups   shelf[group, *group]
	roles    shelf[role, *role]
	policies shelf[managed, *managed]
}

func (a *applying) load(ctx context.Context) error {
	return errors.Join(
		a.users.load(ctx, a, a.Service.users), a.groups.load(ctx, a, a.Service.groups), a.roles.load(ctx, a, a.Service.roles),
		a.policies.load(ctx, a, a.Service.policies),
	)
}

func (h *shelf[T, P]) load(ctx context.Context, a *applying, from *kind[T, P]) error {
	*h = shelf[T, P]{from, map[string][]byte{}, map[string]P{}}
	list, err := from.ListIn(ctx, a.txn, a.account, region)
	if err != nil {
		return err
	}
	for _, v := range list {
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		name := strings.ToLower(P(v).base().Name)
		h.before[name], h.after[name] = raw, v
	}
	return nil
}

// put puts a declared record on the shelf: the one that is there, or a new one. It fails if the API has made it, or it is declared twice.
func (h *shelf[T, P]) put(a *applying, seen map[string]bool, prefix, name, path string, tags []tag) (P, error) {
	key := strings.ToLower(name)
	if seen[key] {
		return nil, errors.New("it is declared twice")
	}
	seen[key] = true
	v := h.after[key]
	if v == nil {
		v = P(new(T))
		*v.base() = entity{Account: a.account, ID: newID(prefix), Created: a.now, Declared: true}
		h.after[key] = v
	}
	e := v.base()
	if !e.Declared {
		return nil, errors.New("it exists, and was not declared: delete it, or give the declared one another name")
	}
	e.Name, e.Path, e.Tags = name, path, tags
	return v, nil
}

// sweep removes the declared records that are no longer desired.
func (h *shelf[T, P]) sweep(seen map[string]bool) {
	maps.DeleteFunc(h.after, func(key string, v P) bool { return v.base().Declared && !seen[key] })
}

// about reports the faults of one declared object.
type about struct {
	*applying
	kind, name string
}

// fail records an error, if there is one.
func (o *about) fail(member, value string, err error) {
	if err != nil {
		o.failed = append(o.failed, &Invalid{o.account, o.kind, o.name, member, value, err})
	}
}

// check checks a member as the API does.
func (o *about) check(member string, shape smithy.Shape) { o.fail(member, "", check(shape)) }

// desire changes the copies as desired, and records in failed what is wrong. Policies and groups come first, because the others refer to them.
func (a *applying) desire(d *Declared) {
	policies, groups, roles, users := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range d.Policies {
		a.policy(&d.Policies[i], policies)
	}
	a.policies.sweep(policies)
	for i := range d.Groups {
		a.group(&d.Groups[i], groups)
	}
	a.groups.sweep(groups)
	for i := range d.Roles {
		a.role(&d.Roles[i], roles)
	}
	for i := range d.Users {
		a.user(&d.Users[i], users)
	}
	for key, r := range a.roles.after {
		if r.Declared && !roles[key] && len(r.Profiles) > 0 {
			o := about{a, "role", r.Name}
			o.fail("", "", fmt.Errorf("it can't be removed: instance profile %s contains it", r.Profiles[0]))
		}
	}
	a.roles.sweep(roles)
	for key, u := range a.users.after {
		if u.Declared && !users[key] {
			a.gone = append(a.gone, u.Keys...)
		}
	}
	a.users.sweep(users)
	if len(a.failed) == 0 { // a policy with an error is not among the policies
		a.dangling()
	}
}

// check checks values as the API does.
func check(shape smithy.Shape) error {
	var c smithy.Checker
	shape.Check(&c)
	if err := c.Err(nil); err != nil {
		return errors.New(err.Message)
	}
	return nil
}

// optional returns a text that may be left out.
func optional(text string) smithy.Opt[string] {
	return smithy.Opt[string]{Value: text, Set: text != ""}
}

// pathOf returns a declared path.
func pathOf(text string) string { return optional(text).Or("/") }

// declaredTags checks and sorts tags.
func declaredTags(tags map[string]string) (list []tag, given []api.Tag, err error) {
	for key, value := range tags {
		given = append(given, api.Tag{Key: smithy.Some(key), Value: smithy.Some(value)})
	}
	list, err = newTags(given, tagOf)
	return list, given, err
}

// plain returns an error of the API as one for people, without its code.
func plain(err error) error {
	if err == nil {
		return nil
	}
	_, message, _ := strings.Cut(err.Error(), ": ")
	return errors.New(message)
}

// text returns the stored form of a policy. It keeps the old one if that has the same text.
func text(old *document, raw json.RawMessage, of policy.Kind) (*document, error) {
	if old != nil && old.text == string(raw) {
		return old, nil
	}
	d := &document{text: string(raw)}
	_, err := d.compile(of)
	return d, err
}

func (a *applying) policy(d *DeclaredPolicy, seen map[string]bool) {
	o := &about{a, "policy", d.Name}
	tags, given, err := declaredTags(d.Tags)
	o.fail(MemberTags, "", plain(err))
	o.check("", &api.CreatePolicyRequest{PolicyName: optional(d.Name), PolicyDocument: optional(string(d.Document))})
	rest := &api.CreatePolicyRequest{PolicyName: smithy.Some("p"), PolicyDocument: smithy.Some("{}")}
	rest.Path = optional(d.Path)
	o.check(MemberPath, rest)
	rest.Path, rest.Description = smithy.Opt[string]{}, optional(d.Description)
	o.check(MemberDescription, rest)
	rest.Description, rest.Tags = smithy.Opt[string]{}, given
	o.check(MemberTags, rest)
	m, err := a.policies.put(a, seen, prefixManaged, d.Name, pathOf(d.Path), tags)
	if err != nil {
		o.fail("", "", err)
		return
	}
	var old *document
	if len(m.Versions) > 0 {
		old = m.inForce().Text
	}
	doc, err := text(old, d.Document, policy.OfIdentity)
	switch {
	case err != nil:
		o.fail("", "", err)
	case doc.size() > maxPolicySize:
		o.fail("", "", plain(exceeded("PolicySize", maxPolicySize)))
	case doc != old:
		m.Versions = nil
		m.add(doc, a.now, true)
	}
	m.Description = d.Description
}

// holder changes the policies of a user, group or role.
func (o *about) holder(g *grants, d *Holder) {
	inline := map[string]*document{}
	total := 0
	for _, name := range slices.Sorted(maps.Keys(d.Inline)) {
		raw := d.Inline[name]
		if err := check(&api.PutUserPolicyRequest{UserName: smithy.Some("u"), PolicyName: optional(name), PolicyDocument: optional(string(raw))}); err != nil {
			o.fail(MemberInline, name, err)
			continue
		}
		doc, err := text(g.Inline[name], raw, policy.OfIdentity)
		if err != nil {
			o.fail(MemberInline, name, err)
			continue
		}
		inline[name] = doc
		total += doc.size()
	}
	if total > maxInline[o.kind] {
		o.fail("", "", fmt.Errorf("its inline policies have %d characters, more than %d", total, maxInline[o.kind]))
	}
	var attached []string
	for _, name := range d.Attached {
		arn, err := o.managed(name)
		o.fail(MemberAttached, name, err)
		if err == nil && !slices.Contains(attached, arn) {
			attached = append(attached, arn)
		}
	}
	if len(attached) > maxAttached {
		o.fail(MemberAttached, "", fmt.Errorf("it has %d managed policies, more than %d", len(attached), maxAttached))
	}
	if len(inline) == 0 {
		inline = nil
	}
	g.Inline, g.Attached = inline, attached
}

// boundary returns the ARN of a permissions boundary; "" for "".
func (o *about) boundary(name string) string {
	if name == "" {
		return ""
	}
	arn, err := o.managed(name)
	o.fail(MemberBoundary, "", err)
	return arn
}

// managed returns the ARN of a managed policy, given its name or ARN.
func (a *applying) managed(name string) (arn string, err error) {
	if builtIn(name) != nil {
		return name, nil
	}
	for _, m := range a.policies.after {
		if m.arn("policy") == name || m.Declared && m.Name == name {
			return m.arn("policy"), nil
		}
	}
	return "", fmt.Errorf("there is no policy %q", name)
}

func (a *applying) group(d *DeclaredGroup, seen map[string]bool) {
	o := &about{a, "group", d.Name}
	o.check("", &api.CreateGroupRequest{GroupName: optional(d.Name)})
	o.check(MemberPath, &api.CreateGroupRequest{GroupName: smithy.Some("g"), Path: optional(d.Path)})
	g, err := a.groups.put(a, seen, prefixGroup, d.Name, pathOf(d.Path), nil)
	if err != nil {
		o.fail("", "", err)
		return
	}
	o.holder(&g.grants, &d.Holder)
}

func (a *applying) role(d *DeclaredRole, seen map[string]bool) {
	o := &about{a, "role", d.Name}
	tags, given, err := declaredTags(d.Tags)
	o.fail(MemberTags, "", plain(err))
	o.check("", &api.CreateRoleRequest{RoleName: optional(d.Name), AssumeRolePolicyDocument: optional(string(d.Trust))})
	session := smithy.Opt[int64]{Value: d.MaxSession, Set: d.MaxSession != 0}
	for member, set := range map[string]func(*api.CreateRoleRequest){
		MemberPath:        func(in *api.CreateRoleRequest) { in.Path = optional(d.Path) },
		MemberDescription: func(in *api.CreateRoleRequest) { in.Description = optional(d.Description) },
		MemberTags:        func(in *api.CreateRoleRequest) { in.Tags = given },
		MemberMaxSession:  func(in *api.CreateRoleRequest) { in.MaxSessionDuration = session },
	} {
		in := &api.CreateRoleRequest{RoleName: smithy.Some("r"), AssumeRolePolicyDocument: smithy.Some("{}")}
		set(in)
		o.check(member, in)
	}
	r, err := a.roles.put(a, seen, prefixRole, d.Name, pathOf(d.Path), tags)
	if err != nil {
		o.fail("", "", err)
		return
	}
	trust, err := text(r.Trust, d.Trust, policy.OfTrust)
	switch {
	case err != nil:
		o.fail(MemberTrust, "", err)
	case trust.size() > maxTrust:
		o.fail(MemberTrust, "", plain(exceeded("ACLSizePerRole", maxTrust)))
	}
	r.Trust, r.Description, r.MaxSession = trust, d.Description, session.Or(defaultMaxSession)
	r.Boundary = o.boundary(d.Boundary)
	o.holder(&r.grants, &d.Holder)
}

func (a *applying) user(d *DeclaredUser, seen map[string]bool) {
	o := &about{a, "user", d.Name}
	tags, given, err := declaredTags(d.Tags)
	o.fail(MemberTags, "", plain(err))
	o.check("", &api.CreateUserRequest{UserName: optional(d.Name)})
	o.check(MemberPath, &api.CreateUserRequest{UserName: smithy.Some("u"), Path: optional(d.Path)})
	o.check(MemberTags, &api.CreateUserRequest{UserName: smithy.Some("u"), Tags: given})
	u, err := a.users.put(a, seen, prefixUser, d.Name, pathOf(d.Path), tags)
	if err != nil {
		o.fail("", "", err)
		return
	}
	u.Boundary = o.boundary(d.Boundary)
	u.Groups = nil
	for _, name := range d.Groups {
		g := a.groups.after[strings.ToLower(name)]
		if g == nil || g.Name != name || !g.Declared {
			o.fail(MemberGroups, name, fmt.Errorf("there is no declared group %q", name))
			continue
		}
		if !slices.Contains(u.Groups, g.ID) {
			u.Groups = append(u.Groups, g.ID)
		}
	}
	if len(u.Groups) > maxGroupsPerUser {
		o.fail(MemberGroups, "", plain(exceeded("GroupsPerUser", maxGroupsPerUser)))
	}
	o.holder(&u.grants, &d.Holder)
}

// each visits what every user, group and role refers to.
func (a *applying) each(visit func(kind string, e *entity, g *grants, boundary string)) {
	for _, u := range a.users.after {
		visit("user", &u.entity, &u.grants, u.Boundary)
	}
	for _, g := range a.groups.after {
		visit("group", &g.entity, &g.grants, "")
	}
	for _, r := range a.roles.after {
		visit("role", &r.entity, &r.grants, r.Boundary)
	}
}

// dangling records errors if something that the API has made refers to a policy that is gone or has moved.
func (a *applying) dangling() {
	there := map[string]bool{"": true}
	for _, m := range a.policies.after {
		there[m.arn("policy")] = true
	}
	a.each(func(kind string, e *entity, g *grants, boundary string) {
		for _, arn := range append(slices.Clone(g.Attached), boundary) {
			if !there[arn] && builtIn(arn) == nil {
				o := about{a, "policy", arn[strings.LastIndexByte(arn, '/')+1:]}
				o.fail("", "", fmt.Errorf("it can't be removed or moved: %s %q uses %s", kind, e.Name, arn))
			}
		}
	})
}

// count counts the uses of policies and the members of groups anew.
func (a *applying) count() {
	attached, bounds, members := map[string]int{}, map[string]int{}, map[string]int{}
	a.each(func(_ string, _ *entity, g *grants, boundary string) {
		for _, arn := range g.Attached {
			attached[arn]++
		}
		bounds[boundary]++
	})
	for _, u := range a.users.after {
		for _, id := range u.Groups {
			members[id]++
		}
	}
	for _, m := range a.policies.after {
		m.Attachments, m.Boundaries = attached[m.arn("policy")], bounds[m.arn("policy")]
	}
	for _, g := range a.groups.after {
		g.Members = members[g.ID]
	}
}

// store stores what has changed. What others refer to is stored before them, and removed after them, because lookups find the records one by one.
func (a *applying) store() error {
	// All reads come before the first write: a transaction reads more slowly the more it has written.
	if err := errors.Join(a.policies.verify(a), a.groups.verify(a), a.roles.verify(a), a.users.verify(a)); err != nil {
		return err
	}
	for _, id := range a.gone {
		if err := errors.Join(a.keys.RemoveIn(a.txn, keyRecord(a.account, id)), a.uses.RemoveIn(a.txn, keyRecord(a.account, id))); err != nil {
			return err
		}
	}
	return errors.Join(
		a.policies.save(a), a.groups.save(a), a.roles.save(a), a.users.save(a),
		a.users.remove(a), a.roles.remove(a), a.groups.remove(a), a.policies.remove(a),
	)
}

// save stores the records that have changed.
func (h *shelf[T, P]) save(a *applying) error {
	for _, key := range slices.Sorted(maps.Keys(h.after)) {
		v := h.after[key]
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if bytes.Equal(raw, h.before[key]) {
			continue
		}
		if err := h.PutIn(a.txn, v.base().record(), v); err != nil {
			return err
		}
	}
	return nil
}

// remove removes the records that are no longer desired.
func (h *shelf[T, P]) remove(a *applying) error {
	for _, key := range slices.Sorted(maps.Keys(h.before)) {
		if h.after[key] != nil {
			continue
		}
		if err := h.RemoveIn(a.txn, recordOf(a.account, key)); err != nil {
			return err
		}
	}
	return nil
}

// verify calls unchanged for the records that save and remove will write.
func (h *shelf[T, P]) verify(a *applying) error {
	for key, v := range h.after {
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if !bytes.Equal(raw, h.before[key]) {
			if err := h.unchanged(a, key); err != nil {
				return err
			}
		}
	}
	for key := range h.before {
		if h.after[key] == nil {
			if err := h.unchanged(a, key); err != nil {
				return err
			}
		}
	}
	return nil
}

// unchanged reads a record again, because only what is read singly is protected from changes (K3), and makes the transaction start over if it has changed
// since load.
func (h *shelf[T, P]) unchanged(a *applying, key string) error {
	v, err := h.GetIn(a.txn, recordOf(a.account, key))
	if err != nil {
		return err
	}
	var raw []byte
	if v != nil {
		if raw, err = json.Marshal(v); err != nil {
			return err
		}
	}
	if !bytes.Equal(raw, h.before[key]) {
		return kv.ErrConflict
	}
	return nil
}
