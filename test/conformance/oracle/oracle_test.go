package oracle

import (
	"maps"
	"os"
	"path/filepath"
	"testing"
)

func TestClassOf(t *testing.T) {
	for source, want := range map[string]Class{
		"AWS 2026-09, paritysuite captures/cross-region-latest.json s_put_table_empty":                   Recorded,
		"AWS 2026-09, paritysuite captures/cross-region-latest.json s_put_table_empty; 31 of 33 regions": Recorded,
		"AWS 2026-10, ack DDB-TABLE-015":                            Recorded,
		"AWS 2026-08, moto tests/test_dynamodb/test_x.py::test_get": Recorded,
		`AWS documentation, "Quotas in Amazon DynamoDB"`:            Documentation,
		"AWS API model":                             Model,
		"AWS API model; DuplicateItemException":     Model,
		"dynoxide 3.2.0":                            Peer,
		"dynalite 4.0.0":                            Peer,
		"DynamoDB Local 3.3.1; but for a full stop": Local,
		"author":                     Author,
		"author; as PutItem":         Author,
		"setup":                      Setup,
		"":                           "",
		"AWS":                        "",
		"AWS 2026-13, nubo tests/x":  "",
		"AWS 2026-05, nubo":          "",
		"AWS as known to the author": "",
		"AWS documentation":          "",
		"DynamoDB Local":             "",
		"authority":                  "",
	} {
		if got, err := ClassOf(source); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", source, got, err)
		}
	}
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "cases.txt")
	const text = `# A file.

# oracle: setup
CreateTable
{}
----
200 {}

# oracle: AWS 2026-10, ack DDB-TABLE-015
# differs: nothing waits here
PutItem
{"a":

1}
----
----
400 x

# no comment
----
----

# oracle: author
GetItem
{}
----
# no comment either
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	want := map[int]Case{
		4:  {Source: "setup", Class: Setup},
		11: {Source: "AWS 2026-10, ack DDB-TABLE-015", Class: Recorded, Differs: "nothing waits here"},
		24: {Source: "author", Class: Author},
	}
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if err := os.WriteFile(file, []byte(text+"\nScan\n{}\n----\n200 {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil {
		t.Error("a case without a source is read")
	}
}
