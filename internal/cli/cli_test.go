package cli

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// setVariables sets environment variables, given as NAME=VALUE and separated by spaces, and unsets those that the flags of the tests read.
func setVariables(t *testing.T, variables string) {
	t.Helper()
	for _, name := range []string{
		"STATOR_DATA_DIR", "STATOR_IN_MEMORY", "STATOR_CACHE_MB", "STATOR_CORS_ORIGIN", "STATOR_INJECT", "STATOR_STORAGE", "STATOR_FROM",
		"STATOR_ENDPOINT_URL", "AWS_ENDPOINT_URL", "STATOR_REGION", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	} {
		t.Setenv(name, "") // restores it after the test
		os.Unsetenv(name)
	}
	for _, v := range strings.Fields(variables) {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

// TestValues checks what the command line, the environment and defaults give, in this order of precedence.
func TestValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", filepath.Dir(file))
	serving := func(change func(*serveCmd)) *serveCmd {
		c := &serveCmd{
			Listen: "127.0.0.1:8000", DataDir: "./stator-data", Durability: "sync", CacheMB: 256, MinFreeMB: 128, TTLInterval: time.Second,
			Throttling: "aws", AuditOverflow: "drop", OnDemandLimits: "none", InjectSeed: 1, DAXItemTTL: 5 * time.Minute, DAXQueryTTL: 5 * time.Minute, DAXCacheMB: 256,
			LogLevel: "info", LogFormat: "text",
		}
		change(c)
		return c
	}
	local := connection{EndpointURL: "http://127.0.0.1:8000", Region: "us-east-1", AccessKey: "any", SecretKey: "any"}
	for _, c := range []struct {
		line, env string
		want      any
	}{
		{"serve", "", serving(func(*serveCmd) {})},
		{
			"serve --data-dir x --in-memory --min-free-mb -1 --cache-mb=0x10 --inject-seed=7 --ttl-interval 2m --log-level warn --test-clock=false", "",
			serving(func(c *serveCmd) {
				c.DataDir, c.InMemory, c.MinFreeMB, c.CacheMB, c.InjectSeed, c.TTLInterval, c.LogLevel = "x", true, -1, 16, 7, 2*time.Minute, "warn"
			}),
		},
		{"serve --data-dir=", "", serving(func(c *serveCmd) { c.DataDir = "" })},
		{"serve --cors-origin a,b --cors-origin c --inject e,f --inject g", "", serving(func(c *serveCmd) {
			c.CORSOrigin, c.Inject = []string{"a", "b", "c"}, []string{"e,f", "g"}
		})},
		{"serve --cors-origin a", "STATOR_CORS_ORIGIN=b,c STATOR_INJECT=e,f", serving(func(c *serveCmd) {
			c.CORSOrigin, c.Inject = []string{"a"}, []string{"e,f"}
		})},
		{"serve", "STATOR_CORS_ORIGIN=b,c STATOR_DATA_DIR= STATOR_IN_MEMORY=1", serving(func(c *serveCmd) {
			c.CORSOrigin, c.DataDir, c.InMemory = []string{"b", "c"}, "", true
		})},
		{"serve --cache-mb 1", "STATOR_CACHE_MB=x", serving(func(c *serveCmd) { c.CacheMB = 1 })},
		{"serve --credentials=~/file", "", serving(func(c *serveCmd) { c.Credentials = file })},
		{"serve --dax-tls-listen a --dax-tls-key " + file, "STATOR_DAX_TLS_CERT=" + file, serving(func(c *serveCmd) {
			c.DAXTLSListen, c.DAXTLSCert, c.DAXTLSKey = "a", file, file
		})},
		{"hot tab --once", "", &hotCmd{Table: "tab", connection: local, Once: true, Interval: 2 * time.Second}},
		{"hot --region a -- --tab", "STATOR_REGION=b AWS_REGION=c AWS_ENDPOINT_URL=d AWS_ACCESS_KEY_ID=e AWS_SESSION_TOKEN=f", &hotCmd{
			Table: "--tab", connection: connection{"d", "a", "e", "any", "f"}, Interval: 2 * time.Second,
		}},
		{"hot tab", "AWS_REGION=b AWS_DEFAULT_REGION=c", &hotCmd{
			Table: "tab", connection: connection{local.EndpointURL, "b", "any", "any", ""}, Interval: 2 * time.Second,
		}},
		{"import --key pk:S,sk:N", "", &importCmd{connection: local, Key: []string{"pk:S", "sk:N"}}},
		{"copy --to=b", "STATOR_FROM=a", &copyCmd{From: "a", To: "b"}},
	} {
		setVariables(t, c.env)
		var got any
		var cmd *cobra.Command
		none := func(context.Context, streams) error { return nil }
		switch c.want.(type) {
		case *serveCmd:
			s := new(serveCmd)
			got, cmd = s, s.command()
			cmd.RunE = action(none)
		case *hotCmd:
			h := new(hotCmd)
			got, cmd = h, h.command()
			cmd.RunE = action(none, &h.Table)
		case *importCmd:
			i := new(importCmd)
			got, cmd = i, i.command()
			cmd.RunE = action(none, &i.Source)
		case *copyCmd:
			f := new(copyCmd)
			got, cmd = f, f.command()
			cmd.RunE = action(none)
		}
		var out strings.Builder
		err := execute(t.Context(), commandLine(cmd), strings.Split(c.line, " "), streams{&out, &out})
		if err != nil || out.Len() > 0 || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %q: got %+v, %v, want %+v; printed %q", c.env, c.line, got, err, c.want, &out)
		}
	}
}

// TestErrors checks the messages. Errors print nothing else.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ line, env, want string }{
		{"", "", "a command is missing (see stator --help)"},
		{"srve --in-memory", "", `unknown command "srve" for "stator" (see stator --help)`},
		{"completion", "", `unknown command "completion" for "stator" (see stator --help)`},
		{"--nothing serve", "", "unknown flag: --nothing (see stator --help)"},
		{"serve x", "", `unknown command "x" for "stator serve" (see stator serve --help)`},
		{"serve --dat", "", "unknown flag: --dat (see stator serve --help)"},
		{"serve --data-dir", "", "flag needs an argument: --data-dir (see stator serve --help)"},
		{
			"serve --log-level loud", "",
			`invalid argument "loud" for "--log-level" flag: must be one of debug, info, warn, error (see stator serve --help)`,
		},
		{
			"serve --credentials /nope", "",
			`invalid argument "/nope" for "--credentials" flag: stat /nope: no such file or directory (see stator serve --help)`,
		},
		{"serve --credentials /", "", `invalid argument "/" for "--credentials" flag: / is a directory (see stator serve --help)`},
		{
			"serve --dax-tls-listen b", "",
			"--dax-tls-listen needs --dax-tls-cert and --dax-tls-key, or --tls-cert and --tls-key",
		},
		{
			"serve", "STATOR_CACHE_MB=x",
			`environment variable STATOR_CACHE_MB: invalid argument "x" for "--cache-mb" flag: ` +
				`strconv.ParseInt: parsing "x": invalid syntax (see stator serve --help)`,
		},
		{"cluster --json", "", `required flag(s) "storage" not set (see stator cluster --help)`},
		{"user", "", "a command is missing (see stator user --help)"},
		{"user lst", "", `unknown command "lst" for "stator user" (see stator user --help)`},
		{"key disable ann", "", "accepts 2 arg(s), received 1 (see stator key disable --help)"},
		{"policy attach reader ann", "", `"ann": name a principal as user/NAME, group/NAME or role/NAME`},
		{"policy test user/ann GetItem", "", "requires at least 3 arg(s), only received 2 (see stator policy test --help)"},
		{"policy check /nope", "", "open /nope: no such file or directory"},
		{"serve --policies /etc/hostname", "", `invalid argument "/etc/hostname" for "--policies" flag: /etc/hostname is not a directory (see stator serve --help)`},
		{"hot", "", "accepts 1 arg(s), received 0 (see stator hot --help)"},
		{"import", "", "give a folder or s3://BUCKET/PREFIX with exports, or --from-dynamodb-local FILE"},
	} {
		setVariables(t, c.env)
		var out strings.Builder
		if err := run(t.Context(), strings.Fields(c.line), streams{&out, &out}); err == nil || err.Error() != c.want || out.Len() > 0 {
			t.Errorf("%s %q: got %v, want %s; printed %q", c.env, c.line, err, c.want, &out)
		}
	}
}

// TestHelp checks the pages of help, which go to standard output.
func TestHelp(t *testing.T) {
	for line, want := range map[string]string{
		"--help": `
A DynamoDB-compatible database. Point any AWS SDK or the AWS CLI at its endpoint URL.
Every flag can also be given as an environment variable, e.g. STATOR_DATA_DIR for --data-dir.

Usage:
  stator <command> [flags]

Commands:
  serve      Run the database.
  tail       Print a table's changes as they happen.
  hot        Show a table's busiest partitions and keys.
  backup     Back up a whole server, running or not, to a folder or S3.
  restore    Restore a backup into a new data directory.
  import     Import exports made by AWS or Stator, or a data file of DynamoDB Local, into a running server.
  user       List, create and delete users.
  key        List, create and change users' access keys.
  policy     Manage, check and test policies.
  verify     Check the data directory of a stopped server, or a shared database.
  cluster    Show the servers of a shared database and the work each one does.
  copy       Copy all data to another data directory or shared database.
  version    Print the version.

stator <command> --help prints the flags of a command.

Flags:
  -h, --help   help for stator
`,
		"-h hot": `
Show a table's busiest partitions and keys.

Usage:
  stator hot <table> [flags]

Argument:
  <table>  Table to show.

Flags:
      --endpoint-url URL      Endpoint of the server.
                              ($STATOR_ENDPOINT_URL, $AWS_ENDPOINT_URL)
                              (default http://127.0.0.1:8000)
      --region NAME           Region of the table. ($STATOR_REGION,
                              $AWS_REGION, $AWS_DEFAULT_REGION) (default
                              us-east-1)
      --access-key KEY        Access key; any will do without
                              --credentials on the server.
                              ($AWS_ACCESS_KEY_ID) (default any)
      --secret-key SECRET     Its secret; best given in the environment.
                              ($AWS_SECRET_ACCESS_KEY) (default any)
      --session-token TOKEN   Session token, if the key is a temporary
                              one. ($AWS_SESSION_TOKEN)
      --once                  Print once and exit. ($STATOR_ONCE)
      --json                  Print JSON, one object per line. ($STATOR_JSON)
      --interval DURATION     Interval between updates. ($STATOR_INTERVAL)
                              (default 2s)
  -h, --help                  help for hot
`,
		"user --help": `
List, create and delete users.

Usage:
  stator user <command> [flags]

Commands:
  list       List the account's users.
  create     Create a user and print its ARN.
  delete     Delete a user.

stator user <command> --help prints the flags of a command.

Flags:
  -h, --help   help for user
`,
		"policy check --help": `
Check a policy document, without a server.

Usage:
  stator policy check <file> [flags]

Argument:
  <file>  File with the document.

Flags:
      --kind KIND   What the policy is for: identity (users, groups,
                    roles), trust (who may assume a role) or resource
                    (tables, streams). ($STATOR_KIND) (default identity)
  -h, --help        help for check
`,
		"copy --help": `
Copy all data to another data directory or shared database.

Usage:
  stator copy --from DIR|URL --to DIR|URL [flags]

Flags:
      --from DIR|URL   Data directory of a stopped server, or a shared
                       database (postgres://… or tikv://…), whose
                       servers may run. ($STATOR_FROM)
      --to DIR|URL     New data directory, or an empty database. ($STATOR_TO)
  -h, --help           help for copy
`,
	} {
		var out, errs strings.Builder
		if err := run(t.Context(), strings.Fields(line), streams{&out, &errs}); err != nil || out.String() != want[1:] || errs.Len() > 0 {
			t.Errorf("%s: %v, %s, got\n%s", line, err, &errs, &out)
		}
	}
}
