package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/attribute"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOrderedNumbers has the bytes that real clients send for numbers in sort keys.
func TestOrderedNumbers(t *testing.T) {
	for number, want := range map[string]string{
		"0": "80", "1": "c11c0000", "5": "c1800000", "12": "c2210010", "123": "c321c020", "1234": "c421d9c000",
		"111122223333444445555.66667777": "d51ec863ad59721c98dea6ac70e004", "-1": "3ee3fff0", "-5": "3e7ffff0", "-0.5": "3f7ffff0",
		"0.5": "c0800000", "3.14": "c1518020", "99.99": "c2fcf90000", "1e-63": "821c0000", "100": "c31c0000", "10": "c21c0000",
		"1e100": "fe800000651c0000", "-1e100": "017fffff9ae3fff0", "1e-100": "817fffff9d1c0000", "-1e-100": "7e80000062e3fff0",
		"1e61": "fe8000003e1c0000",
	} {
		canonical := attribute.Number(number).Bytes()
		if got := hex.EncodeToString(appendOrdered(nil, canonical)); got != want {
			t.Errorf("%s: got %s, want %s", number, got, want)
		}
		checkOrdered(t, want, canonical)
	}
	// The same numbers with trailing zeros that a client didn't strip.
	checkOrdered(t, "c31c0020", []byte("100"))
	checkOrdered(t, "c21c0010", []byte("10"))
	for _, bad := range []string{"", "00", "c1", "c100", "c1ffff", "ff1c0000", "7f1c0000", "80" + "00", "c11c", "fe80000065", "feffffffff1c0000", "c1000000"} {
		if text, ok := readOrdered(nil, unhex(t, bad)); ok {
			t.Errorf("%s is %s", bad, text)
		}
	}
}

func checkOrdered(t *testing.T, bytes string, want []byte) {
	t.Helper()
	text, ok := readOrdered(nil, unhex(t, bytes))
	got, problem := attribute.AppendNumber(nil, text)
	if !ok || problem != "" || string(got) != string(want) {
		t.Errorf("%s: got %s (%s), want %s", bytes, got, problem, want)
	}
}

// randomNumber returns the canonical text of a random number in DynamoDB's range.
func randomNumber(r *rand.Rand) []byte {
	text := []byte{"-+"[r.IntN(2)]}
	for range 1 + r.IntN(38) {
		text = append(text, byte('0'+r.IntN(10)))
	}
	exponents := []string{"", "E5", "E-5", "E-60", "E60", "E87", "E-120", "E-25", "E-62", "E-63", "E24", "E23"}
	text = append(text, exponents[r.IntN(len(exponents))]...)
	n, problem := attribute.AppendNumber(nil, text)
	if problem != "" {
		return []byte("0")
	}
	return n
}

// TestOrderIsKept: byte order of the ordered form is numeric order.
func TestOrderIsKept(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		a, b := randomNumber(r), randomNumber(r)
		x, y := appendOrdered(nil, a), appendOrdered(nil, b)
		if bytes.Compare(x, y) != attribute.CompareNumbers(a, b) {
			t.Fatalf("%s %x and %s %x", a, x, b, y)
		}
		checkOrdered(t, hex.EncodeToString(x), a)
	}
}

// TestNumbers has the forms in which numbers arrive, and the one in which they are sent.
func TestNumbers(t *testing.T) {
	for _, c := range []struct{ in, number, out string }{
		{"00", "0", ""}, {"1864", "100", ""}, {"20", "-1", ""}, {"3b7fffffffffffffff", "-9223372036854775808", ""},
		{"1bffffffffffffffff", "18446744073709551615", ""}, {"3bffffffffffffffff", "-18446744073709551616", ""},
		{"c249010000000000000000", "18446744073709551616", ""}, {"c349010000000000000000", "-18446744073709551617", ""},
		{"c48221187d", "1.25", ""}, {"c482211896", "1.5", "c482200f"}, {"c4820501", "100000", "1a000186a0"}, {"c4823864" + "01", "0." + strings.Repeat("0", 100) + "1", ""},
		{"c2411c", "28", "181c"}, {"c24200001c"[:4] + "00", "", ""}, {"c4822100", "0", "00"}, {"fb3ff8000000000000", "1.5", "c482200f"},
		{"fa3fc00000", "1.5", "c482200f"}, {"c482" + "20" + "c24105", "0.5", "c4822005"},
	} {
		r := NewReader(unhex(t, c.in))
		v := r.Value()
		if c.number == "" {
			if r.Err() == nil && !r.More() {
				t.Errorf("%s is %s", c.in, v.Text())
			}
			continue
		}
		if r.Err() != nil || v.Text() != c.number {
			t.Errorf("%s: got %v, %v, want %s", c.in, v, r.Err(), c.number)
			continue
		}
		if c.out == "" {
			c.out = c.in
		}
		if got := hex.EncodeToString(AppendValue(nil, v)); got != c.out {
			t.Errorf("%s is encoded as %s, want %s", c.number, got, c.out)
		}
	}
	for in, want := range map[string]string{
		"c482187e01":   "Number overflow",
		"c4823903e701": "Number underflow",
		"c2" + "58ff" + strings.Repeat("ff", 255): "Number overflow",
		"fb7ff8000000000000":                      "cannot be converted to a numeric value",
		"fb7ff0000000000000":                      "cannot be converted to a numeric value",
		"c4821b7fffffffffffffff01":                "Number overflow",
		"c4823b7fffffffffffffff01":                "Number underflow",
		"c2513b" + strings.Repeat("12", 16):       "38 significant digits",
	} {
		r := NewReader(unhex(t, in))
		if r.Value(); r.Err() == nil || !strings.Contains(r.Err().Error(), want) {
			t.Errorf("%s: got %v, want %s", in, r.Err(), want)
		}
	}
}

// randomValue returns a random attribute value.
func randomValue(r *rand.Rand, depth int) attribute.Value {
	text := func() []byte {
		b := make([]byte, r.IntN(30))
		for i := range b {
			b[i] = byte(' ' + r.IntN(90))
		}
		return b
	}
	n := 9
	if depth > 3 {
		n = 7
	}
	switch r.IntN(n) {
	case 0:
		return attribute.String(string(text()))
	case 1:
		return attribute.AppendScalar(nil, attribute.TypeN, randomNumber(r))
	case 2:
		return attribute.Binary(text())
	case 3:
		return []attribute.Value{attribute.True, attribute.False, attribute.Null}[r.IntN(3)]
	case 4:
		return attribute.NewSet(attribute.TypeSS, [][]byte{text(), text(), []byte("ä")})
	case 5:
		return attribute.NewSet(attribute.TypeNS, [][]byte{randomNumber(r), randomNumber(r)})
	case 6:
		return attribute.NewSet(attribute.TypeBS, [][]byte{text(), {0xff, 0}})
	case 7:
		var list []attribute.Value
		for range r.IntN(5) {
			list = append(list, randomValue(r, depth+1))
		}
		return attribute.NewList(list)
	}
	var fields []attribute.Field
	for range r.IntN(5) {
		fields = append(fields, attribute.Field{Name: string(text()), Value: randomValue(r, depth+1)})
	}
	return attribute.NewMap(distinct(fields))
}

// TestValues encodes and decodes random values.
func TestValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		v := randomValue(r, 0)
		b := AppendValue(nil, v)
		reader := NewReader(b)
		if got := reader.Value(); reader.Err() != nil || reader.More() || !got.Equal(v) {
			t.Fatalf("%x: %v, got %v, want %v", b, reader.Err(), got, v)
		}
		checkSkimmed(t, b, r)
	}
}

// checkSkimmed finds the end of a value that arrives in pieces.
func checkSkimmed(t *testing.T, b []byte, r *rand.Rand) {
	t.Helper()
	var s Skimmer
	whole := append(append([]byte{}, b...), 0, 0)
	for have := 0; ; have += 1 + r.IntN(5) {
		done, err := s.Value(whole[:min(have, len(whole))])
		if err != nil || done && s.Pos() != len(b) || !done && have >= len(b) {
			t.Fatalf("%x, %d bytes of it: %v %v at %d", b, have, done, err, s.Pos())
		}
		if done {
			return
		}
	}
}

// TestBadValues has invalid values.
func TestBadValues(t *testing.T) {
	deep := strings.Repeat("81", 32) + "00"
	for in, want := range map[string]string{
		"":                        "malformed",
		"ff":                      "malformed",
		"f7":                      "malformed",
		"61":                      "malformed",
		"61ff":                    "malformed",
		"7f6161ff":                "malformed",
		"5f4161ff":                "malformed",
		"9f":                      "malformed",
		"8201":                    "malformed",
		"9bffffffffffffffff":      "malformed",
		"bbffffffffffffffff":      "malformed",
		"5bffffffffffffffff":      "malformed",
		"a1" + "4161" + "00":      "malformed",
		"d90cf980":                "string set",
		"d90cfa80":                "number set",
		"d90cfb80":                "Binary sets",
		"d90cf98261616161":        "contains duplicates",
		"d90cfa8200c24100":        "contains duplicates",
		"d90cf98100":              "malformed",
		"d90cfc00":                "malformed",
		"d9000000":                "malformed",
		deep:                      "nested levels",
		"a1" + "6161" + deep:      "nested levels",
		"c49f0001ff":              "malformed",
		"c4820061" + "31":         "malformed",
		"1c":                      "malformed",
		"fe":                      "malformed",
		"81" + "81" + "9fff" + "": "",
	} {
		r := NewReader(unhex(t, in))
		v := r.Value()
		if want == "" {
			if r.Err() != nil {
				t.Errorf("%s: %v", in, r.Err())
			}
			continue
		}
		if r.Err() == nil || !strings.Contains(r.Err().Error(), want) || v != nil {
			t.Errorf("%s: got %v, %v, want %s", in, v, r.Err(), want)
		}
	}
}

var (
	hashS  = KeySchema{{"pk", attribute.TypeS}}
	hashN  = KeySchema{{"pk", attribute.TypeN}}
	hashB  = KeySchema{{"pk", attribute.TypeB}}
	rangeN = KeySchema{{"pk", attribute.TypeS}, {"a", attribute.TypeN}}
	rangeB = KeySchema{{"pk", attribute.TypeN}, {"sk", attribute.TypeB}}
	rangeS = KeySchema{{"pk", attribute.TypeB}, {"sk", attribute.TypeS}}
)

// TestKeys has keys as real clients send them.
func TestKeys(t *testing.T) {
	for _, c := range []struct {
		schema KeySchema
		in     string
		want   string // in JSON
	}{
		{hashS, hex.EncodeToString([]byte("onlykey")), `{"pk":{"S":"onlykey"}}`},
		{hashS, "", `{"pk":{"S":""}}`},
		{hashB, "00ff", `{"pk":{"B":"AP8="}}`},
		{hashN, "c48220187d", `{"pk":{"N":"12.5"}}`},
		{rangeN, "6170c1800000", `{"a":{"N":"5"},"pk":{"S":"p"}}`},
		{rangeB, "070102", `{"pk":{"N":"7"},"sk":{"B":"AQI="}}`},
		{rangeS, "41ff78", `{"pk":{"B":"/w=="},"sk":{"S":"x"}}`},
	} {
		b := unhex(t, c.in)
		key, err := ReadKey(c.schema, b)
		if err != nil || string(key.AppendJSON(nil)) != c.want || key.WellFormed() != nil {
			t.Errorf("%s: got %s, %v, want %s", c.in, key.AppendJSON(nil), err, c.want)
			continue
		}
		r := NewReader(AppendKey(nil, c.schema, key))
		if got := r.Bytes(); !bytes.Equal(got, b) {
			t.Errorf("%s is encoded as %x, want %s", c.want, got, c.in)
		}
	}
	for _, c := range []struct {
		schema KeySchema
		in     string
		want   string
	}{
		{hashS, "ff", "provided key element does not match the schema"},
		{hashN, "6170", "provided key element does not match the schema"},
		{hashN, "0000", "provided key element does not match the schema"},
		{hashN, "c482187f01", "Number overflow"},
		{rangeN, "07c1800000", "provided key element does not match the schema"},
		{rangeN, "6170", "provided key element does not match the schema"},
		{rangeN, "6170fe800000ff1c0000", "Number overflow"},
		{rangeB, "", "provided key element does not match the schema"},
		{rangeS, "41ffff", "provided key element does not match the schema"},
	} {
		if key, err := ReadKey(c.schema, unhex(t, c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %s, %v, want %s", c.in, key.AppendJSON(nil), err, c.want)
		}
	}
	key := attribute.NewItem(attribute.Field{Name: "a", Value: attribute.Number("1")}, attribute.Field{Name: "pk", Value: attribute.String("x")})
	r := NewReader(AppendCompoundKey(nil, key))
	if got, err := ReadCompoundKey(r.Bytes()); err != nil || !bytes.Equal(got, key) {
		t.Errorf("got %s, %v", got.AppendJSON(nil), err)
	}
}

// TestItems encodes and decodes random items, with and without key attributes in the list.
func TestItems(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		key := attribute.NewItem(attribute.Field{Name: "m", Value: attribute.String("k")}, attribute.Field{Name: "c", Value: attribute.Number("5")})
		schema := KeySchema{{"m", attribute.TypeS}, {"c", attribute.TypeN}}
		fields := []attribute.Field{{Name: "m", Value: attribute.String("k")}, {Name: "c", Value: attribute.Number("5")}}
		var names []string
		for name := 'a'; name < 'q'; name++ {
			if random.IntN(2) == 0 && name != 'm' && name != 'c' {
				fields = append(fields, attribute.Field{Name: string(name), Value: randomValue(random, 1)})
				names = append(names, string(name))
			}
		}
		it := attribute.NewItem(fields...)
		r := NewReader(AppendItem(nil, 42, schema, it))
		id, values, err := ListID(r.Bytes())
		if id != 42 || err != nil || r.More() {
			t.Fatal(id, err)
		}
		got, err := ReadItem(NewList(names), values, key)
		if err != nil || !bytes.Equal(got, it) || got.WellFormed() != nil {
			t.Fatalf("got %s, %v, want %s", got.AppendJSON(nil), err, it.AppendJSON(nil))
		}
		if len(names) > 0 {
			if _, err := ReadItem(NewList(names[1:]), values, key); !errors.Is(err, ErrMalformed) {
				t.Errorf("a value too many: %v", err)
			}
			if _, err := ReadItem(NewList(append(names, "z")), values, key); !errors.Is(err, ErrMalformed) {
				t.Errorf("a value missing: %v", err)
			}
		}
		// A list that names a key attribute too.
		got, err = ReadItem(NewList(append([]string{"c"}, names...)), append([]byte{1}, values...), key)
		if err != nil || !bytes.Equal(got, it) {
			t.Errorf("got %s, %v, want %s", got.AppendJSON(nil), err, it.AppendJSON(nil))
		}
	}
}

// diag makes CBOR from a short notation: strings, integers, lists, null, and i(3) for list indexes.
func diag(t testing.TB, s string) []byte {
	t.Helper()
	var out []byte
	var counts []int // offsets of the heads of open arrays
	var stack [][]byte
	_ = counts
	n := []int{0}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '[':
			n[len(n)-1]++
			stack = append(stack, out)
			out, n = nil, append(n, 0)
		case c == ']':
			inner := append(AppendArray(nil, n[len(n)-1]), out...)
			out = append(stack[len(stack)-1], inner...)
			stack, n = stack[:len(stack)-1], n[:len(n)-1]
		case c == '"':
			end := i + 1 + strings.IndexByte(s[i+1:], '"')
			out = AppendText(out, s[i+1:end])
			n[len(n)-1]++
			i = end
		case c == 'i':
			out = append(appendHead(out, majorTag, tagListIndex), s[i+1]-'0')
			n[len(n)-1]++
			i++
		case c >= '0' && c <= '9':
			v := int64(0)
			for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
				v = v*10 + int64(s[i]-'0')
			}
			i--
			out = AppendInt(out, v)
			n[len(n)-1]++
		}
	}
	return out
}

// TestExpressions has trees as real clients send them.
func TestExpressions(t *testing.T) {
	condition, update := (*Expressions).Condition, (*Expressions).Update
	for _, c := range []struct {
		read   func(*Expressions, []byte) (string, error)
		in     string
		want   string
		names  string
		values int
	}{
		{condition, `[1, [6, [0, [18,"s"], [17,0]], [11, [18,"m"]]], ["str"]]`, "#0=:0 AND attribute_exists(#1)", "s,m", 1},
		{condition, `[1, [8, [4, [16,[18,"s"]], [17,0]]], [3]]`, "NOT size(#0)>:0", "s", 1},
		{condition, `[1, [10, [18,"s"], [[17,0],[17,1]]], [3, 4]]`, "#0 IN (:0,:1)", "s", 2},
		{condition, `[1, [6, [0,[18,"pk"],[17,0]], [4,[18,"sk"],[17,1]]], ["p", 1]]`, "#0=:0 AND #1>:1", "pk,sk", 2},
		{condition, `[1, [9, [18,"a","b",i3], [17,0], [17,1]], [1, 2]]`, "#0.#1[3] BETWEEN :0 AND :1", "a,b", 2},
		{condition, `[1, [6, [7, [1,[18,"a"],[17,0]], [2,[18,"a"],[17,0]]], [3,[18,"a"],[17,0]]], [1]]`, "(#0<>:0 OR #0<:0) AND #0>=:0", "a", 1},
		{condition, `[1, [7, [5,[18,"a"],[17,0]], [6,[12,[18,"b"]], [15,[18,"a"],[17,0]]]], [1]]`, "#0<=:0 OR attribute_not_exists(#1) AND contains(#0,:0)", "a,b", 1},
		{condition, `[1, [6, [11,[18,"a"]], [6,[11,[18,"b"]], [11,[18,"c"]]]], []]`, "attribute_exists(#0) AND (attribute_exists(#1) AND attribute_exists(#2))", "a,b,c", 0},
		{condition, `[1, [8, [8, [6,[11,[18,"b"]], [11,[18,"c"]]]]], []]`, "NOT NOT (attribute_exists(#0) AND attribute_exists(#1))", "b,c", 0},
		{condition, `[1, [13, [18,"a"], [17,0]], ["S"]]`, "attribute_type(#0,:0)", "a", 1},
		{condition, `[1, [14, [18,"a.b"], [17,0]], ["S"]]`, "begins_with(#0,:0)", "a.b", 1},
		{
			update, `[1, [[19,[18,"l",i0],[23,[18,"x"],[17,0]]], [19,[18,"c"],[25,[18,"c"],[17,0]]], [22,[18,"z"]], [22,[18,"y",i1]]], [3]]`,
			"SET #0[0]=if_not_exists(#1,:0),#2=#2+:0 REMOVE #3,#4[1]", "l,x,c,z,y", 1,
		},
		{
			update, `[1, [[20,[18,"n"],[17,0]], [21,[18,"s"],[17,1]], [20,[18,"m"],[17,0]], [19,[18,"l"],[24,[18,"l"],[17,2]]], [19,[18,"d"],[26,[17,0],[18,"d"]]]], [3,4,5]]`,
			"ADD #0 :0,#1 :0 DELETE #2 :1 SET #3=list_append(#3,:2),#4=:0-#4", "n,m,s,l,d", 3,
		},
	} {
		var x Expressions
		got, err := c.read(&x, diag(t, c.in))
		var names []string
		for i, p := range x.Names {
			if p.Name != "#"+string("0123456789"[i]) {
				t.Errorf("name %d is %s", i, p.Name)
			}
			names = append(names, p.Value)
		}
		// Names are numbered in the order of the tree, which is the order of the text except between the clauses of updates.
		if err != nil || got != c.want && len(x.Names) < 5 || len(x.Values) != c.values || len(names) != len(strings.Split(c.names, ",")) {
			t.Errorf("%s: got %s %v %v, %v, want %s", c.in, got, names, x.Values, err, c.want)
		}
	}
	var x Expressions
	text, paths, err := x.Projection(diag(t, `[1, [[18,"s"], [18,"m","k"], [18,"l",i2,"q"]]]`))
	if text != "#0,#1.#2,#3[2].#4" || len(paths) != 3 || err != nil || len(paths[2]) != 3 || paths[2][1].Index != 2 {
		t.Errorf("%s %v %v", text, paths, err)
	}
	// Two expressions of one request share names, but not values.
	one, err1 := x.Condition(diag(t, `[1, [0,[18,"s"],[17,0]], [5]]`))
	two, err2 := x.Update(diag(t, `[1, [[19,[18,"t"],[17,0]]], [6]]`))
	if one != "#0=:0" || two != "SET #5=:1" || err1 != nil || err2 != nil || x.Values[1].Name != ":1" || x.Values[1].Value.Text() != "6" {
		t.Errorf("%s, %s, %v %v %v", one, two, x.Values, err1, err2)
	}
}

// TestBadExpressions has invalid trees.
func TestBadExpressions(t *testing.T) {
	deep := "[11,[18,\"a\"]]"
	for range maxTree + 10 {
		deep = "[8," + deep + "]"
	}
	for _, in := range []string{
		``, `1`, `[]`, `[2, [11,[18,"a"]], []]`, `[1, [11,[18,"a"]]]`, `[1, [11], []]`, `[1, [11,[18]], []]`, `[1, [11,[18,i0]], []]`, `[1, [11,[18,1]], []]`,
		`[1, [0,[18,"a"],[17,0]], []]`, `[1, [0,[18,"a"],[17,1]], [1]]`, `[1, [0,[18,"a"]], [1]]`, `[1, [99,[18,"a"]], []]`, `[1, [18,"a"], []]`,
		`[1, [10,[18,"a"],[17,0]], [1]]`, `[1, [11,[18,"a"]], []] 5`, `[1, [22,[18,"a"]], []]`, `[1, ` + deep + `, []]`, `[1, [0,[11,[18,"a"]],[17,5000000000]], []]`,
	} {
		var x Expressions
		if text, err := x.Condition(diag(t, in)); err == nil {
			t.Errorf("%s is %s", in, text)
		}
	}
	for _, in := range []string{`[1, [11,[18,"a"]], []]`, `[1, [[19,[18,"a"]]], []]`, `[1, [[22,[18,"a"],[17,0]]], [1]]`, `[1, [[0,[18,"a"],[17,0]]], [1]]`, `[1,[[]],[]]`} {
		var x Expressions
		if text, err := x.Update(diag(t, in)); err == nil {
			t.Errorf("%s is %s", in, text)
		}
	}
	for _, in := range []string{`[1]`, `[1, [[17,0]]]`, `[1, [[18]]]`, `[1, [18,"a"]]`, `[1, [[18,"a"]], []]`} {
		var x Expressions
		if text, _, err := x.Projection(diag(t, in)); err == nil {
			t.Errorf("%s is %s", in, text)
		}
	}
}

// TestSkimmer has bytes that never become a value, and values beyond the bounds.
func TestSkimmer(t *testing.T) {
	for _, in := range []string{"ff", "7f", "1c", "5bffffffffffffffff", "9bffffffffffffffff", strings.Repeat("81", MaxNesting+1), "81ff", "1f", "df", "5a04000001"} {
		var s Skimmer
		if whole, err := s.Value(unhex(t, in)); err == nil {
			t.Errorf("%s: %v", in, whole)
		}
	}
	for in, end := range map[string]int{"9fff00": 2, "bf0001ff00": 4, "8000": 1, "a000": 1, "c1c10000": 3, "81c48200010000": 5} {
		var s Skimmer
		if whole, err := s.Value(unhex(t, in)); err != nil || !whole || s.Pos() != end {
			t.Errorf("%s: %v at %d, %v", in, whole, s.Pos(), err)
		}
	}
}
