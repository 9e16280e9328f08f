package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator"
	"github.com/statordb/stator/internal/iam"
)

// random are what differs between runs: access keys, secrets and times.
var random = regexp.MustCompile(`AKIA\w{16}|[\w+/]{40}|\d{4}-\d\d-\d\d[ T][\d:]{5}[\d:.Z]*`)

// TestIdentities runs the command lines in testdata/identities against a new server, as the root of account 111122223333:
//
//	stator [as=KEY]
//	ARGUMENTS
//
// prints the output and the error. KEY is the number of an access key in the order in which they appeared; $1 in ARGUMENTS is the id of key 1. DIR is a
// directory with the files that "file NAME" writes. Random texts are masked.
func TestIdentities(t *testing.T) {
	dir := t.TempDir()
	credentials := filepath.Join(dir, "keys.json")
	if err := os.WriteFile(credentials, []byte(`[{"accessKeyId":"ROOT","secretAccessKey":"root-secret","account":"111122223333"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := stator.Open(stator.Options{InMemory: true, Listen: "127.0.0.1:0", CredentialsFile: credentials})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	keys := []string{"ROOT"}
	secrets := map[string]string{"ROOT": "root-secret"}
	keyPattern := regexp.MustCompile(`(AKIA\w{16})[\s\S]*?[^\w+/]([\w+/]{40})`)
	datadriven.RunTest(t, "testdata/identities", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd == "file" {
			if err := os.WriteFile(filepath.Join(dir, d.CmdArgs[0].Key), []byte(d.Input), 0o600); err != nil {
				t.Fatal(err)
			}
			return "ok\n"
		}
		as := 0
		d.MaybeScanArgs(t, "as", &as)
		setVariables(t, "AWS_ENDPOINT_URL="+server.URL()+" AWS_ACCESS_KEY_ID="+keys[as]+" AWS_SECRET_ACCESS_KEY="+secrets[keys[as]])
		input := strings.ReplaceAll(d.Input, "DIR", dir)
		for i, key := range keys {
			input = strings.ReplaceAll(input, fmt.Sprintf("$%d", i), key)
		}
		var out, errs strings.Builder
		err := run(t.Context(), strings.Fields(input), streams{&out, &errs})
		if found := keyPattern.FindStringSubmatch(out.String()); found != nil {
			keys, secrets[found[1]] = append(keys, found[1]), found[2]
		}
		text := out.String() + errs.String()
		if err != nil {
			text += "error: " + err.Error() + "\n"
		}
		if text == "" {
			text = "ok\n"
		}
		text = random.ReplaceAllStringFunc(strings.ReplaceAll(text, dir, "DIR"), func(found string) string {
			switch {
			case strings.HasPrefix(found, "AKIA"):
				return "AKIA…"
			case len(found) == 40:
				return "SECRET"
			}
			return "TIME"
		})
		return regexp.MustCompile(` +\n`).ReplaceAllString(text, "\n")
	})
	if len(keys) != 4 {
		t.Errorf("%d keys", len(keys))
	}
}

// TestKeyFormats: JSON is an object with the names of the credentials file, and the shell's form sets the variables.
func TestKeyFormats(t *testing.T) {
	server, err := stator.Open(stator.Options{InMemory: true, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	setVariables(t, "AWS_ENDPOINT_URL="+server.URL())
	do := func(line string) string {
		t.Helper()
		var out strings.Builder
		if err := run(t.Context(), strings.Fields(line), streams{&out, &out}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	do("user create ann")
	var key struct{ AccessKeyID, SecretAccessKey string }
	if err := json.Unmarshal([]byte(do("key create ann --format json")), &key); err != nil || iam.KeyAccount(key.AccessKeyID) != "000000000000" || len(key.SecretAccessKey) != 40 {
		t.Errorf("%+v, %v", key, err)
	}
	want := regexp.MustCompile(`^export AWS_ACCESS_KEY_ID='AKIA\w{16}'\nexport AWS_SECRET_ACCESS_KEY='[\w+/]{40}'\nunset AWS_SESSION_TOKEN\n$`)
	if got := do("key create ann --format env"); !want.MatchString(got) {
		t.Errorf("for a shell: %s", got)
	}
}
