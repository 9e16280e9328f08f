package iam

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadDeclared reads a directory's files and applies them. Errors name the file and the line.
func TestReadDeclared(t *testing.T) {
	const good = `{
  "users": [
    {"name": "alice", "path": "/staff/", "tags": {"team": "blue"}, "groups": ["crew"], "boundary": "arn:aws:iam::aws:policy/ReadOnlyAccess",
     "inline": {"own": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:*", "Resource": "*"}]}}},
    {"name": "bob"}
  ],
  "roles": [{"name": "app", "maxSession": 7200, "attached": ["reader"],
    "trust": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": "sts:AssumeRole"}]}}]
}`
	const more = `{"groups": [{"name": "crew", "attached": ["reader"]}],
"policies": [{"name": "reader", "description": "reads", "document": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*"}]}}]}`
	write := func(files ...string) string {
		t.Helper()
		dir := t.TempDir()
		for i, text := range files {
			if err := os.WriteFile(filepath.Join(dir, string(rune('a'+i))+".json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	d, err := ReadDeclared(write(good, more))
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(t)
	s.apply(t, d)
	r, u := s.roles.find(account, "app"), s.users.find(account, "alice")
	if r == nil || r.MaxSession != 7200 || u == nil || u.Path != "/staff/" || len(u.Groups) != 1 || s.policies.find(account, "reader").Attachments != 2 {
		t.Errorf("%+v, %+v", r, u)
	}
	for want, text := range map[string]string{
		"a.json:1: want a JSON object":                  `[]`,
		"a.json:1: the JSON ends too early":             ``,
		"a.json:2: unknown member \"user\"":             "{\n\"user\": []}",
		"a.json:2: want a list":                         "{\n\"users\": {}}",
		"a.json:3: unknown member \"nam\"":              "{\n\"users\": [\n{\"nam\": \"x\"}]}",
		"a.json:3: Name is of the wrong type":           "{\n\"users\": [\n{\"name\": 1}]}",
		"a.json:2: invalid character":                   "{\n\"users\": [x]}",
		"a.json:3: the JSON ends too early":             "{\n\"users\": [\n",
		"a.json:2: there is more text after the object": "{\n} {}",
		"a.json:1: a policy is missing":                 `{"policies": [{"name": "x"}]}`,
		"a.json:4: ":                                    "{\"policies\": [{\"name\": \"x\", \"document\": {\n\"Version\": \"2012-10-17\",\n\"Statement\": [{\"Effect\": \"Allow\",\n\"Action\": \"nonsense\", \"Resource\": \"*\"}]}}]}",
	} {
		if _, err := ReadDeclared(write(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := ReadDeclared(t.TempDir()); err == nil {
		t.Error("an empty directory is accepted")
	}
}
