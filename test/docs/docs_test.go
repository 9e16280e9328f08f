// Package docs runs the command blocks of README.md and docs/*.md, in order, as a reader would.
package docs

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
)

// prelude makes a page's commands run unattended: stator serve goes to the background and replaces the server before it, commands that run
// until Ctrl-C end after three seconds, and commands that need a stopped server stop it. A command after "! " must fail.
const prelude = `
export PATH="$BIN:$PATH" AWS_PAGER= AWS_ENDPOINT_URL=http://127.0.0.1:8000 STATOR_LISTEN=127.0.0.1:8000
export AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any AWS_DEFAULT_REGION=us-east-1
export HOME=$PWD # where the AWS CLI caches the sessions of roles
unset AWS_PROFILE
server=
stop() { if [ -n "$server" ]; then kill "$server"; wait "$server" || true; server=; fi; }
trap stop EXIT
attended() { timeout 3 "$BIN/stator" "$@" || [ $? = 124 ]; }
stator() {
	case "$1 $*" in
	"serve "*)
		stop
		"$BIN/stator" "$@" >>server.log 2>&1 &
		server=$!
		for _ in $(seq 300); do curl -sf http://127.0.0.1:8000/readyz >/dev/null && return; curl -skf https://127.0.0.1:8000/readyz >/dev/null && return; sleep 0.1; done
		cat server.log
		return 1 ;;
	"verify "* | "copy "*) stop; "$BIN/stator" "$@" ;;
	"tail "* | "hot "*) case "$*" in *--once*) "$BIN/stator" "$@" ;; *) attended "$@" ;; esac ;;
	*) "$BIN/stator" "$@" ;;
	esac
}
go() { [ "$*" = "install ./cmd/stator" ]; }
refused() { if "$@"; then echo "not refused: $*"; return 1; fi; }
`

// music is what the pages besides the README and get-started.md assume: a server, and the table of the README.
const music = `
stator serve
aws dynamodb create-table --table-name Music --billing-mode PAY_PER_REQUEST \
    --attribute-definitions AttributeName=Artist,AttributeType=S AttributeName=Song,AttributeType=S \
    --key-schema AttributeName=Artist,KeyType=HASH AttributeName=Song,KeyType=RANGE >/dev/null
aws dynamodb put-item --table-name Music --item '{"Artist":{"S":"Nina Simone"},"Song":{"S":"Sinnerman"}}'
`

var ports = regexp.MustCompile(`:(8000|8111|9111|9090)\b`)

// TestCommandBlocks needs the AWS CLI, Python with boto3, bash and curl; `make commands` brings them.
func TestCommandBlocks(t *testing.T) {
	for _, tool := range []string{"aws", "bash", "curl", "gzip", "openssl", "python", "timeout"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/stator", root+"/cmd/stator").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	pages, err := filepath.Glob(root + "/docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, root+"/README.md") {
		t.Run(strings.TrimPrefix(page, root+"/"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			blocks, err := commands(string(text))
			if err != nil {
				t.Fatal(err)
			}
			if len(blocks) == 0 {
				return
			}
			script := prelude
			if page != root+"/README.md" && page != root+"/docs/get-started.md" {
				script += music
			}
			run(t, root, bin, script+"set -x\n"+strings.Join(blocks, "\n"))
		})
	}
}

// run runs a script in an empty directory, with free ports in place of the documented ones.
func run(t *testing.T, root, bin, script string) {
	free := map[string]string{}
	var listeners []net.Listener // open until all ports are chosen, so that none is chosen twice
	script = ports.ReplaceAllStringFunc(script, func(port string) string {
		if free[port] == "" {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, l)
			free[port] = fmt.Sprintf(":%d", l.Addr().(*net.TCPAddr).Port)
		}
		return free[port]
	})
	for _, l := range listeners {
		l.Close()
	}
	script = withDatabases(t, script)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "BIN="+bin, "CHECKOUT="+root)
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// database is how the docs name PostgreSQL's databases.
var database = regexp.MustCompile(`postgres://stator:secret@db:5432/\w+`)

// withDatabases puts empty databases of a PostgreSQL of the test's own in place of the documented ones. It skips the page where PostgreSQL
// is not installed.
func withDatabases(t *testing.T, script string) string {
	if !database.MatchString(script) {
		return script
	}
	postgres := pgtest.New(t)
	urls := map[string]string{}
	return database.ReplaceAllStringFunc(script, func(documented string) string {
		if urls[documented] == "" {
			url, err := postgres.Database()
			if err != nil {
				t.Fatal(err)
			}
			urls[documented] = url
		}
		return urls[documented]
	})
}

// commands returns the sh and python blocks of a page, without those that a comment before them excludes, with its reason:
//
//	<!-- run: no, because it needs an S3-compatible store -->
func commands(page string) ([]string, error) {
	const excluded = "<!-- run: no, because "
	var blocks []string
	var block *strings.Builder // the block that line is in; nil outside of sh and python blocks
	fenced, skip, end := false, false, ""
	for i, line := range strings.Split(page, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced && block != nil && !skip {
				blocks = append(blocks, block.String()+end)
			}
			if fenced {
				skip, block = false, nil
			} else if line == "```sh" || line == "```python" {
				block = new(strings.Builder)
				end = ""
				if line == "```python" {
					block.WriteString("python - <<'END_OF_BLOCK'\n")
					end = "END_OF_BLOCK\n"
				}
			}
			fenced = !fenced
		case block != nil:
			if command, ok := strings.CutPrefix(line, "! "); ok { // bash -e goes on after "!", whatever the command does
				line = "refused " + command
			}
			block.WriteString(line + "\n")
		case strings.HasPrefix(line, excluded):
			skip = true
		case !fenced && (strings.HasPrefix(line, "    aws ") || strings.HasPrefix(line, "    stator ")):
			return nil, fmt.Errorf("line %d: a command outside of a sh block is not run: %s", i+1, line)
		}
	}
	return blocks, nil
}
