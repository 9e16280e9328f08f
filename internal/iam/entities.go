package iam

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/api"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy"
)

// record is implemented by pointers to the records of entities.
type record[T any] interface {
	*T
	base() *entity
}

// kind is the records of a kind of entity.
type kind[T any, P record[T]] struct {
	*registry.Set[T]
	word string // as in ARNs
	noun string // as in sentences
}

func openKind[T any, P record[T]](ctx context.Context, from registry.Storage, of registry.Kind, word, noun string) (*kind[T, P], error) {
	set, err := registry.Open[T](ctx, from, of)
	return &kind[T, P]{set, word, noun}, err
}

// missing is AWS's error for a name that no entity has.
func (k *kind[T, P]) missing(name string) error {
	return awserr.New(noSuchEntity, "The "+k.noun+" with name "+name+" cannot be found.")
}

// find returns the entity with a name, or nil.
func (k *kind[T, P]) find(account, name string) P {
	if v := P(k.Get(recordOf(account, name))); v != nil && v.base().Name == name {
		return v
	}
	return nil
}

// resource returns the ARN by which a request for an entity is authorized. If there is no such entity, its path is unknown and left out.
func (k *kind[T, P]) resource(account, name string) string {
	if v := k.find(account, name); v != nil {
		return v.base().arn(k.word)
	}
	return "arn:aws:iam::" + account + ":" + k.word + "/" + name
}

// tagKeys returns the condition keys of an entity's tags; none if there is no such entity.
func (k *kind[T, P]) tagKeys(account, name string) keys {
	with := keys{}
	if v := k.find(account, name); v != nil {
		with.resourceTags(v.base().Tags)
	}
	return with
}

// allowed asks whether the caller may take the operation's action on an entity, and returns the caller's account.
func (k *kind[T, P]) allowed(s *Service, call *smithy.Call, name string, with keys) (account string, err error) {
	account = s.Caller(call).Account
	all := k.tagKeys(account, name)
	for key, v := range with {
		all[key] = v
	}
	return account, s.authorize(call, k.resource(account, name), all)
}

// get is allowed for an operation that reads an entity, which it returns.
func (k *kind[T, P]) get(s *Service, call *smithy.Call, name string) (P, error) {
	account, err := k.allowed(s, call, name, nil)
	if err != nil {
		return nil, err
	}
	if v := k.find(account, name); v != nil {
		return v, nil
	}
	return nil, k.missing(name)
}

// putNew stores a new entity, and fails if its name is taken.
func (k *kind[T, P]) putNew(txn *registry.Txn, v P) error {
	old, err := k.GetIn(txn, v.base().record())
	switch {
	case err != nil:
		return err
	case old != nil:
		return k.taken(v.base().Name)
	}
	return k.PutIn(txn, v.base().record(), v)
}

// taken is AWS's error for a name that an entity has already.
func (k *kind[T, P]) taken(name string) error {
	switch k.word {
	case "policy":
		return awserr.New(alreadyExists, "A policy called "+name+" already exists. Duplicate names are not allowed.")
	case "instance-profile":
		return awserr.New(alreadyExists, "Instance Profile "+name+" already exists.")
	}
	return awserr.New(alreadyExists, strings.ToUpper(k.noun[:1])+k.noun[1:]+" with name "+name+" already exists.")
}

// changeIn changes an entity in a transaction. It fails if there is no such entity, or if it is declared.
func (k *kind[T, P]) changeIn(txn *registry.Txn, account, name string, change func(P) error) error {
	return k.touchIn(txn, account, name, func(v P) error {
		if err := v.base().modifiable(); err != nil {
			return err
		}
		return change(v)
	})
}

// touchIn is changeIn for what the API may change in a declared entity too: its access keys, and the counts of its users.
func (k *kind[T, P]) touchIn(txn *registry.Txn, account, name string, change func(P) error) error {
	v, err := k.ChangeIn(txn, recordOf(account, name), func(v *T) error {
		if P(v).base().Name != name {
			return k.missing(name)
		}
		return change(v)
	})
	if err == nil && v == nil {
		err = k.missing(name)
	}
	return err
}

// removeIn removes an entity in a transaction, if check does not object.
func (k *kind[T, P]) removeIn(txn *registry.Txn, account, name string, check func(P) error) error {
	id := recordOf(account, name)
	v, err := k.GetIn(txn, id)
	switch {
	case err != nil:
		return err
	case v == nil || P(v).base().Name != name:
		return k.missing(name)
	}
	if err := P(v).base().modifiable(); err != nil {
		return err
	}
	if err := check(v); err != nil {
		return err
	}
	return k.RemoveIn(txn, id)
}

// change is changeIn in a transaction of its own.
func (k *kind[T, P]) change(ctx context.Context, s *Service, account, name string, change func(P) error) error {
	return s.update(ctx, account, func(txn *registry.Txn) error { return k.changeIn(txn, account, name, change) })
}

// under returns an account's entities whose paths begin with a prefix, sorted by name.
func (k *kind[T, P]) under(account, prefix string) (out []P) {
	for _, v := range k.List(account, region) {
		if p := P(v); strings.HasPrefix(p.base().Path, prefix) {
			out = append(out, p)
		}
	}
	return out
}

// listing authorizes an operation that lists entities under a path prefix, and returns them.
func (k *kind[T, P]) listing(s *Service, call *smithy.Call, prefix smithy.Opt[string]) ([]P, error) {
	account, path := s.Caller(call).Account, prefix.Or("/")
	if err := s.authorize(call, "arn:aws:iam::"+account+":"+k.word+path, nil); err != nil {
		return nil, err
	}
	return k.under(account, path), nil
}

// room fails if an account has as many entities as it may.
func (k *kind[T, P]) room(account, quota string, most int) error {
	if len(k.List(account, region)) >= most {
		return exceeded(quota, most)
	}
	return nil
}

// exceeded is AWS's error for exceeding a quota.
func exceeded(quota string, most int) error {
	return awserr.New(limitExceeded, fmt.Sprintf("Cannot exceed quota for %s: %d", quota, most))
}

// modifiable fails if the entity is declared.
func (e *entity) modifiable() error {
	if e.Declared {
		return awserr.New(unmodifiable, "Cannot modify "+e.Name+": it is declared by this server's policy files.")
	}
	return nil
}

// update runs a transaction that changes records of an account. Such transactions wait for each other: most of them change several records, which they
// learn only from the first ones, so they could not hint them.
func (s *Service) update(ctx context.Context, account string, do func(*registry.Txn) error) error {
	return registry.Update(ctx, s.Records.KV, kv.TxnOpt{Hint: [][]byte{keyspace.IAMAccount(account)}}, do)
}

// newEntity returns a new entity of the caller's account.
func (s *Service) newEntity(account, prefix, name string, path smithy.Opt[string], tags []tag) entity {
	return entity{Account: account, Name: name, Path: path.Or("/"), ID: newID(prefix), Created: s.Now().UnixMilli(), Tags: tags}
}

// invalid returns a ValidationError.
func invalid(format string, args ...any) error {
	return awserr.New(awserr.Validation, fmt.Sprintf(format, args...))
}

// parsePolicy compiles a policy that a request brings.
func parsePolicy(text string, of policy.Kind) (*document, error) {
	compiled, err := policy.Parse(text, of)
	if err != nil {
		return nil, malformed(err)
	}
	d := &document{text: text}
	d.compiled.Store(compiled)
	return d, nil
}

// malformed is AWS's error for a policy that Parse refuses.
func malformed(err error) error {
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return awserr.New(malformedPolicy, e.Message)
	}
	return err
}

// encoded returns a policy's text as answers have it: URL-encoded (RFC 3986).
func encoded(text string) smithy.Opt[string] {
	return smithy.Some(strings.ReplaceAll(url.QueryEscape(text), "+", "%20"))
}

// seconds converts a time in milliseconds since 1970. IAM's times have whole seconds.
func seconds(ms int64) smithy.Opt[float64] { return smithy.Some(float64(ms / 1000)) }

// defaultPage is how many elements a page of a list has by default.
const defaultPage = 100

// page returns the page of a list that a request asks for, after the element that the marker names. It sorts the list by name, which must be
// unique. next is the marker of the following page; it is set if there is one.
func page[T any](list []T, name func(T) string, marker smithy.Opt[string], size smithy.Opt[int64]) (out []T, next smithy.Opt[string], err error) {
	slices.SortFunc(list, func(a, b T) int { return strings.Compare(name(a), name(b)) })
	after := marker
	if marker.Set {
		if after.Value, err = smithy.DecodeToken(marker.Value); err != nil {
			return nil, next, invalid("Invalid Marker.")
		}
	}
	out, last := smithy.Page(smithy.After(list, after, name), size.Or(defaultPage), name)
	if last.Set {
		next = smithy.Some(smithy.EncodeToken(last.Value))
	}
	return out, next, nil
}

// mapped returns a list of answers, which is never nil: an empty list is in the answer too.
func mapped[T, U any](list []T, to func(T) U) []U {
	out := make([]U, 0, len(list))
	for _, v := range list {
		out = append(out, to(v))
	}
	return out
}

// named returns an entity's name, by which lists are sorted.
func named[P interface{ base() *entity }](v P) string { return v.base().Name }

// boundaryType is the PermissionsBoundaryType of AWS's answers. The model's enumeration has another value, which no answer has.
const boundaryType = "Policy"

// boundaryOf returns a permissions boundary as answers have it; nil without one.
func boundaryOf(arn string) *api.AttachedPermissionsBoundary {
	if arn == "" {
		return nil
	}
	return &api.AttachedPermissionsBoundary{PermissionsBoundaryType: smithy.Some(boundaryType), PermissionsBoundaryArn: smithy.Some(arn)}
}
