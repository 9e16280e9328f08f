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

// FuzzReader compares with encoding/json: both accept the same texts, except for nesting, invalid UTF-8 and lone surrogates.
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
			t.Fatalf("%q is not JSON", text)
		}
		if !got && want && strings.ToValidUTF8(string(text), "") == string(text) && strings.Count(string(text), "[")+strings.Count(string(text), "{") < MaxDepth {
			t.Fatalf("%q is JSON", text)
		}
	})
}

// TestBuffersAreGivenBack: Skip keeps nothing, and Release keeps neither the text nor large buffers.
func TestBuffersAreGivenBack(t *testing.T) {
	var r Reader
	r.Reset([]byte(`{"a":"` + strings.Repeat(`\u0041`, 1<<20) + `","\u0041":["\u0041",{"\u0041":"\u0041"}]}`))
	r.Skip()
	if r.Err() != nil || len(r.scratch) != 0 {
		t.Errorf("skipping keeps %d bytes, %v", len(r.scratch), r.Err())
	}
	r.Reset([]byte(`"` + strings.Repeat(`\u0041`, keptBytes+1) + `"`))
	if s, ok := r.String(); !ok || len(s) != keptBytes+1 {
		t.Fatal(r.Err())
	}
	r.Room(keptBytes + 1)
	r.Offsets = make([]int, keptBytes)
	r.Release()
	if r.buf != nil || r.scratch != nil || r.Arena != nil || r.Offsets != nil {
		t.Error("Release keeps something")
	}
	r.Room(10)
	if r.Release(); cap(r.Arena) == 0 {
		t.Error("Release gives small buffers away")
	}
}

// TestRoom: at most four times the final size of the Arena is allocated, however a text misleads Room.
func TestRoom(t *testing.T) {
	for _, at := range []int{0, sampled + 1, 1 << 19, 1 << 20} { // offset from which values are ten times as large as their text
		var r Reader
		r.Reset(make([]byte, 1<<20))
		filled, allocated := 0, 0
		for r.pos = 0; r.pos < len(r.buf); r.pos += 16 {
			n := 4
			if r.pos >= at {
				n = 160
			}
			before := cap(r.Arena)
			r.Room(n)
			if cap(r.Arena) != before {
				allocated += cap(r.Arena)
			}
			r.Arena = r.Arena[:len(r.Arena)+n]
			filled += n
		}
		if allocated > 4*filled+maxAhead {
			t.Errorf("%d bytes are allocated for %d", allocated, filled)
		}
	}
}
