// Package identities manages the users, access keys and policies of a server by IAM's API, for `stator user`, `stator key` and `stator policy`.
package identities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/statordb/stator/internal/cli/client"
)

// Options configure a command.
type Options struct {
	Server client.Server
	Out    io.Writer
	// JSON makes the commands that list print a JSON list.
	JSON bool
}

// form makes the parameters of a request from names and values in turn.
func form(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}

// each collects all pages of a list. P is the form of a page; get returns its elements and its marker, which is empty on the last page.
func each[P, T any](ctx context.Context, s *client.Server, action string, parameters url.Values, get func(*P) ([]T, string)) (all []T, err error) {
	for {
		var page P
		if err := s.IAM(ctx, action, parameters, &page); err != nil {
			return nil, err
		}
		list, marker := get(&page)
		all = append(all, list...)
		if marker == "" {
			return all, nil
		}
		parameters.Set("Marker", marker)
	}
}

// show prints a list: as JSON, or as a table with a line for each element. Fields have tabs between them.
func show[T any](opt *Options, list []T, header string, line func(T) string) error {
	if opt.JSON {
		if list == nil {
			list = []T{}
		}
		e := json.NewEncoder(opt.Out)
		e.SetIndent("", "  ")
		return e.Encode(list)
	}
	out := tabwriter.NewWriter(opt.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, header)
	for _, v := range list {
		fmt.Fprintln(out, line(v))
	}
	return out.Flush()
}

// day shows a time of an answer.
func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") }

// isKind reports whether an error is the server's of a kind.
func isKind(err error, kind string) bool {
	e, ok := errors.AsType[*client.Error](err)
	return ok && e.Kind == kind
}

// user is a user in an answer.
type user struct {
	UserName   string
	Path       string
	Arn        string
	CreateDate time.Time
}

// ListUsers prints the account's users.
func ListUsers(ctx context.Context, opt Options) error {
	type page struct {
		Users  []user `xml:"Users>member"`
		Marker string
	}
	list, err := each(ctx, &opt.Server, "ListUsers", form(), func(p *page) ([]user, string) { return p.Users, p.Marker })
	if err != nil {
		return err
	}
	return show(&opt, list, "USER\tPATH\tCREATED", func(u user) string { return u.UserName + "\t" + u.Path + "\t" + day(u.CreateDate) })
}

// CreateUser makes a user and prints its ARN. An empty path is "/".
func CreateUser(ctx context.Context, opt Options, name, path string) error {
	in := form("UserName", name)
	if path != "" {
		in.Set("Path", path)
	}
	var out struct{ User user }
	if err := opt.Server.IAM(ctx, "CreateUser", in, &out); err != nil {
		return err
	}
	_, err := fmt.Fprintln(opt.Out, out.User.Arn)
	return err
}

// DeleteUser deletes a user. With force it deletes the user's access keys and inline policies first, detaches managed ones, and takes the user out of groups;
// otherwise the server refuses to delete a user that has any of these.
func DeleteUser(ctx context.Context, opt Options, name string, force bool) error {
	if force {
		if err := clearUser(ctx, &opt.Server, name); err != nil {
			return err
		}
	}
	err := opt.Server.IAM(ctx, "DeleteUser", form("UserName", name), nil)
	if isKind(err, "DeleteConflict") && !force {
		return fmt.Errorf("%w (--force removes the user's keys, policies and memberships too)", err)
	}
	return err
}

// clearUser removes what keeps a user from being deleted.
func clearUser(ctx context.Context, s *client.Server, name string) error {
	keys, err := accessKeys(ctx, s, name)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := s.IAM(ctx, "DeleteAccessKey", form("UserName", name, "AccessKeyId", k.AccessKeyId), nil); err != nil {
			return err
		}
	}
	for _, held := range []struct{ list, remove, parameter string }{
		{"ListUserPolicies", "DeleteUserPolicy", "PolicyName"},
		{"ListAttachedUserPolicies", "DetachUserPolicy", "PolicyArn"},
		{"ListGroupsForUser", "RemoveUserFromGroup", "GroupName"},
	} {
		type page struct {
			Names    []string `xml:"PolicyNames>member"`
			Attached []string `xml:"AttachedPolicies>member>PolicyArn"`
			Groups   []string `xml:"Groups>member>GroupName"`
			Marker   string
		}
		names, err := each(ctx, s, held.list, form("UserName", name), func(p *page) ([]string, string) {
			return append(append(p.Names, p.Attached...), p.Groups...), p.Marker
		})
		if err != nil {
			return err
		}
		for _, value := range names {
			if err := s.IAM(ctx, held.remove, form("UserName", name, held.parameter, value), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// accessKey is an access key in an answer.
type accessKey struct {
	AccessKeyId string
	Status      string
	CreateDate  time.Time
	LastUsed    *time.Time `xml:"-" json:",omitempty"` // nil if it was not used yet
}

func accessKeys(ctx context.Context, s *client.Server, user string) ([]accessKey, error) {
	type page struct {
		Keys   []accessKey `xml:"AccessKeyMetadata>member"`
		Marker string
	}
	return each(ctx, s, "ListAccessKeys", form("UserName", user), func(p *page) ([]accessKey, string) { return p.Keys, p.Marker })
}

// ListKeys prints a user's access keys, and when each was used last.
func ListKeys(ctx context.Context, opt Options, user string) error {
	list, err := accessKeys(ctx, &opt.Server, user)
	if err != nil {
		return err
	}
	for i := range list {
		var out struct {
			AccessKeyLastUsed struct{ LastUsedDate *time.Time }
		}
		if err := opt.Server.IAM(ctx, "GetAccessKeyLastUsed", form("AccessKeyId", list[i].AccessKeyId), &out); err != nil {
			return err
		}
		list[i].LastUsed = out.AccessKeyLastUsed.LastUsedDate
	}
	return show(&opt, list, "ACCESS KEY\tSTATUS\tCREATED\tLAST USED", func(k accessKey) string {
		used := "never"
		if k.LastUsed != nil {
			used = day(*k.LastUsed)
		}
		return k.AccessKeyId + "\t" + k.Status + "\t" + day(k.CreateDate) + "\t" + used
	})
}

// Formats of CreateKey.
const (
	FormatText = "text" // lines for people
	FormatEnv  = "env"  // commands of a shell that set the variables of AWS's SDKs
	FormatJSON = "json" // an entry of a credentials file, without its account
)

// CreateKey makes an access key of a user, and prints it with its secret. The server never tells the secret again.
func CreateKey(ctx context.Context, opt Options, user, format string) error {
	var out struct {
		AccessKey struct{ AccessKeyId, SecretAccessKey string }
	}
	if err := opt.Server.IAM(ctx, "CreateAccessKey", form("UserName", user), &out); err != nil {
		return err
	}
	key, secret := out.AccessKey.AccessKeyId, out.AccessKey.SecretAccessKey
	var err error
	switch format {
	case FormatEnv:
		_, err = fmt.Fprintf(opt.Out, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nunset AWS_SESSION_TOKEN\n", quoted(key), quoted(secret))
	case FormatJSON:
		err = json.NewEncoder(opt.Out).Encode(struct {
			AccessKeyID     string `json:"accessKeyId"`
			SecretAccessKey string `json:"secretAccessKey"`
		}{key, secret})
	default:
		_, err = fmt.Fprintf(opt.Out, "accessKeyId      %s\nsecretAccessKey  %s\n", key, secret)
	}
	return err
}

// quoted quotes a text for a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// SetKey enables or disables an access key.
func SetKey(ctx context.Context, opt Options, user, id string, enabled bool) error {
	status := "Inactive"
	if enabled {
		status = "Active"
	}
	return opt.Server.IAM(ctx, "UpdateAccessKey", form("UserName", user, "AccessKeyId", id, "Status", status), nil)
}

// DeleteKey deletes an access key.
func DeleteKey(ctx context.Context, opt Options, user, id string) error {
	return opt.Server.IAM(ctx, "DeleteAccessKey", form("UserName", user, "AccessKeyId", id), nil)
}
