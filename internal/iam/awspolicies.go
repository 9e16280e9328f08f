package iam

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// awsPolicies has the policies of AWS that this server knows ("AWS managed policies", the AWS Managed Policy Reference Guide).
//
//go:embed awspolicies.json
var awsPolicies []byte

// awsAccount takes the account's place in the ARNs of AWS's policies.
const awsAccount = "aws"

// builtIns returns AWS's policies, sorted by name.
var builtIns = sync.OnceValue(func() (out []*managed) {
	var list []struct {
		Name, Path, Description, Version string
		Created, Updated                 time.Time
		Document                         json.RawMessage
	}
	if err := json.Unmarshal(awsPolicies, &list); err != nil {
		panic(fmt.Sprintf("iam: awspolicies.json: %v", err)) // the file is part of the program
	}
	for _, p := range list {
		var text bytes.Buffer
		if err := json.Indent(&text, p.Document, "", "  "); err != nil {
			panic(fmt.Sprintf("iam: awspolicies.json: %s: %v", p.Name, err))
		}
		out = append(out, &managed{
			entity: entity{
				Account: awsAccount, Name: p.Name, Path: p.Path, Created: p.Created.UnixMilli(),
				// The id is AWS's in form only. It is the same on all servers.
				ID: prefixManaged + idEncoding.EncodeToString(mac([]byte("policy id"), p.Name))[:17],
			},
			Description: p.Description, Updated: p.Updated.UnixMilli(), Default: p.Version,
			Versions: []version{{ID: p.Version, Created: p.Updated.UnixMilli(), Text: &document{text: text.String()}}},
		})
	}
	slices.SortFunc(out, func(a, b *managed) int { return strings.Compare(a.Name, b.Name) })
	return out
})

// builtIn returns the policy of AWS with an ARN, or nil.
func builtIn(arn string) *managed {
	r, ok := parseARN(arn)
	if !ok || r.account != awsAccount || r.kind != "policy" {
		return nil
	}
	list := builtIns()
	i, found := slices.BinarySearchFunc(list, r.name, func(m *managed, name string) int { return strings.Compare(m.Name, name) })
	if !found || list[i].Path != r.path {
		return nil
	}
	return list[i]
}
