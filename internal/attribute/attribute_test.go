package attribute

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/wirejson"
)

func canonical(t testing.TB, text string) []byte {
	t.Helper()
	n, problem := AppendNumber(nil, []byte(text))
	if problem != "" {
		t.Fatalf("%s: %s", text, problem)
	}
	return n
}

func TestAppendNumber(t *testing.T) {
	for _, c := range []struct{ in, want, problem string }{
		{"0", "0", ""}, {"-0", "0", ""}, {"0.0", "0", ""}, {"000", "0", ""}, {"007", "7", ""}, {"1.50", "1.5", ""},
		{"+5", "5", ""}, {".5", "0.5", ""}, {"5.", "5", ""}, {"1e2", "100", ""}, {"1E-2", "0.01", ""}, {"-12.340E1", "-123.4", ""},
		{"1E125", "1" + strings.Repeat("0", 125), ""},
		{"9.9999999999999999999999999999999999999E125", strings.Repeat("9", 38) + strings.Repeat("0", 88), ""},
		{"1E-130", "0." + strings.Repeat("0", 129) + "1", ""},
		{strings.Repeat("9", 38), strings.Repeat("9", 38), ""},
		{"0" + strings.Repeat("9", 38) + "000", strings.Repeat("9", 38) + "000", ""},
		{strings.Repeat("9", 39), "", msgPrecision},
		{"1E126", "", msgOverflow}, {"-1E126", "", msgOverflow}, {"1E-131", "", msgUnderflow},
		{"1E999999999999", "", msgOverflow},
		{"0E125", "0", ""}, {"0E126", "", msgOverflow}, {"-0E126", "", msgOverflow}, {"0E-130", "0", ""}, {"0E-131", "", msgUnderflow},
		{"0.0E126", "0", ""}, {"0.0E-130", "", msgUnderflow}, {"000E125", "0", ""}, {"0E999999999999", "", msgOverflow},
		{"1E9223372036854775807", "", msgOverflow}, {"1E9223372036854775808", "", msgNotANumber + ": 1E9223372036854775808"},
		{"1E-9223372036854775808", "", msgUnderflow}, {"1E-9223372036854775809", "", msgNotANumber + ": 1E-9223372036854775809"},
		{"0E9223372036854775808", "", msgNotANumber + ": 0E9223372036854775808"}, {"1E00000000000000000000000000005", "100000", ""},
		{"1E+", "", msgNotANumber + ": 1E+"}, {"1E--5", "", msgNotANumber + ": 1E--5"}, {"1_0", "", msgNotANumber + ": 1_0"},
		{"1E1_0", "", msgNotANumber + ": 1E1_0"}, {"0." + strings.Repeat("0", 129) + "1", "0." + strings.Repeat("0", 129) + "1", ""},
		{strings.Repeat("0", 200) + "1E-130", "0." + strings.Repeat("0", 129) + "1", ""},
		{"", "", msgNotANumber + ": "}, {"abc", "", msgNotANumber + ": abc"}, {"1e", "", msgNotANumber + ": 1e"}, {"-", "", msgNotANumber + ": -"},
		{"1 ", "", msgNotANumber + ": 1 "}, {"NaN", "", msgNotANumber + ": NaN"}, {"1.2.3", "", msgNotANumber + ": 1.2.3"}, {"0x1", "", msgNotANumber + ": 0x1"},
	} {
		got, problem := AppendNumber(nil, []byte(c.in))
		if string(got) != c.want || problem != c.problem {
			t.Errorf("%q: got %q, %q; want %q, %q", c.in, got, problem, c.want, c.problem)
		}
	}
}

func TestNumberSize(t *testing.T) {
	for text, want := range map[string]int{
		"0": 1, "1": 2, "12": 2, "123": 3, "100": 2, "1000": 2, "-1": 3, "0.1": 2, "0.01": 2, "1.5": 3, "12345678901234567890123456789012345678": 20,
	} {
		if got := NumberSize([]byte(text)); got != want {
			t.Errorf("%s: %d bytes, want %d", text, got, want)
		}
	}
}

// randomNumber returns the text of a random storable number.
func randomNumber(r *rand.Rand) string {
	digits := 1 + r.IntN(38)
	var b strings.Builder
	if r.IntN(2) == 0 {
		b.WriteByte('-')
	}
	for range digits {
		b.WriteByte(byte('0' + r.IntN(10)))
	}
	switch r.IntN(3) {
	case 0:
		fmt.Fprintf(&b, "E%d", r.IntN(80)-90)
	case 1:
		fmt.Fprintf(&b, "E%d", r.IntN(3)-2)
	}
	return b.String()
}

// TestNumberOrder: the key form sorts like the values, and no form is a prefix of another.
func TestNumberOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		a, b := canonical(t, randomNumber(r)), canonical(t, randomNumber(r))
		ka, kb := AppendNumberKey(nil, a), AppendNumberKey(nil, b)
		if got, want := bytes.Compare(ka, kb), CompareNumbers(a, b); got != want {
			t.Fatalf("%s and %s: keys compare %d, values %d", a, b, got, want)
		}
		if !bytes.Equal(ka, kb) && (bytes.HasPrefix(ka, kb) || bytes.HasPrefix(kb, ka)) {
			t.Fatalf("%s and %s: one key is a prefix of the other", a, b)
		}
	}
}

func TestAddNumbers(t *testing.T) {
	for _, c := range []struct {
		a, b     string
		subtract bool
		want     string
		problem  string
	}{
		{"1", "2", false, "3", ""}, {"0.1", "0.2", false, "0.3", ""}, {"1", "3", true, "-2", ""}, {"1E125", "1", false, "", msgOverflow},
		{"1.5E-130", "1.5E-130", true, "0", ""}, {"12345678901234567890123456789012345678", "0.1", true, "", msgOverflow},
		{"9E125", "9E125", false, "", msgOverflow}, {"1E-130", "1E-130", true, "0", ""},
		{"99999999999999999999999999999999999999", "1", false, "100000000000000000000000000000000000000", ""},
	} {
		got, problem := AddNumbers(nil, canonical(t, c.a), canonical(t, c.b), c.subtract)
		if string(got) != c.want || problem != c.problem {
			t.Errorf("%v: got %q, %q", c, got, problem)
		}
	}
}

// TestProblems: AWS's two layers word the problems of values differently.
func TestProblems(t *testing.T) {
	const notNumeric = "The parameter cannot be converted to a numeric value"
	long := strings.Repeat("n", MaxName+1)
	deep := strings.Repeat(`{"M":{"n":`, 32) + `{"S":"leaf"}` + strings.Repeat(`}}`, 32)
	for _, c := range []struct{ value, want, older string }{
		{`{"N":"abc"}`, notNumeric + ": abc", notNumeric + ": abc"},
		{`{"N":""}`, notNumeric + ": ", notNumeric},
		{`{"N":"1e126"}`, msgOverflow, msgOverflow},
		{`{"N":"1e2147483646"}`, msgOverflow, msgOverflow},
		{`{"N":"1e2147483647"}`, msgOverflow, msgUnderflow},
		{`{"N":"1e2147483648"}`, msgOverflow, notNumeric + ": 1e2147483648"},
		{`{"N":"1e-131"}`, msgUnderflow, msgUnderflow},
		{`{"N":"1e-2147483648"}`, msgUnderflow, notNumeric + ": 1e-2147483648"},
		{`{"N":"0.1e-2147483647"}`, msgUnderflow, notNumeric + ": 0.1e-2147483647"},
		{`{"N":"0e126"}`, msgOverflow, msgOverflow},
		{`{"NS":["1","0e-131"]}`, msgUnderflow, msgUnderflow},
		{`{"SS":["b","a","b"]}`, msgInvalidPrefix + `Input collection ["a", "b", "b"] contains duplicates.`, msgInvalidPrefix + "Input collection [b, a, b] contains duplicates."},
		{`{"SS":["c","a","c","b","b"]}`, msgInvalidPrefix + `Input collection ["a", "c", "c", "b", "b"] contains duplicates.`, msgInvalidPrefix + "Input collection [c, a, c, b, b] contains duplicates."},
		{`{"BS":["/w==","AA==","AA=="]}`, msgInvalidPrefix + `Input collection ["AA==","/w==","AA=="]of type BS contains duplicates.`, msgInvalidPrefix + "Input collection [/w==, AA==, AA==]of type BS contains duplicates."},
		{`{"SS":["",""]}`, msgInvalidPrefix + `Input collection ["", ""] contains duplicates.`, msgInvalidPrefix + "Input collection [, ] contains duplicates."},
		{`{"NS":["2","1","2"]}`, msgInvalidPrefix + "Input collection contains duplicates.", "Input collection contains duplicates"},
		{`{"M":{"":{"S":"x"}}}`, "Empty attribute name", "Empty attribute name"},
		{`{"L":[{"M":{"a":{"M":{"":{"S":"x"}}}}}]}`, "Empty attribute name", "Empty attribute name"},
		{`{"M":{"` + long + `":{"S":"x"}}}`, msgLongName, msgLongName},
		{`{"L":[{"M":{"":{"S":"x"}}},` + deep + `]}`, msgDepth, msgDepth},
	} {
		it, err := read(`{"a":{"S":"x"},"v":` + c.value + `}`)
		if err != nil {
			t.Fatal(err)
		}
		name, got, _ := it.Invalid()
		_, older, _ := it.InvalidOlder()
		if name != "v" || got != c.want || older != c.older {
			t.Errorf("%.80s: attribute %q: %q, older %q; want %q, older %q", c.value, name, got, older, c.want, c.older)
		}
		var r wirejson.Reader
		r.Reset([]byte(c.value))
		v := ReadValue(&r)
		got, _ = v.Invalid()
		older, _ = v.InvalidOlder()
		if got != c.want || older != c.older {
			t.Errorf("%.80s: %q, older %q; want %q, older %q", c.value, got, older, c.want, c.older)
		}
	}
	// The names of an item's attributes come before its values.
	for _, text := range []string{`{"":{"S":"x"},"d":` + deep + `}`, `{"d":` + deep + `,"":{"S":"x"}}`} {
		it, err := read(text)
		if err != nil {
			t.Fatal(err)
		}
		if name, got, _ := it.Invalid(); name != "" || got != "Empty attribute name" {
			t.Errorf("%.80s: attribute %q: %q", text, name, got)
		}
	}
	it, err := read(`{"` + long[:MaxName] + `":{"M":{"` + long[:MaxName] + `":{"S":"x"}}}}`)
	if _, problem, invalid := it.Invalid(); err != nil || invalid {
		t.Errorf("names of 65,535 bytes: %v, %q", err, problem)
	}
}

func read(text string) (Item, *wirejson.Error) {
	var r wirejson.Reader
	r.Reset([]byte(text))
	it := ReadItem(&r)
	r.Done()
	return it, r.Err()
}

func TestItemRoundTrip(t *testing.T) {
	text := `{"b":{"S":"x\"\\\n\u0001é😀"},"a":{"N":"1.50"},"m":{"M":{"z":{"NULL":true},"y":{"L":[{"BOOL":true},{"B":"AQID"}]}}},"s":{"SS":["b","a"]},"n":{"NS":["10","9"]}}`
	want := `{"a":{"N":"1.5"},"b":{"S":"x\"\\\n\u0001é😀"},"m":{"M":{"y":{"L":[{"BOOL":true},{"B":"AQID"}]},"z":{"NULL":true}}},"n":{"NS":["9","10"]},"s":{"SS":["a","b"]}}`
	it, err := read(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(it.AppendJSON(nil)); got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
	if got, want := it.Get("m").Get("y").Index(1).Bytes(), []byte{1, 2, 3}; !bytes.Equal(got, want) {
		t.Fatalf("nested binary %v", got)
	}
	var sum int
	for name, v := range it.Fields {
		sum += len(name) + v.Size()
	}
	if it.Size() != sum || it.Len() != 5 {
		t.Fatalf("size %d, want %d; %d attributes", it.Size(), sum, it.Len())
	}
}

func TestDuplicateNamesLastWins(t *testing.T) {
	it, err := read(`{"a":{"S":"first"},"b":{"S":"x"},"a":{"S":"second"}}`)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(it.AppendJSON(nil)); got != `{"a":{"S":"second"},"b":{"S":"x"}}` {
		t.Fatal(got)
	}
	if it.Size() != len("a")+len("second")+len("b")+1 || it.Len() != 2 {
		t.Fatalf("size %d, %d attributes", it.Size(), it.Len())
	}
}

func TestUnionAndDifference(t *testing.T) {
	a := NewSet(TypeNS, [][]byte{[]byte("10"), []byte("9")})
	b := NewSet(TypeNS, [][]byte{[]byte("9"), []byte("100")})
	if got := Union(a, b).String(); got != "{NS:[9, 10, 100]}" {
		t.Error(got)
	}
	if got := Difference(a, b).String(); got != "{NS:[10]}" {
		t.Error(got)
	}
	if Difference(a, a) != nil {
		t.Error("an empty difference is a set")
	}
}

// FuzzReadItem: no body panics, and a decoded item survives encoding and decoding.
func FuzzReadItem(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `{"a":{"S":"x"}}`, `{"a":{"N":"1E5"},"a":{"N":"2"}}`, `{"a":{"L":[{"M":{}}]}}`, `{"a":{"B":"AQ=="}}`, `{"a":{"SS":["a","a"]}}`,
		`{"a":{"S":"\ud83d\ude00\ud800"}}`, `{"a":{"NS":["1","01"]}}`, strings.Repeat(`{"a":{"M":`, 40), `{"a":{"S":"x","N":"1"}}`, "{\"a\":{\"S\":\"\xff\"}}",
		`{"b":{"L":[{"N":"1E125"}]},"b":{"SS":["b","a"]},"a":{"M":{"x":{"L":[]},"x":{"BS":["Ag==","AQ=="]}}},"c":{"NS":["2","1","-1E9"]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		it, err := read(string(text))
		if err != nil || it == nil {
			return
		}
		if _, _, invalid := it.Invalid(); invalid {
			return
		}
		if err := it.WellFormed(); err != nil {
			t.Fatalf("%q decodes to %x: %v", text, it, err)
		}
		encoded := it.AppendJSON(nil)
		again, err := read(string(encoded))
		if err != nil {
			t.Fatalf("%q encodes to %q, which does not decode: %v", text, encoded, err)
		}
		if !bytes.Equal(it, again) {
			t.Fatalf("%q encodes to %q, which decodes to something else", text, encoded)
		}
	})
}

// FuzzWellFormed checks arbitrary bytes: those that pass must be what their JSON decodes to.
func FuzzWellFormed(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":{"S":"x"},"b":{"N":"-1.5"}}`, `{"a":{"L":[{"M":{"x":{"NULL":true}}},{"BS":["AQ==","Ag=="]}]}}`, `{"n":{"NS":["1","2"]},"s":{"SS":["a"]},"t":{"BOOL":true}}`} {
		it, err := read(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(it))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		it := Item(raw)
		if it.WellFormed() != nil {
			return
		}
		encoded := it.AppendJSON(nil)
		if again, err := read(string(encoded)); err != nil {
			t.Fatalf("%x encodes to %q, which does not decode: %v", raw, encoded, err)
		} else if _, _, invalid := again.Invalid(); !invalid && !bytes.Equal(it, again) {
			t.Fatalf("%x encodes to %q, which decodes to %x", raw, encoded, again)
		}
	})
}

// FuzzNumber: canonical numbers are stable and keep their order in keys, and sums are storable numbers or refused.
func FuzzNumber(f *testing.F) {
	f.Add("1", "2")
	f.Add("-1E-130", "9.99E125")
	f.Fuzz(func(t *testing.T, x, y string) {
		a, pa := AppendNumber(nil, []byte(x))
		b, pb := AppendNumber(nil, []byte(y))
		if pa != "" || pb != "" {
			return
		}
		if again, problem := AppendNumber(nil, a); problem != "" || !bytes.Equal(again, a) {
			t.Fatalf("%q is canonically %q, which is canonically %q (%s)", x, a, again, problem)
		}
		if got, want := bytes.Compare(AppendNumberKey(nil, a), AppendNumberKey(nil, b)), CompareNumbers(a, b); got != want {
			t.Fatalf("%q and %q: keys compare %d, values %d", a, b, got, want)
		}
		if sum, problem := AddNumbers(nil, a, b, false); problem == "" {
			if _, problem := AppendNumber(nil, sum); problem != "" {
				t.Fatalf("%q + %q = %q: %s", a, b, sum, problem)
			}
		}
	})
}
