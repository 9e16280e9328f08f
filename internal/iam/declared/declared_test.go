package declared

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/iam"
	"github.com/statordb/stator/internal/kv/pebblekv"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

// TestDeclared runs the cases in testdata. A case is a directory:
//
//	read [top=ACCOUNT]
//	-- NAME
//	TEXT
//	-- NAME
//	…
//
// It prints what the files declare, as JSON, or the errors of reading, parsing and applying them. Names in errors are relative. 'POLICY' stands for a policy, and
// <text*n> is n times the text.
func TestDeclared(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			top := "000000000000"
			d.MaybeScanArgs(t, "top", &top)
			if d.HasArg("several") {
				top = ""
			}
			dir := t.TempDir()
			write(t, dir, d.Input)
			declaration, err := read(t, dir, top)
			if err != nil {
				return strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir+"/", ""), dir, "DIR") + "\n"
			}
			var out strings.Builder
			e := json.NewEncoder(&out)
			e.SetIndent("", " ")
			if err := e.Encode(declaration.Accounts); err != nil {
				t.Fatal(err)
			}
			return out.String()
		})
	})
}

const somePolicy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"dynamodb:GetItem","Resource":"*"}}`

// write writes the files of a case. "-- NAME" begins one, and NAME may end with " -> TARGET", which makes a link.
func write(t *testing.T, dir, text string) {
	t.Helper()
	for part := range strings.SplitSeq("\n"+smithytest.Expand(text), "\n-- ") {
		name, content, _ := strings.Cut(part, "\n")
		if name == "" {
			continue
		}
		name, target, link := strings.Cut(name, " -> ")
		at := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
			t.Fatal(err)
		}
		content = strings.NewReplacer("'POLICY'", somePolicy, "\\xff", "\xff").Replace(content)
		var err error
		if link {
			err = os.Symlink(target, at)
		} else {
			err = os.WriteFile(at, []byte(content+"\n"), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// read reads, parses and applies a directory to an empty store.
func read(t *testing.T, dir, top string) (iam.Declaration, error) {
	t.Helper()
	d, err := Read(dir, top)
	if err != nil {
		return iam.Declaration{}, err
	}
	declaration, err := d.Parse()
	if err != nil {
		return declaration, err
	}
	_, err = service(t).Apply(t.Context(), declaration)
	return declaration, d.Locate(err)
}

// service returns IAM over an empty store.
func service(t *testing.T) *iam.Service {
	t.Helper()
	now := func() time.Time { return time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC) }
	db, err := pebblekv.Open(pebblekv.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := iam.New(t.Context(), iam.Options{Records: registry.Storage{KV: db, Coordinator: cluster.NewSolo(t.Context(), nil)}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDigest: the digest is that of names and content, wherever the files are.
func TestDigest(t *testing.T) {
	digest := func(text, top string) string {
		t.Helper()
		dir := t.TempDir()
		write(t, dir, text)
		d, err := Read(dir, top)
		if err != nil {
			t.Fatal(err)
		}
		return d.Digest
	}
	const top = "111122223333"
	want := digest("-- group.a.json\n{}\n-- user.b.json\n{}", top)
	if got := digest("-- .x/group.a.json\n{}\n-- group.a.json -> .x/group.a.json\n-- user.b.json\n{}", top); got != want {
		t.Error("a link has another digest than its file")
	}
	if got := digest("-- "+top+"/group.a.json\n{}\n-- "+top+"/user.b.json\n{}", ""); got != want {
		t.Error("the directory of the account has another digest than files at the top")
	}
	for _, other := range []string{"-- group.a.json\n{}", "-- group.a.json\n{}\n-- user.b.json\n{ }", "-- group.a.json\n{}\n-- user.c.json\n{}"} {
		if digest(other, top) == want {
			t.Errorf("%q has the same digest", other)
		}
	}
}

// TestBounds: a directory that is too large is refused, and errors are counted.
func TestBounds(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policy.a.json"), make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir, "000000000000"); err == nil || !strings.HasSuffix(err.Error(), fmt.Sprintf("policy.a.json: it has more than %d bytes", maxFile)) {
		t.Errorf("a large file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "policy.a.json"), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "policy.a.json"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(dir, "000000000000"); err == nil || !strings.Contains(err.Error(), "its group or others can write it") {
		t.Errorf("a file that others can write: %v", err)
	}
	for name, text := range map[string]string{
		"members": "{" + strings.Repeat(`"a":1,`, 100_000) + `"a":1}`,
		"groups":  `{"Groups":[` + strings.Repeat(`"g",`, 100_000) + `"h"]}`,
		"depth":   `{"Groups":` + strings.Repeat(`[`, 500_000),
	} {
		dir := t.TempDir()
		write(t, dir, "-- user.a.json\n"+text)
		_, err := read(t, dir, "000000000000")
		if n := strings.Count(fmt.Sprint(err), "\n") + 1; err == nil || n > maxProblems+1 {
			t.Errorf("%s: %d errors", name, n)
		}
	}
	if _, err := Read(t.TempDir(), ""); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty directory: %v", err)
	}
}

// FuzzFiles: no file makes parsing or locating panic, and every error has a place in the file.
func FuzzFiles(f *testing.F) {
	for _, text := range []string{
		`{"Path":"/a/","Groups":["g"],"Tags":[{"Key":"k","Value":"v"}],"Policies":[{"PolicyName":"p","PolicyDocument":{}}],"ManagedPolicyArns":[1]}`,
		`{"AssumeRolePolicyDocument":{"Statement":[]},"MaxSessionDuration":1e3}`, `{"Path":`, "\xff", `{"a":1,"a":{}}`, somePolicy,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var files []*file
		for kind := range kinds {
			files = append(files, &file{path: kind, account: "000000000000", kind: kind, name: "x", text: []byte(text)})
		}
		d := &Directory{files: files}
		if _, err := d.Parse(); err != nil {
			for _, one := range err.(interface{ Unwrap() []error }).Unwrap() {
				if p, ok := errors.AsType[*Problem](one); ok && (p.Line < 1 || p.Line > strings.Count(text, "\n")+1 || p.Column < 1 || p.Column > len(text)+1) {
					t.Errorf("%v is outside of the file", p)
				}
			}
		}
		members := []string{iam.MemberPath, iam.MemberGroups, iam.MemberInline, iam.MemberTrust, ""}
		for _, f := range files {
			for _, m := range members {
				_ = d.Locate(&iam.Invalid{Account: f.account, Kind: f.kind, Name: f.name, Member: m, Err: errors.New("wrong")})
			}
		}
	})
}
