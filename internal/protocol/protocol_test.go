package protocol

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

var service = &Service{
	Name: "S", Namespace: "com.s#", Version: "1", XMLNamespace: "http://s/",
	Schema: &smithy.Schema{
		Inputs: map[string]string{"Do": "In"}, Outputs: map[string]string{"Do": "Out"},
		Shapes: map[string]smithy.ShapeInfo{
			"In":   {Kind: "structure", Members: map[string]string{"Name": "String", "N": "Long", "F": "Double", "At": "Time", "Yes": "Bool", "List": "List", "Map": "Map", "Deep": "In"}},
			"Out":  {Kind: "structure", Members: map[string]string{"At": "Time", "F": "Double", "N": "Long", "List": "List", "Blob": "Blob"}},
			"List": {Kind: "list", Member: "In"}, "Map": {Kind: "map", Value: "Long"},
			"String": {Kind: "string"}, "Long": {Kind: "long"}, "Double": {Kind: "double"}, "Time": {Kind: "timestamp"}, "Bool": {Kind: "boolean"}, "Blob": {Kind: "blob"},
		},
	},
	Errors: map[awserr.Code]ErrorInfo{"Gone": {QueryCode: "NotThere", Status: 404}},
}

func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal(got, &a); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCBOR(t *testing.T) {
	codec := CBOR{service, "Do"}
	raw, err := cbor.Marshal(map[string]any{
		"Name": "x", "N": 7, "F": 1.5, "At": cbor.Tag{Number: 1, Content: 1_700_000_000.25}, "List": []any{map[string]any{"Yes": true}}, "Map": map[string]any{"a": -1}, "None": nil,
	})
	if err != nil {
		t.Fatal(err)
	}
	body, bad := codec.Request(raw)
	if bad != nil {
		t.Fatal(bad)
	}
	sameJSON(t, body, `{"Name":"x","N":7,"F":1.5,"At":1700000000.25,"List":[{"Yes":true}],"Map":{"a":-1},"None":null}`)
	a, err := codec.Answer([]byte(`{"At":1700000000.5,"F":2,"N":3,"Blob":"AQI=","List":[{"At":5}]}`), "id")
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := cbor.Unmarshal(a.Body, &got); err != nil {
		t.Fatal(err)
	}
	at, ok := got["At"].(time.Time)
	if !ok || at.UnixMilli() != 1_700_000_000_500 || got["F"] != 2.0 || got["N"] != uint64(3) || !reflect.DeepEqual(got["Blob"], []byte{1, 2}) {
		t.Errorf("answer %v", got)
	}
	e := codec.Error(awserr.New("Gone", "it went"), "id")
	if e.Status != 404 || !reflect.DeepEqual(e.Header, [][2]string{{"smithy-protocol", "rpc-v2-cbor"}, {"x-amzn-query-error", "NotThere;Sender"}}) {
		t.Errorf("error %+v", e)
	}
	for _, bad := range [][]byte{{0xff}, {0xa1, 0x01, 0x02}, {0x1b}, []byte("{}")} {
		if _, err := codec.Request(bad); err == nil {
			t.Errorf("%x is taken", bad)
		}
	}
}

func TestQuery(t *testing.T) {
	codec := Query{service, "Do"}
	body, bad := codec.Request([]byte("Action=Do&Version=1&Name=a%26b&N=7&F=1.5&At=2023-11-14T22:13:20Z&Yes=true&List.member.1.Name=x&List.member.2.Deep.N=2&Map.entry.1.key=k&Map.entry.1.value=3"))
	if bad != nil {
		t.Fatal(bad)
	}
	sameJSON(t, body, `{"Name":"a&b","N":7,"F":1.5,"At":1700000000,"Yes":true,"List":[{"Name":"x"},{"Deep":{"N":2}}],"Map":{"k":3}}`)
	for _, form := range []string{"N=x", "F=x", "At=yesterday", "Yes=maybe"} {
		if _, err := codec.Request([]byte(form)); err == nil {
			t.Errorf("%s is taken", form)
		}
	}
	a, err := codec.Answer([]byte(`{"At":1700000000.5,"List":[{"Name":"<&>"}],"F":1e21}`), "id")
	if err != nil {
		t.Fatal(err)
	}
	want := `<DoResponse xmlns="http://s/"><DoResult><At>2023-11-14T22:13:20.5Z</At><F>1e21</F><List><member><Name>&lt;&amp;&gt;</Name></member></List></DoResult><ResponseMetadata><RequestId>id</RequestId></ResponseMetadata></DoResponse>`
	if string(a.Body) != want {
		t.Errorf("got  %s\nwant %s", a.Body, want)
	}
	if e := codec.Error(awserr.New("Gone", "<it>"), "id"); e.Status != 404 || !strings.Contains(string(e.Body), "<Code>NotThere</Code><Message>&lt;it&gt;</Message>") {
		t.Errorf("error %s", e.Body)
	}
}

func FuzzCBOR(f *testing.F) {
	f.Add([]byte{0xa1, 0x61, 'N', 0x01})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if body, err := (CBOR{service, "Do"}).Request(raw); err == nil && !json.Valid(body) {
			t.Errorf("%x became %q", raw, body)
		}
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("Name=a&List.member.1.N=2")
	f.Fuzz(func(t *testing.T, form string) {
		if body, err := (Query{service, "Do"}).Request([]byte(form)); err == nil && !json.Valid(body) {
			t.Errorf("%q became %q", form, body)
		}
	})
}
