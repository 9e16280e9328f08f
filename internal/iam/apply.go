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

// Apply makes the declared users, groups, roles and policies of an account equal to the desired state, all or none of them. It stores nothing if they are
// already. What the API has made is left alone, and what Apply has made can't be changed by the API, except for access keys. Declared
// users that are no longer desired go with their access keys. Errors name the object that is invalid, that the API has made under the same name, or
// whose removal would leave something without its policy.
func (s *Service) Apply(ctx context.Context, account string, desired Declared) error {
	return s.update(ctx, account, func(txn *registry.Txn) error {
		a := &applying{Service: s, account: account, txn: txn, now: s.Now().UnixMilli()}
		if err := a.load(ctx); err != nil {
			return err
		}
		if err := a.desire(&desired); err != nil {
			return err
		}
		a.count()
		return a.store()
	})
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

// desire changes the copies as desired. Policies and groups come first, because the others refer to them.
func (a *applying) desire(d *Declared) error {
	wrong := func(kind, name string, err error) error { return fmt.Errorf("%s %q: %w", kind, name, err) }
	policies, groups, roles, users := map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for i := range d.Policies {
		if err := a.policy(&d.Policies[i], policies); err != nil {
			return wrong("policy", d.Policies[i].Name, err)
		}
	}
	a.policies.sweep(policies)
	for i := range d.Groups {
		if err := a.group(&d.Groups[i], groups); err != nil {
			return wrong("group", d.Groups[i].Name, err)
		}
	}
	a.groups.sweep(groups)
	for i := range d.Roles {
		if err := a.role(&d.Roles[i], roles); err != nil {
			return wrong("role", d.Roles[i].Name, err)
		}
	}
	for i := range d.Users {
		if err := a.user(&d.Users[i], users); err != nil {
			return wrong("user", d.Users[i].Name, err)
		}
	}
	for key, r := range a.roles.after {
		if r.Declared && !roles[key] && len(r.Profiles) > 0 {
			return wrong("role", r.Name, fmt.Errorf("it can't be removed: instance profile %s contains it", r.Profiles[0]))
		}
	}
	a.roles.sweep(roles)
	for key, u := range a.users.after {
		if u.Declared && !users[key] {
			for _, id := range u.Keys {
				if err := errors.Join(a.keys.RemoveIn(a.txn, keyRecord(a.account, id)), a.uses.RemoveIn(a.txn, keyRecord(a.account, id))); err != nil {
					return err
				}
			}
		}
	}
	a.users.sweep(users)
	return a.dangling()
}

// check checks values as the API does.
func check(shapes ...smithy.Shape) error {
	for _, s := range shapes {
		var c smithy.Checker
		s.Check(&c)
		if err := c.Err(nil); err != nil {
			return errors.New(err.Message)
		}
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

func (a *applying) policy(d *DeclaredPolicy, seen map[string]bool) error {
	tags, given, err := declaredTags(d.Tags)
	if err != nil {
		return plain(err)
	}
	err = check(&api.CreatePolicyRequest{
		PolicyName: optional(d.Name), Path: optional(d.Path), Description: optional(d.Description), PolicyDocument: optional(string(d.Document)), Tags: given,
	})
	if err != nil {
		return err
	}
	m, err := a.policies.put(a, seen, prefixManaged, d.Name, pathOf(d.Path), tags)
	if err != nil {
		return err
	}
	var old *document
	if len(m.Versions) > 0 {
		old = m.inForce().Text
	}
	doc, err := text(old, d.Document, policy.OfIdentity)
	switch {
	case err != nil:
		return err
	case doc.size() > maxPolicySize:
		return plain(exceeded("PolicySize", maxPolicySize))
	case doc != old:
		m.Versions = nil
		m.add(doc, a.now, true)
	}
	m.Description = d.Description
	return nil
}

// holder changes the policies of a user, group or role.
func (a *applying) holder(g *grants, word string, d *Holder) error {
	inline := map[string]*document{}
	total := 0
	for name, raw := range d.Inline {
		if err := check(&api.PutUserPolicyRequest{UserName: smithy.Some("u"), PolicyName: optional(name), PolicyDocument: optional(string(raw))}); err != nil {
			return err
		}
		doc, err := text(g.Inline[name], raw, policy.OfIdentity)
		if err != nil {
			return fmt.Errorf("inline policy %q: %w", name, err)
		}
		inline[name] = doc
		total += doc.size()
	}
	if total > maxInline[word] {
		return fmt.Errorf("its inline policies have %d characters, more than %d", total, maxInline[word])
	}
	var attached []string
	for _, name := range d.Attached {
		arn, err := a.managed(name)
		if err != nil {
			return err
		}
		if !slices.Contains(attached, arn) {
			attached = append(attached, arn)
		}
	}
	if len(attached) > maxAttached {
		return fmt.Errorf("it has %d managed policies, more than %d", len(attached), maxAttached)
	}
	if len(inline) == 0 {
		inline = nil
	}
	g.Inline, g.Attached = inline, attached
	return nil
}

// managed returns the ARN of a managed policy, given its name or ARN; "" for "".
func (a *applying) managed(name string) (arn string, err error) {
	if name == "" || builtIn(name) != nil {
		return name, nil
	}
	for _, m := range a.policies.after {
		if m.arn("policy") == name || m.Declared && m.Name == name {
			return m.arn("policy"), nil
		}
	}
	return "", fmt.Errorf("there is no policy %q", name)
}

func (a *applying) group(d *DeclaredGroup, seen map[string]bool) error {
	if err := check(&api.CreateGroupRequest{GroupName: optional(d.Name), Path: optional(d.Path)}); err != nil {
		return err
	}
	g, err := a.groups.put(a, seen, prefixGroup, d.Name, pathOf(d.Path), nil)
	if err != nil {
		return err
	}
	return a.holder(&g.grants, "group", &d.Holder)
}

func (a *applying) role(d *DeclaredRole, seen map[string]bool) error {
	tags, given, err := declaredTags(d.Tags)
	if err != nil {
		return plain(err)
	}
	in := &api.CreateRoleRequest{
		RoleName: optional(d.Name), Path: optional(d.Path), Description: optional(d.Description), AssumeRolePolicyDocument: optional(string(d.Trust)), Tags: given,
		MaxSessionDuration: smithy.Opt[int64]{Value: d.MaxSession, Set: d.MaxSession != 0},
	}
	if err := check(in); err != nil {
		return err
	}
	r, err := a.roles.put(a, seen, prefixRole, d.Name, pathOf(d.Path), tags)
	if err != nil {
		return err
	}
	if r.Trust, err = text(r.Trust, d.Trust, policy.OfTrust); err != nil {
		return fmt.Errorf("trust policy: %w", err)
	}
	if r.Trust.size() > maxTrust {
		return plain(exceeded("ACLSizePerRole", maxTrust))
	}
	r.Description, r.MaxSession = d.Description, in.MaxSessionDuration.Or(defaultMaxSession)
	if r.Boundary, err = a.managed(d.Boundary); err != nil {
		return err
	}
	return a.holder(&r.grants, "role", &d.Holder)
}

func (a *applying) user(d *DeclaredUser, seen map[string]bool) error {
	tags, given, err := declaredTags(d.Tags)
	if err != nil {
		return plain(err)
	}
	if err := check(&api.CreateUserRequest{UserName: optional(d.Name), Path: optional(d.Path), Tags: given}); err != nil {
		return err
	}
	u, err := a.users.put(a, seen, prefixUser, d.Name, pathOf(d.Path), tags)
	if err != nil {
		return err
	}
	if u.Boundary, err = a.managed(d.Boundary); err != nil {
		return err
	}
	u.Groups = nil
	for _, name := range d.Groups {
		g := a.groups.after[strings.ToLower(name)]
		if g == nil || g.Name != name || !g.Declared {
			return fmt.Errorf("there is no declared group %q", name)
		}
		if !slices.Contains(u.Groups, g.ID) {
			u.Groups = append(u.Groups, g.ID)
		}
	}
	if len(u.Groups) > maxGroupsPerUser {
		return plain(exceeded("GroupsPerUser", maxGroupsPerUser))
	}
	return a.holder(&u.grants, "user", &d.Holder)
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

// dangling fails if something that the API has made refers to a policy that is gone or has moved.
func (a *applying) dangling() (err error) {
	there := map[string]bool{"": true}
	for _, m := range a.policies.after {
		there[m.arn("policy")] = true
	}
	a.each(func(kind string, e *entity, g *grants, boundary string) {
		for _, arn := range append(slices.Clone(g.Attached), boundary) {
			if !there[arn] && builtIn(arn) == nil {
				err = fmt.Errorf("policy %s can't be removed: %s %q uses it", arn, kind, e.Name)
			}
		}
	})
	return err
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
		if err := errors.Join(h.unchanged(a, key), h.PutIn(a.txn, v.base().record(), v)); err != nil {
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
		if err := errors.Join(h.unchanged(a, key), h.RemoveIn(a.txn, recordOf(a.account, key))); err != nil {
			return err
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
