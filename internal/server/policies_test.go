package server

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/iam"
)

// somePolicy allows reading items.
const somePolicy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"*"}}`

// declaringServer is a server with a directory of policies.
type declaringServer struct {
	*db
	dir   string
	clock *movedClock
	log   *lockedBuffer
}

func openDeclaring(t *testing.T, opt Options) *declaringServer {
	t.Helper()
	s := &declaringServer{dir: t.TempDir(), clock: newMovedClock(), log: &lockedBuffer{}}
	s.write(t, "user.ann.json", `{"ManagedPolicyArns":["reader"]}`)
	s.write(t, "policy.reader.json", somePolicy)
	opt.Policies, opt.Now, opt.Logger = s.dir, s.clock.Now, slog.New(slog.NewTextHandler(s.log, nil))
	s.db = open(t, opt)
	return s
}

func (s *declaringServer) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *declaringServer) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil {
		t.Fatal(err)
	}
}

// follow does what the server does at intervals, often enough for a change to be applied.
func (s *declaringServer) follow(t *testing.T) {
	t.Helper()
	for range 3 {
		s.logPolicies(s.refreshPolicies(t.Context(), false))
	}
}

// expect checks how many policies a user has; -1 means that there is no such user.
func (s *declaringServer) expect(t *testing.T, account, user string, want int) {
	t.Helper()
	got := -1
	if id, err := s.iam.Identity(account, "arn:aws:iam::"+account+":user/"+user); err == nil {
		got = len(id.Policies.Identity)
	}
	if got != want {
		t.Errorf("%s of %s has %d policies, want %d", user, account, got, want)
	}
}

func (s *declaringServer) logged(t *testing.T, text string, want int) {
	t.Helper()
	if n := strings.Count(s.log.String(), text); n != want {
		t.Errorf("%q is logged %d times, want %d: %s", text, n, want, s.log)
	}
}

const open0 = "000000000000"

// TestPolicies: the server follows its directory. A broken one changes nothing and is logged once, with all errors.
func TestPolicies(t *testing.T) {
	s := openDeclaring(t, Options{})
	s.expect(t, open0, "ann", 1)

	s.write(t, "user.bob.json", `{}`)
	s.follow(t)
	s.expect(t, open0, "bob", 0)
	s.logged(t, "applied the directory of policies", 1)
	s.follow(t)
	s.logged(t, "applied the directory of policies", 1)

	s.write(t, "user.bob.json", `{"ManagedPolicyArns":["reader", "writer"]}`)
	s.write(t, "group.new.json", `{`)
	s.write(t, "user.ann.json", `{}`)
	s.follow(t)
	s.follow(t)
	s.expect(t, open0, "ann", 1)
	s.expect(t, open0, "bob", 0)
	s.logged(t, "cannot apply the directory of policies", 1)
	s.logged(t, "group.new.json:1:2", 1)
	s.write(t, "group.new.json", `{}`)
	s.follow(t)
	s.logged(t, "user.bob.json:1:33: there is no policy", 1)
	s.expect(t, open0, "ann", 1)

	// SIGHUP applies at once.
	s.write(t, "user.bob.json", `{"ManagedPolicyArns":["reader"]}`)
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	s.expect(t, open0, "ann", 0)
	s.expect(t, open0, "bob", 1)
	s.write(t, "user.bob.json", `[]`)
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), "user.bob.json:1:1") {
		t.Errorf("Reload of a broken directory: %v", err)
	}
	s.remove(t, "user.bob.json")
	s.follow(t)
	s.expect(t, open0, "bob", -1)

	// An empty directory removes nothing.
	for _, name := range []string{"user.ann.json", "policy.reader.json", "group.new.json"} {
		s.remove(t, name)
	}
	s.follow(t)
	s.expect(t, open0, "ann", 0)
	s.logged(t, "it has no files", 1)
}

// TestPoliciesOfOthers: a server notices that another one has applied other files, and says so once they have had time to reach it.
func TestPoliciesOfOthers(t *testing.T) {
	s := openDeclaring(t, Options{})
	other := iam.Declaration{Digest: "other", Server: "server-2", Accounts: map[string]iam.Declared{}}
	if _, err := s.iam.Apply(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	const text = "this server's directory of policies is not in force"
	s.follow(t)
	s.clock.Advance(policiesGrace / 2)
	s.follow(t)
	s.logged(t, text, 0)
	s.clock.Advance(policiesGrace)
	s.follow(t)
	s.logged(t, text, 1)
	s.expect(t, open0, "ann", -1) // servers do not fight
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	s.expect(t, open0, "ann", 1)
	s.logged(t, "in turn", 1)
	s.logged(t, "server-2", 2)
}

// TestPoliciesOfServers: all servers of a store know what one has applied, and the same directory on another one writes nothing.
func TestPoliciesOfServers(t *testing.T) {
	s := openDeclaring(t, Options{Storage: newDatabase(t), DataDir: t.TempDir()})
	opt := Options{Storage: s.storage, DataDir: t.TempDir(), Policies: s.dir, Now: s.clock.Now}
	other := &declaringServer{db: open(t, opt), dir: s.dir, clock: s.clock, log: s.log}
	other.expect(t, open0, "ann", 1)
	if _, server := other.iam.Applied(); server != s.id {
		t.Errorf("the directory was applied again, by %s", server)
	}
	s.write(t, "user.ann.json", "{}")
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	if err := s.servers.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	other.expect(t, open0, "ann", 0)
}

// TestPoliciesOfAccounts: with several accounts in the credentials file, each has a directory; with one, the files at the top are that account's.
func TestPoliciesOfAccounts(t *testing.T) {
	file := credentials(t)
	dir := t.TempDir()
	s := &declaringServer{dir: dir}
	s.write(t, "user.ann.json", "{}")
	opt := Options{Listen: "127.0.0.1:0", InMemory: true, CredentialsFile: file, Policies: dir}
	if server, err := Open(opt); err == nil || !strings.Contains(err.Error(), "there are several accounts") {
		t.Errorf("files at the top: %v, %v", server, err)
	}
	if err := os.Mkdir(filepath.Join(dir, accountB), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "user.ann.json"), filepath.Join(dir, accountB, "user.ann.json")); err != nil {
		t.Fatal(err)
	}
	s.db = open(t, opt)
	s.expect(t, accountB, "ann", 0)
	s.expect(t, accountA, "ann", -1)

	one := filepath.Join(t.TempDir(), "one.json")
	if err := os.WriteFile(one, []byte(`[{"accessKeyId":"A","secretAccessKey":"a","account":"`+accountA+`"},{"accessKeyId":"B","secretAccessKey":"b","account":"`+accountA+`"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	s = openDeclaring(t, Options{CredentialsFile: one})
	s.expect(t, accountA, "ann", 1)
}

// TestWebIdentityFile: the server follows its file of providers, and one that can't be used changes nothing.
func TestWebIdentityFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "providers.json")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	opt := Options{Listen: "127.0.0.1:0", InMemory: true, WebIdentity: file}
	for text, want := range map[string]string{
		`{}`: "providers.json:1:1: it must be a list",
		`[{"issuer":"https://x","audiences":["a"],"jwks":"k","name":1}]`: `providers.json:1:53: unknown member "name": it may have audiences, issuer, jwks`,
		`[{"issuer":"https://x","audiences":[],"jwks":"k"}]`:             "it has no audience",
		`[{"issuer":"x","audiences":["a"],"jwks":"k"}]`:                  "must be an http or https URL",
	} {
		write(text)
		if _, err := Open(opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	write(`[{"issuer":"https://one.example","audiences":["sts"],"jwks":"keys.json"}]`)
	s := open(t, opt)
	if got := s.iam.Issuers(); len(got) != 1 || got[0].Keys != filepath.Join(dir, "keys.json") {
		t.Errorf("the providers are %v", got)
	}
	write(`[{"issuer":"https://two.example","audiences":["sts"],"jwks":"https://two.example/keys"},{"issuer":"https://one.example","audiences":["sts"],"jwks":"keys.json"}]`)
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	if got := s.iam.Issuers(); len(got) != 2 || got[0].Keys != "https://two.example/keys" {
		t.Errorf("the providers are %v", got)
	}
	write(`[`)
	if err := s.Reload(); err == nil || len(s.iam.Issuers()) != 2 {
		t.Errorf("a broken file: %v", err)
	}
}
