package iam

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/registry"
)

// region takes the region's place in the records' keys: an account's IAM is the same in all regions.
const region = "aws-global"

// format is the version of a record's form. A server refuses records of a later version, which it would misread.
type format struct{}

// formatNow is the version that this server writes.
const formatNow = 1

// MarshalJSON implements json.Marshaler.
func (format) MarshalJSON() ([]byte, error) { return json.Marshal(formatNow) }

// UnmarshalJSON implements json.Unmarshaler.
func (*format) UnmarshalJSON(raw []byte) error {
	var version int
	if err := json.Unmarshal(raw, &version); err != nil {
		return err
	}
	if version != formatNow {
		return fmt.Errorf("IAM record of version %d: this server knows version %d only", version, formatNow)
	}
	return nil
}

// entity is what users, groups, roles, policies and instance profiles have in common. Records are immutable: a change replaces the whole
// value. The JSON form is the stored one.
type entity struct {
	Format     format
	Account    string
	Name, Path string
	ID         string // AIDA…, AGPA…, AROA…, ANPA… or AIPA…
	Created    int64  // milliseconds since 1970, like the other times
	Tags       []tag  `json:",omitempty"` // sorted by key
	// Declared records belong to Apply; the API can't change them.
	Declared bool `json:",omitempty"`
}

// tag is a tag of an entity or a session.
type tag struct{ Key, Value string }

// record identifies the entity's record. Names that differ only in case are the same to IAM.
func (e *entity) record() registry.ID { return recordOf(e.Account, e.Name) }

func (e *entity) base() *entity { return e }

func recordOf(account, name string) registry.ID {
	return registry.ID{Account: account, Region: region, Name: strings.ToLower(name)}
}

// arn returns the Amazon Resource Name of an entity of a kind.
func (e *entity) arn(kind string) string {
	return "arn:aws:iam::" + e.Account + ":" + kind + e.Path + e.Name
}

// grants are the policies of a user, group or role.
type grants struct {
	Inline   map[string]*document `json:",omitempty"` // by name
	Attached []string             `json:",omitempty"` // ARNs of managed policies, in the order in which they were attached
}

func (g *grants) policies() *grants { return g }

// user is a user.
type user struct {
	entity
	grants
	Boundary string   `json:",omitempty"` // ARN of the managed policy
	Groups   []string `json:",omitempty"` // their ids, which renaming a group keeps
	Keys     []string `json:",omitempty"` // ids of its access keys
}

func (u *user) boundary() *string { return &u.Boundary }

// group is a group of users.
type group struct {
	entity
	grants
	Members int // number of its users
}

// role is a role.
type role struct {
	entity
	grants
	Boundary    string `json:",omitempty"`
	Description string `json:",omitempty"`
	Trust       *document
	MaxSession  int64    // seconds
	Profiles    []string `json:",omitempty"` // names of the instance profiles that contain it
}

func (r *role) boundary() *string { return &r.Boundary }

// managed is a customer managed policy, or one of AWS's.
type managed struct {
	entity
	Description string `json:",omitempty"`
	Updated     int64
	Versions    []version // from the oldest to the newest
	Default     string    // id of the version in force
	Next        int       // number of the next version
	// Attachments and Boundaries count the entities that use the policy.
	Attachments, Boundaries int
}

// version is a version of a managed policy.
type version struct {
	ID      string // v1, v2, …
	Created int64
	Text    *document
}

// version returns the version with an id, or nil.
func (m *managed) version(id string) *version {
	for i := range m.Versions {
		if m.Versions[i].ID == id {
			return &m.Versions[i]
		}
	}
	return nil
}

// inForce returns the version in force.
func (m *managed) inForce() *version { return m.version(m.Default) }

// profile is an instance profile. It has no effect here.
type profile struct {
	entity
	Role string `json:",omitempty"` // name of its role
}

// accessKey is a user's access key.
type accessKey struct {
	Format  format
	Account string
	ID      string
	User    string // name
	Status  string // Active or Inactive
	Created int64
	// Sealed is the secret, encrypted by the secrets key with the id SealedBy.
	Sealed   []byte
	SealedBy string
}

func (k *accessKey) record() registry.ID {
	return registry.ID{Account: k.Account, Region: region, Name: k.ID}
}

// keyUse is when and for what an access key was last used.
type keyUse struct {
	Format          format
	Account         string
	ID              string
	At              int64
	Service, Region string
}

// document is a policy's text, which is compiled when it is first needed.
type document struct {
	text     string
	compiled atomic.Pointer[policy.Document]
}

// MarshalJSON implements json.Marshaler.
func (d *document) MarshalJSON() ([]byte, error) { return json.Marshal(d.text) }

// UnmarshalJSON implements json.Unmarshaler.
func (d *document) UnmarshalJSON(raw []byte) error { return json.Unmarshal(raw, &d.text) }

// compile returns the compiled policy. A record's text was valid when it was stored.
func (d *document) compile(kind policy.Kind) (*policy.Document, error) {
	if done := d.compiled.Load(); done != nil {
		return done, nil
	}
	done, err := policy.Parse(d.text, kind)
	if err != nil {
		return nil, err
	}
	d.compiled.Store(done)
	return done, nil
}

// size returns how many characters of the text count for quotas: IAM does not count white space ("IAM and AWS STS quotas").
func (d *document) size() (n int) {
	for _, r := range d.text {
		switch r {
		case ' ', '\t', '\n', '\r':
		default:
			n++
		}
	}
	return n
}
