package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/cli/identities"
)

// maxPolicyFile is the largest file with a policy document in bytes: longer documents exceed all of IAM's quotas.
const maxPolicyFile = 128 << 10

// policyCommand returns `stator policy`.
func policyCommand() *cobra.Command {
	attach := func(verb, short string, detach bool) *cobra.Command {
		return identity(verb+" <policy> <principal>", short, "Name or ARN of a managed policy, and user/NAME, group/NAME or role/NAME.", 2,
			func(ctx context.Context, c *identityCmd, opt identities.Options) error {
				return identities.AttachPolicy(ctx, opt, c.First, c.Second, detach)
			}, nil)
	}
	return group("policy", "Manage, check and test policies.",
		identity("list", "List the account's managed policies.", "", 0, func(ctx context.Context, c *identityCmd, opt identities.Options) error {
			return identities.ListPolicies(ctx, opt, c.AWS)
		}, func(cmd *cobra.Command, c *identityCmd) {
			listFlags(cmd, c)
			cmd.Flags().BoolVar(&c.AWS, "aws", false, "List AWS's policies instead.")
		}),
		identity("put <name> <file>", "Create a managed policy, or give it a new version, which replaces the one in force.",
			"Name of the policy, and a file with its document.", 2, putPolicy, nil),
		attach("attach", "Attach a managed policy to a user, group or role.", false),
		attach("detach", "Detach a managed policy from a user, group or role.", true),
		new(checkCmd).command(),
		new(policyTestCmd).command(),
	)
}

// putPolicy is `stator policy put`. It checks the document first, because the server's answer has no position.
func putPolicy(ctx context.Context, c *identityCmd, opt identities.Options) error {
	text, err := readPolicy(c.Second, policy.OfIdentity)
	if err != nil {
		return err
	}
	return identities.PutPolicy(ctx, opt, c.First, text)
}

// readPolicy reads and checks a file with a policy document.
func readPolicy(name string, of policy.Kind) (text string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxPolicyFile+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxPolicyFile {
		return "", fmt.Errorf("%s: it has more than %d bytes", name, maxPolicyFile)
	}
	_, err = policy.Parse(string(raw), of)
	if e, ok := errors.AsType[*policy.Error](err); ok {
		return "", fmt.Errorf("%s:%d:%d: %s", name, e.Line, e.Column, e.Message)
	}
	return string(raw), err
}

// checkCmd is `stator policy check`.
type checkCmd struct {
	File string
	Kind string
}

// policyKinds are the values of --kind.
var policyKinds = map[string]policy.Kind{"identity": policy.OfIdentity, "trust": policy.OfTrust, "resource": policy.OfResource}

// command returns the command, whose flags are stored in c.
func (c *checkCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:         "check <file>",
		Short:       "Check a policy document, without a server.",
		Args:        cobra.ExactArgs(1),
		RunE:        action(c.run, &c.File),
		Annotations: map[string]string{argumentHelp: "File with the document."},
	}
	cmd.Flags().Var(oneOf(&c.Kind, "identity", "identity", "trust", "resource"), "kind",
		"`KIND` What the policy is for: identity (users, groups, roles), trust (who may assume a role) or resource (tables, streams).")
	return cmd
}

// run prints nothing if the document is valid.
func (c *checkCmd) run(context.Context, streams) error {
	_, err := readPolicy(c.File, policyKinds[c.Kind])
	return err
}

// policyTestCmd is `stator policy test`.
type policyTestCmd struct{ connection }

// command returns the command, whose flags are stored in c.
func (c *policyTestCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test <principal> <action> <resource> [<key>=<value>...]",
		Short: "Say whether a principal may do something, and which policy decides; fail if not.",
		Args:  cobra.MinimumNArgs(3),
		Annotations: map[string]string{argumentHelp: "user/NAME, group/NAME, role/NAME or an ARN; an action, e.g. dynamodb:GetItem or GetItem; an ARN, *, or " +
			"table/NAME of the principal's account; condition keys, repeated for several values."},
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q := identities.Question{Principal: args[0], Action: args[1], Resource: args[2], Context: args[3:]}
		return action(func(ctx context.Context, std streams) error {
			return identities.TestPolicy(ctx, identities.Options{Server: c.server(), Out: std.out}, q)
		})(cmd, nil)
	}
	c.connection.addFlags(cmd.Flags())
	return cmd
}
