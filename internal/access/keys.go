package access

import (
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/access/policy"
)

// keys implements policy.Context: the condition keys that all requests have ("AWS global condition context keys"), then those of the
// operation. Requests never come through another AWS service, a VPC endpoint or a second factor, so they lack the keys about these.
type keys struct {
	*Question
	id    *policy.Identity
	owner string
	read  bool // a policy has asked for a key
}

// Lookup implements policy.Context.
func (k *keys) Lookup(key string) (v policy.Values, ok bool) {
	k.read = true
	name, global := strings.CutPrefix(key, "aws:")
	if global {
		if tag, ok := strings.CutPrefix(name, "principaltag/"); ok {
			return k.principalTag(tag)
		}
		if v, ok := k.global(name); ok {
			return one(v)
		}
	}
	if k.Keys == nil {
		return v, false
	}
	return k.Keys.Lookup(key)
}

// one returns the value of a key with a single value; without a value the request does not have the key.
func one(text string) (policy.Values, bool) {
	return policy.Values{List: []string{text}}, text != ""
}

// principalTag returns the value of a tag of the principal. Keys of tags are compared without regard to case. An empty value is there.
func (k *keys) principalTag(name string) (policy.Values, bool) {
	for key, value := range k.id.Tags {
		if strings.EqualFold(key, name) {
			return policy.Values{List: []string{value}}, true
		}
	}
	return policy.Values{}, false
}

// global returns the value of a global key, whose name is in lower case and without its prefix. ok is false for other keys.
func (k *keys) global(name string) (value string, ok bool) {
	switch name {
	case "principalarn":
		if k.id.Role != "" { // for a session, the key has the role's ARN
			return k.id.Role, true
		}
		return k.id.ARN, true
	case "principalaccount":
		return k.id.Account, true
	case "principaltype":
		return k.id.Type, true
	case "userid":
		return k.id.UserID, true
	case "username":
		return k.id.UserName, true
	case "tokenissuetime":
		if k.id.Issued.IsZero() {
			return "", true
		}
		return k.id.Issued.UTC().Format(time.RFC3339), true
	case "sourceidentity":
		return k.id.SourceIdentity, true
	case "currenttime":
		return k.Call.Time.UTC().Format(time.RFC3339), true
	case "epochtime":
		return strconv.FormatInt(k.Call.Time.Unix(), 10), true
	case "requestedregion":
		return k.Call.Caller.Region, true
	case "resourceaccount":
		return k.owner, true
	}
	if k.Call.Origin == nil {
		return "", false
	}
	switch name {
	case "sourceip":
		return k.Call.Origin.Address(), true
	case "securetransport":
		return strconv.FormatBool(k.Call.Origin.Secure()), true
	case "useragent":
		return k.Call.Origin.UserAgent(), true
	case "referer":
		return k.Call.Origin.Referer(), true
	}
	return "", false
}
