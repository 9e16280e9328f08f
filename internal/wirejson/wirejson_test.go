package wirejson

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestStrings(t *testing.T) {
	for in, want := range map[string]string{
		`"plain"`: "plain", `"a\"b\\c\/\b\f\n\r\t"`: "a\"b\\c/\b\f\n\r\t", `"\u00e9\ud83d\ude00"`: "é😀", `"\ud800x"`: "\uFFFDx", `"é😀"`: "é😀", `""`: "",
		`"0123456789abcdef0123456789é"`: "0123456789abcdef0123456789é",
	} {
		var r Reader
		r.Reset([]byte(in))
		got, ok := r.String()
		if !ok || got != want || !r.Done() {
			t.Errorf("%s: got %q, %v", in, got, r.Err())
		}
	}
	for _, bad := range []string{`"`, `"\`, `"\x"`, `"\u12"`, "\"\n\"", "\"\xff\"", "\"\xc3\"", `"\ud83d\u12"`} {
		var r Reader
		r.Reset([]byte(bad))
		if _, ok := r.String(); ok {
			t.Errorf("%q: accepted", bad)
		}
	}
}

func TestInts(t *testing.T) {
	for in, want := range map[string]int64{"0": 0, "-5": -5, "3.9": 3, "1e3": 1000, "99999999999999999999": 1<<63 - 1, "-1e400": -1 << 63} {
		var r Reader
		r.Reset([]byte(in))
		if got, ok := r.Int("Long"); !ok || got != want {
			t.Errorf("%s: %d", in, got)
		}
	}
}

func TestDepthIsBounded(t *testing.T) {
	for _, open := range []string{"[", `{"a":`} {
		var r Reader
		r.Reset([]byte(strings.Repeat(open, 1<<20)))
		if r.Valid() {
			t.Error("accepted")
		}
	}
}

// FuzzReader compares with encoding/json: what it takes as JSON, the Reader takes, and the other way round, but for nesting,
// invalid UTF-8 and lone surrogates.
func FuzzReader(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,true,false,null,"x\n"]}`, `[1,]`, `{"a":1,}`, `01`, `-`, `1.`, `"\u00zz"`, ` {} `, `{}{}`, `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var r Reader
		r.Reset(text)
		got := r.Valid()
		want := json.Valid(text)
		if got && !want {
			t.Fatalf("%q is no JSON", text)
		}
		if !got && want && strings.ToValidUTF8(string(text), "") == string(text) && strings.Count(string(text), "[")+strings.Count(string(text), "{") < MaxDepth {
			t.Fatalf("%q is JSON", text)
		}
	})
}
