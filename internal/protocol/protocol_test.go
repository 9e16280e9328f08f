package protocol

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
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
			t.Errorf("%x is accepted", bad)
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
			t.Errorf("%s is accepted", form)
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

// TestForms has cases that a walk over sorted names could get wrong.
func TestForms(t *testing.T) {
	for form, want := range map[string]string{
		"":                                `{}`,
		"Unknown=1&Name=x&Name=y&Namex=z": `{"Name":"x"}`,
		"Name-a=1&Name.x=2&N=3&N-=4&=5&&": `{"N":3}`,
		"List=":                           `{"List":[]}`,
		"List.member.2.Name=b&List.member.1.Name=a&List.member.10.Name=j&List.member.3.Name=c": `{"List":[{"Name":"a"},{"Name":"b"},{"Name":"c"}]}`,
		"List.member.999999999.Name=x":                                                `{}`,
		"List.member=1&List.member.=2&List.member.1=3&List.member.01.Name=x":          `{}`,
		"List.member.1.Unknown=x":                                                     `{"List":[{}]}`,
		"List.member.1.List.member.1.N=1":                                             `{"List":[{"List":[{"N":1}]}]}`,
		"Map.entry.1.value=3&Map.entry.1.key=a.b&Map.entry.2.key=c&Map.entry.4.key=d": `{"Map":{"a.b":3,"c":null}}`,
		"Map.entry.1.value=3":                                                         `{}`,
		"%4Eame=%C3%A9%ff+x":                                                          `{"Name":"é\ufffd x"}`,
		"Deep.Deep.N=1&Deep.N=2&Deep=x":                                               `{"Deep":{"N":2,"Deep":{"N":1}}}`,
	} {
		body, bad := Query{service, "Do"}.Request([]byte(form))
		if bad != nil {
			t.Errorf("%s: %v", form, bad)
			continue
		}
		sameJSON(t, body, want)
	}
	for _, form := range []string{"List.member.1.N=x", "Map.entry.1.key=a&Map.entry.1.value=x", "Name=%zz", "a;b", "F=NaN", strings.Repeat("Deep.", 40) + "N=1"} {
		if body, bad := (Query{service, "Do"}).Request([]byte(form)); bad == nil {
			t.Errorf("%s became %s", form, body)
		}
	}
	if action, version := Action([]byte("x=%zz&Action=Do+it&Version=2&Action=Else")); action != "Do it" || version != "2" {
		t.Errorf("action %q, version %q", action, version)
	}
}

// decodeCBOR decodes with a library what Request transcodes. ok is false if JSON has no equivalent.
func decodeCBOR(raw []byte) (v any, ok bool) {
	mode, err := cbor.DecOptions{IntDec: cbor.IntDecConvertSignedOrFail, BignumTag: cbor.BignumTagForbidden, TimeTag: cbor.DecTagIgnored, MaxNestedLevels: 65535}.DecMode()
	if err != nil {
		panic(err)
	}
	if mode.Unmarshal(raw, &v) != nil {
		return nil, false
	}
	return plain(v)
}

func plain(v any) (out any, ok bool) {
	switch v := v.(type) {
	case map[any]any:
		m := make(map[string]any, len(v))
		for key, val := range v {
			name, isText := key.(string)
			if m[name], ok = plain(val); !ok || !isText {
				return nil, false
			}
		}
		return m, true
	case []any:
		for i := range v {
			if v[i], ok = plain(v[i]); !ok {
				return nil, false
			}
		}
		return v, true
	case cbor.Tag:
		if v.Number <= 3 {
			return nil, false
		}
		return plain(v.Content)
	case nil, bool, string, int64, uint64, []byte:
		return v, true
	case float64:
		return v, !math.IsNaN(v) && !math.IsInf(v, 0)
	}
	return nil, false
}

func FuzzCBOR(f *testing.F) {
	for _, v := range []any{
		map[string]any{"N": 1, "a\x00\u2028": []any{-1, 1.5, float32(0.1), true, nil, []byte{1, 2, 3}, ""}}, math.MaxInt64, math.MinInt64, cbor.Tag{Number: 9, Content: "x"},
	} {
		raw, err := cbor.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	// Indefinite lengths: a map, a list, a text and bytes in pieces. Numbers of 16 bits, undefined, and a date.
	for _, text := range []string{
		"bf616101ff", "9f0102ff", "7f616161c3ff", "7f6161616 2ff", "5f41014102ff", "f93c00", "f90001", "f9fc00", "f97e00", "f7", "c074323032332d31312d31345432323a31333a32305a",
		"c1c1c1", "1b8000000000000000", "3b7fffffffffffffff", "9b7fffffffffffffff00", "bb00000000ffffffff", "7b00000000ffffffff", "f818", "ff", "a1f6f6",
	} {
		raw, _ := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		body, bad := (CBOR{service, "Do"}).Request(raw)
		if bad == nil && !json.Valid(body) {
			t.Errorf("%x became %q", raw, body)
		}
		want, ok := decodeCBOR(raw)
		if !ok || len(raw) == 0 || bytes.ContainsAny(raw, "\xc0\xc1") && bad != nil { // the library doesn't convert dates here
			return
		}
		if bad != nil {
			if len(raw) < maxCBORDepth { // not nested too deeply
				t.Fatalf("%x is refused, which is %v", raw, want)
			}
			return
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, body, string(text))
	})
}

func FuzzQuery(f *testing.F) {
	f.Add("Name=a&List.member.1.N=2")
	f.Add("List.member.1.N=x&Map.entry.1.key=a&Map.entry.1.value=x")
	f.Fuzz(func(t *testing.T, form string) {
		if body, err := (Query{service, "Do"}).Request([]byte(form)); err == nil && !json.Valid(body) {
			t.Errorf("%q became %q", form, body)
		}
	})
}
