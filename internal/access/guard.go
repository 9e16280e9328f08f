package access

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/smithy"
)

// Guard returns handlers that ask Authorize before they run. questions returns what a decoded input asks; it runs before the input is
// checked. Guard completes each question: its Call, and unless the question has one, its Action, which is prefix and the operation's name,
// e.g. cloudwatch:DeleteAlarms. Without questions, the operation asks for Any. now is the clock of Call.Time.
func Guard(handlers []smithy.Handler, prefix string, now func() time.Time, questions func(call *smithy.Call, in any) []Question) []smithy.Handler {
	out := slices.Clone(handlers)
	for i := range out {
		_, name, _ := strings.Cut(out[i].Target, ".")
		action, run := prefix+name, out[i].Run
		out[i].Run = func(ctx context.Context, call *smithy.Call, in any) (smithy.Renderer, error) {
			call.Time = now()
			asked := questions(call, in)
			if len(asked) == 0 {
				asked = []Question{{Resource: Any}}
			}
			if err := authorizeAll(call, action, asked); err != nil {
				return nil, err
			}
			return run(ctx, call, in)
		}
	}
	return out
}

// authorizeAll asks Authorize until the first refusal. action is that of the questions without one.
func authorizeAll(call *smithy.Call, action string, asked []Question) error {
	for i := range asked {
		q := &asked[i]
		q.Call = call
		if q.Action == "" {
			q.Action = action
		}
		if err := Authorize(q); err != nil {
			return err
		}
	}
	return nil
}

// ByARN asks about the resource that a request names by ARN. A text that is no ARN names nothing: the operation refuses it. own is the
// account whose resources are the caller's, which all callers of a shared namespace have in common.
func ByARN(caller *smithy.Caller, text, own string) Question {
	if !strings.HasPrefix(text, "arn:") {
		return Question{Resource: Any}
	}
	q := Question{Resource: text, Owner: Account(text)}
	if q.Owner == own {
		q.Owner = caller.Account
	}
	return q
}

// Keys are condition keys by their names in lower case. Keys implements policy.Context.
type Keys map[string]policy.Values

// Lookup implements policy.Context.
func (k Keys) Lookup(key string) (v policy.Values, ok bool) {
	v, ok = k[key]
	return v, ok
}

// Set sets a key with a single value.
func (k Keys) Set(name, value string) { k[name] = policy.Values{List: []string{value}} }

// Add adds a value to a key that can have several.
func (k Keys) Add(name, value string) {
	k[name] = policy.Values{List: append(k[name].List, value), Multiple: true}
}

// RequestTag adds a tag that the request gives to its resource: aws:RequestTag and aws:TagKeys.
func (k Keys) RequestTag(key, value string) {
	k.Set("aws:requesttag/"+strings.ToLower(key), value)
	k.Add("aws:tagkeys", key)
}

// ResourceTags sets aws:ResourceTag for the tags that the resource has.
func (k Keys) ResourceTags(tags map[string]string) {
	for key, value := range tags {
		k.Set("aws:resourcetag/"+strings.ToLower(key), value)
	}
}
