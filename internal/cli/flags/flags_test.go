package flags

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

type login struct {
	Key string `name:"access-key" env:"TEST_KEY,OTHER_KEY" help:"Key." placeholder:"ID"`
}

type serve struct {
	DataDir  string        `help:"Directory (${default})." default:"./data" placeholder:"DIR"`
	InMemory bool          `help:"Keep nothing."`
	CacheMB  int64         `help:"Memory." default:"256" placeholder:"N"`
	Keep     int           `help:"How many." placeholder:"N"`
	Seed     uint64        `help:"Seed." placeholder:"N"`
	Interval time.Duration `help:"How often." default:"1s" placeholder:"DURATION"`
	Level    string        `help:"Level." enum:"info,warn" default:"info" placeholder:"LEVEL"`
	Origin   []string      `help:"Origins." placeholder:"ORIGIN"`
	Rule     []string      `help:"Rules." sep:"none" placeholder:"RULE"`
	File     string        `help:"A file." type:"existingfile" placeholder:"FILE"`
	login
	Cert string `help:"Certificate." and:"tls" placeholder:"FILE"`
	Pair string `help:"Its key." and:"tls" placeholder:"FILE"`
}

type copyTo struct {
	From  string `required:"" help:"Source." placeholder:"DIR|URL"`
	To    string `required:"" help:"Target." placeholder:"DIR|URL"`
	Table string `arg:"" help:"Table."`
	Rest  string `arg:"" optional:"" help:"More."`
}

type program struct {
	Serve serve  `help:"Run it, for as long as nobody stops it, and print what it does all the time, line by line."`
	Copy  copyTo `help:"Copy it."`
}

// parse parses a command line in an environment. It returns the command's field.
func parse(t *testing.T, line, env string) (any, string, error) {
	t.Helper()
	for _, name := range []string{"TEST_DATA_DIR", "TEST_IN_MEMORY", "TEST_CACHE_MB", "TEST_ORIGIN", "TEST_RULE", "TEST_KEY", "OTHER_KEY", "TEST_FROM", "COLUMNS"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	for _, e := range strings.Fields(env) {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	args := strings.Split(line, " ")
	if line == "" {
		args = nil
	}
	var out strings.Builder
	c, err := New(&program{}, "prog", "A program.\n\nIt does something.", "TEST").Parse(args, &out)
	if c == nil {
		return nil, out.String(), err
	}
	return c.Target, out.String(), err
}

// TestValues checks what each source gives, and their precedence.
func TestValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", filepath.Dir(file))
	serving := func(change func(*serve)) any {
		s := &serve{DataDir: "./data", CacheMB: 256, Interval: time.Second, Level: "info"}
		change(s)
		return s
	}
	for _, c := range []struct {
		line, env string
		want      any
	}{
		{line: "serve", want: serving(func(*serve) {})},
		{
			line: "serve --data-dir x --in-memory --cache-mb=0x10 --keep 3 --seed=7 --interval 2m --level warn",
			want: &serve{DataDir: "x", InMemory: true, CacheMB: 16, Keep: 3, Seed: 7, Interval: 2 * time.Minute, Level: "warn"},
		},
		{line: "serve --data-dir= --in-memory=NO", want: serving(func(s *serve) { s.DataDir = "" })},
		{line: "serve --data-dir=-x --data-dir -", want: serving(func(s *serve) { s.DataDir = "-" })},
		{line: `serve --origin a,b, --origin c\,d --rule e,f --rule g`, want: serving(func(s *serve) {
			s.Origin, s.Rule = []string{"a", "b", "c,d"}, []string{"e,f", "g"}
		})},
		{line: "serve --access-key k", env: "TEST_KEY=x", want: serving(func(s *serve) { s.Key = "k" })},
		{line: "serve", env: "TEST_KEY=x OTHER_KEY=y", want: serving(func(s *serve) { s.Key = "x" })},
		{line: "serve", env: "OTHER_KEY=y TEST_DATA_DIR= TEST_IN_MEMORY=yes", want: serving(func(s *serve) {
			s.Key, s.DataDir, s.InMemory = "y", "", true
		})},
		{line: "serve --origin a", env: "TEST_ORIGIN=b TEST_RULE=c,d", want: serving(func(s *serve) { s.Origin, s.Rule = []string{"a"}, []string{"c,d"} })},
		{line: "serve", env: "TEST_ORIGIN=", want: serving(func(s *serve) {})},
		{line: "serve --file=~/file", want: serving(func(s *serve) { s.File = file })},
		{line: "serve --cert=a --pair b", want: serving(func(s *serve) { s.Cert, s.Pair = "a", "b" })},
		{line: "copy tab --from a --to=b", want: &copyTo{From: "a", To: "b", Table: "tab"}},
		{line: "copy --to=b -- --tab more", env: "TEST_FROM=f", want: &copyTo{From: "f", To: "b", Table: "--tab", Rest: "more"}},
	} {
		got, _, err := parse(t, c.line, c.env)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s %q: got %+v, %v, want %+v", c.env, c.line, got, err, c.want)
		}
	}
}

// TestErrors checks the messages.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ line, env, want string }{
		{line: "", want: `expected one of "serve", "copy"`},
		{line: "srve", want: `unexpected argument srve, did you mean "serve"?`},
		{line: "--data-dir x serve", want: `unknown flag --data-dir`},
		{line: "serve x", want: `unexpected argument x`},
		{line: "serve --dat", want: `unknown flag --dat, did you mean "--data-dir"?`},
		{line: "serve -data-dir", want: `unknown flag -data-dir, did you mean "--data-dir"?`},
		{line: "serve --in", want: `unknown flag --in, did you mean one of "--in-memory", "--interval"?`},
		{line: "serve --nothing=1", want: `unknown flag --nothing`},
		{line: "serve --data-dir", want: `--data-dir: expected string`},
		{line: "serve --cache-mb -1", want: `--cache-mb: expected int but got "-1"; perhaps try --cache-mb="-1"?`},
		{line: "serve --cache-mb 1x", want: `--cache-mb: expected int but got "1x"`},
		{line: "serve --keep 1x", want: `--keep: expected int but got "1x"`},
		{line: "serve --seed=-1", want: `--seed: expected uint but got "-1"`},
		{line: "serve --interval 1", want: `--interval: expected duration but got "1"`},
		{line: "serve --in-memory=maybe", want: `--in-memory: expected true, 1, yes, false, 0 or no but got "maybe"`},
		{line: "serve --level loud", want: `--level must be one of "info","warn" but got "loud"`},
		{line: "serve --file /nope", want: `--file: stat /nope: no such file or directory`},
		{line: "serve --file /", want: `--file: "/" exists but is a directory`},
		{line: "serve --pair b", want: `--cert and --pair must be used together`},
		{line: "serve", env: "TEST_CACHE_MB=x", want: `--cache-mb: expected int but got "x" (from envar TEST_CACHE_MB="x")`},
		{line: "copy tab", want: `missing flags: --from=DIR|URL, --to=DIR|URL`},
		{line: "copy --from a --to b", want: `expected "<table>"`},
		{line: "copy --help --unknown", want: `unknown flag --unknown`},
	} {
		if _, _, err := parse(t, c.line, c.env); err == nil || err.Error() != c.want {
			t.Errorf("%s %q: got %v, want %s", c.env, c.line, err, c.want)
		}
	}
}

// TestHelp checks the pages of help.
func TestHelp(t *testing.T) {
	for line, want := range map[string]string{
		"--help": `
Usage: prog <command>

A program.

It does something.

Flags:
  -h, --help    Show context-sensitive help.

Commands:
  serve    Run it, for as long as nobody stops it, and print what it does all
           the time, line by line.
  copy     Copy it.

Run "prog <command> --help" for more information on a command.
`,
		"-h copy": `
Usage: prog copy --from=DIR|URL --to=DIR|URL <table> [<rest>]

Copy it.

Arguments:
  <table>     Table.
  [<rest>]    More.

Flags:
  -h, --help    Show context-sensitive help.

      --from=DIR|URL    Source ($TEST_FROM).
      --to=DIR|URL      Target ($TEST_TO).
`,
	} {
		if command, got, err := parse(t, line, ""); command != nil || err != nil || got != want[1:] {
			t.Errorf("%s: got %v\n%s", line, err, got)
		}
	}
	_, got, err := parse(t, "serve --help", "COLUMNS=50")
	if err != nil || !strings.Contains(got, "\n      --data-dir=DIR         Directory (./data)\n                             ($TEST_DATA_DIR).\n      --in-memory            Keep nothing\n") {
		t.Errorf("got %v\n%s", err, got)
	}
}
