package auth

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

const (
	entryA = `{"accessKeyId":"A","secretAccessKey":"sA","account":"111111111111"}`
	entryB = `{"accessKeyId":"B","secretAccessKey":"sB","account":"222222222222","operator":true,"regions":["eu-west-1"],"buckets":["b","logs-*"]}`
)

func write(t *testing.T, file, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

func TestCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.json")
	for _, c := range []struct{ name, text, want string }{
		{"right", "[" + entryA + "," + entryB + "]", ""},
		{"none", "[]", "it has no entries"},
		{"an unknown field", `[{"accessKeyId":"A","secretAccessKey":"sA","admin":true}]`, `unknown field "admin"`},
		{"a key twice", "[" + entryA + "," + entryA + "]", "entry 2 repeats the accessKeyId of an earlier one"},
		{"a bad account", `[{"accessKeyId":"A","secretAccessKey":"TOPSECRET","account":"1"}]`, "twelve digits"},
		{"a secret that is a number", `[{"accessKeyId":"A","secretAccessKey":987654321}]`, "has the wrong type"},
		{"no JSON", `[{"accessKeyId":"A","secretAccessKey":"TOPSECRET]`, "ends too early"},
		{"more", "[" + entryA + "] []", "there is more text after the list"},
		{"a region", `[{"accessKeyId":"A","secretAccessKey":"sA","regions":["a/b"]}]`, "has an invalid region"},
		{"a bucket", `[{"accessKeyId":"A","secretAccessKey":"sA","buckets":["a*b"]}]`, "has a bucket that is neither"},
		{"an id with a slash", `[{"accessKeyId":"A/B","secretAccessKey":"sA"}]`, "has an accessKeyId that can't be in a signature"},
	} {
		write(t, file, c.text, 0o600)
		_, err := Load(file, nil)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "TOPSECRET") || strings.Contains(err.Error(), "987654321")) {
			t.Errorf("%s: the error tells a secret: %v", c.name, err)
		}
	}
}

func TestMayUseBucket(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.json")
	write(t, file, "["+entryA+","+entryB+"]", 0o600)
	a, err := Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		account, bucket string
		want            bool
	}{
		{"222222222222", "b", true}, {"222222222222", "logs-1", true}, {"222222222222", "logs-*", true}, {"222222222222", "bb", false},
		{"222222222222", "logs", false}, {"111111111111", "b", false}, {"333333333333", "b", false},
	} {
		if got := a.MayUseBucket(c.account, c.bucket); got != c.want {
			t.Errorf("%s may use %s: %v", c.account, c.bucket, got)
		}
	}
	if !new(Authenticator).MayUseBucket("111111111111", "x") || !known(new(Authenticator), "x", DefaultAccount) {
		t.Error("without credentials something is refused")
	}
}

// TestWriters: which modes of the file and its directory are refused.
func TestWriters(t *testing.T) {
	for _, c := range []struct {
		file, dir os.FileMode
		refused   string
		warned    bool
	}{
		{0o600, 0o755, "", false},
		{0o400, 0o700, "", false},
		{0o440, 0o755, "", true}, // the server's own file
		{0o644, 0o755, "", true},
		{0o620, 0o755, "can write it", false},
		{0o602, 0o755, "can write it", false},
		{0o600, 0o775, "", false},
		{0o600, 0o777, "all users can replace it", false},
		{0o600, 0o777 | os.ModeSticky, "", false},
	} {
		dir := filepath.Join(t.TempDir(), "d")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "credentials.json")
		write(t, file, "["+entryA+"]", c.file)
		if err := os.Chmod(dir, c.dir); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(file, link); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{file, link} {
			a, err := Load(name, nil)
			if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%v in %v: %v", c.file, c.dir, err)
			}
			if err == nil && (a.Readers() != "") != c.warned {
				t.Errorf("%v: warning %q", c.file, a.Readers())
			}
		}
	}
}

// TestRefresh replaces a credentials file the way editors and Kubernetes do.
// known reports whether a DAX connection that an access key of an account has opened is still valid.
func known(a *Authenticator, accessKey, account string) bool {
	_, err := a.Renew(Identity{AccessKey: accessKey, Account: account, Verified: true}, "")
	return err == nil
}

func TestRefresh(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "credentials.json")
	write(t, file, "["+entryA+"]", 0o600)
	a, err := Load(file, func() time.Time { return signedAt })
	if err != nil {
		t.Fatal(err)
	}
	step := func(what string, changed bool, failed string, knowsA, knowsB bool) {
		t.Helper()
		got, err := a.Refresh()
		if got != changed || (err != nil) != (failed != "") || err != nil && !strings.Contains(err.Error(), failed) {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		if known(a, "A", "111111111111") != knowsA || known(a, "B", "222222222222") != knowsB || known(a, "A", "222222222222") {
			t.Errorf("%s: A is known: %v, B: %v", what, known(a, "A", "111111111111"), known(a, "B", "222222222222"))
		}
	}
	step("nothing", false, "", true, false)
	at, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, "["+strings.Replace(entryA, "sA", "sB", 1)+"]", 0o600) // same length and time as before
	if err := os.Chtimes(file, at.ModTime(), at.ModTime()); err != nil {
		t.Fatal(err)
	}
	step("another secret", true, "", true, false)
	write(t, file, "[", 0o600)
	step("a broken file", true, "ends too early", true, false)
	step("a broken file again", false, "", true, false)
	write(t, file, "["+entryB+"]", 0o622)
	step("a file that others can write", true, "can write it", true, false)
	write(t, file, "["+entryB+"]", 0o600)
	step("another key", true, "", false, true)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	step("no file", true, "no such file", false, true)

	// Kubernetes: file → ..data/file, ..data → ..1, and then ..data → ..2.
	link := func(name, to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name+".new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, name+".new"), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for i, entry := range []string{entryA, entryB} {
		version := []string{"..1", "..2"}[i]
		if err := os.Mkdir(filepath.Join(dir, version), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, version, "credentials.json"), "["+entry+"]", 0o440)
	}
	link("..data", "..1")
	link("credentials.json", "..data/credentials.json")
	step("a link", true, "", true, false)
	link("..data", "..2")
	step("a link elsewhere", true, "", false, true)
	link("..data", "..1")
	if err := a.Reload(); err != nil || !known(a, "A", "111111111111") {
		t.Errorf("after Reload: %v", err)
	}
}
