package protocol_test

import (
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/autoscaling"
	"github.com/statordb/stator/internal/cloudwatch"
	"github.com/statordb/stator/internal/cloudwatch/api"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/protocol"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

// handlers returns the operations of every service. The test decodes their inputs and never runs them.
func handlers() map[string][]smithy.Handler {
	return map[string][]smithy.Handler{
		"dynamodb": ops.New(ops.Options{}).Operations(), "cloudwatch": new(cloudwatch.Service).Operations(),
		"autoscaling": new(autoscaling.Service).Operations(), "dax": new(control.Service).Operations(),
	}
}

// body is a request that is expensive for its size.
type body struct {
	name       string
	head, tail string             // text around the repeated parts
	part       func(i int) string // repeated part i, including the separator behind it
}

func (b *body) of(size int) string {
	var s strings.Builder
	s.Grow(size + 4096)
	s.WriteString(b.head)
	for i := 0; s.Len() < size; i++ {
		s.WriteString(b.part(i))
	}
	return strings.TrimSuffix(s.String(), ",") + b.tail
}

func always(text string) func(int) string { return func(int) string { return text } }

// hostile generates the bodies for an operation's input.
type hostile struct {
	seen map[string]bool // types that have bodies already
	out  []body
}

func (h *hostile) add(name, head, tail string, part func(int) string) {
	h.out = append(h.out, body{name, head, tail, part})
}

var (
	valueType = reflect.TypeFor[attribute.Value]()
	itemType  = reflect.TypeFor[attribute.Item]()
	blobType  = reflect.TypeFor[[]byte]()
)

func isOpt(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && strings.HasPrefix(t.Name(), "Opt[")
}

func isMap(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && strings.HasPrefix(t.Name(), "Map[")
}

func entryValue(t reflect.Type) reflect.Type { f, _ := t.Elem().FieldByName("Value"); return f.Type }

// small returns the shortest values of a type, and one with everything that a value may contain.
func small(t reflect.Type, depth int) []string {
	switch {
	case t == valueType:
		return []string{`{}`, `null`, `{"S":""}`, `{"N":"1E125"}`, `{"N":"x"}`, `{"L":[]}`, `{"L":[{}]}`, `{"M":{}}`, `{"SS":["",""]}`, `{"NULL":true}`}
	case t == itemType || isMap(t):
		return []string{`{}`, `null`, `{"":{}}`}
	case t == blobType:
		return []string{`""`}
	case isOpt(t):
		return small(t.Field(0).Type, depth)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return small(t.Elem(), depth)
	case reflect.Struct:
		return []string{`{}`, `null`, full(t, depth)}
	case reflect.Slice:
		return []string{`[]`, `null`, `[` + small(t.Elem(), depth+1)[0] + `]`}
	case reflect.String:
		return []string{`""`, `"\u0000"`}
	case reflect.Bool:
		return []string{`true`}
	}
	return []string{`0`, `1e9`}
}

// full returns a structure with all its members, each as short as possible.
func full(t reflect.Type, depth int) string {
	if depth > 6 {
		return `{}`
	}
	var parts []string
	for i := range t.NumField() {
		values := small(t.Field(i).Type, depth+1)
		parts = append(parts, strconv.Quote(t.Field(i).Name)+":"+values[len(values)-1])
	}
	return `{` + strings.Join(parts, ",") + `}`
}

// structure adds bodies for everything inside a structure, which is between head and tail.
func (h *hostile) structure(t reflect.Type, name, head, tail string) {
	for i := range t.NumField() {
		f := t.Field(i)
		at := name + "." + f.Name
		key := f.Name + " " + f.Type.String()
		if h.seen[key] {
			continue
		}
		h.seen[key] = true
		for _, v := range small(f.Type, 0) {
			if isOpt(f.Type) && h.seen[v] {
				continue
			}
			h.seen[v] = true
			h.add(at+" again and again "+v, head+`{`, `}`+tail, always(strconv.Quote(f.Name)+`:`+v+`,`))
		}
		h.value(f.Type, at, head+`{`+strconv.Quote(f.Name)+`:`, `}`+tail)
	}
}

func (h *hostile) value(t reflect.Type, name, head, tail string) {
	switch {
	case t == itemType || t == valueType:
		// All of these types share a decoder.
		if h.seen[t.String()] {
			return
		}
		h.seen[t.String()] = true
		if t == valueType {
			head, tail = head+`{"M":`, `}`+tail
		}
		h.item(name, head, tail)
		return
	case t == blobType:
		h.add(name+" long", head+`"`, `"`+tail, always("AAAA"))
		return
	case isOpt(t):
		h.scalar(t.Field(0).Type, name, head, tail)
		return
	case isMap(t):
		v := entryValue(t)
		for _, s := range small(v, 0) {
			h.add(name+" keys of "+s, head+`{`, `}`+tail, func(i int) string { return `"` + strconv.Itoa(i) + `":` + s + `,` })
			h.add(name+" one key of "+s, head+`{`, `}`+tail, always(`"a":`+s+`,`))
		}
		h.value(v, name+"{}", head+`{"#a":`, `}`+tail)
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		h.structure(t.Elem(), name, head, tail)
	case reflect.Struct:
		h.structure(t, name, head, tail)
	case reflect.Slice:
		for _, s := range small(t.Elem(), 0) {
			h.add(name+" of "+s, head+`[`, `]`+tail, always(s+`,`))
		}
		h.nested(t, name, head, tail)
		h.value(t.Elem(), name+"[]", head+`[`, `]`+tail)
	default:
		h.scalar(t, name, head, tail)
	}
}

// nested adds lists of structures that contain lists.
func (h *hostile) nested(t reflect.Type, name, head, tail string) {
	e := t.Elem()
	if e.Kind() != reflect.Struct || isOpt(e) {
		return
	}
	for i := range e.NumField() {
		f := e.Field(i)
		if f.Type.Kind() != reflect.Slice || f.Type == itemType || f.Type == valueType || f.Type == blobType || isMap(f.Type) {
			continue
		}
		for _, n := range []int{1, 5, 30, 150, 1000} {
			inner := strings.Repeat(small(f.Type.Elem(), 0)[0]+",", n)
			h.add(fmt.Sprintf("%s of %s of %d", name, f.Name, n), head+`[`, `]`+tail, always(`{`+strconv.Quote(f.Name)+`:[`+inner[:len(inner)-1]+`]},`))
		}
	}
}

func (h *hostile) scalar(t reflect.Type, name, head, tail string) {
	switch t.Kind() {
	case reflect.String:
		h.add(name+" of controls", head+`"`, `"`+tail, always(`\u0000`))
		if h.seen["string"] {
			return
		}
		h.seen["string"] = true
		h.add(name+" long", head+`"`, `"`+tail, always("a"))
		h.add(name+" of escapes", head+`"`, `"`+tail, always(`\u0041`))
	case reflect.Bool:
	default:
		if h.seen["number"] {
			return
		}
		h.seen["number"] = true
		h.add(name+" of digits", head+`1`, tail, always("1"))
		h.add(name+" of zeros", head+`0.`, `1`+tail, always("0"))
	}
}

// item adds bodies for an item. Single attribute values are decoded as items too.
func (h *hostile) item(name, head, tail string) {
	for _, v := range small(valueType, 0) {
		h.add(name+" keys of "+v, head+`{`, `}`+tail, func(i int) string { return `"` + strconv.Itoa(i) + `":` + v + `,` })
		h.add(name+" keys backwards of "+v, head+`{`, `}`+tail, func(i int) string { return `"` + strconv.Itoa(1<<30-i) + `":` + v + `,` })
		h.add(name+" one key of "+v, head+`{`, `}`+tail, always(`"a":`+v+`,`))
		h.add(name+" list of "+v, head+`{"a":{"L":[`, `]}}`+tail, always(v+`,`))
		h.add(name+" map of "+v, head+`{"a":{"M":{`, `}}}`+tail, func(i int) string { return `"` + strconv.Itoa(i) + `":` + v + `,` })
	}
	for _, set := range []string{"SS", "NS", "BS"} {
		element := func(i int) string { return `"` + strconv.Itoa(i) + `",` }
		backwards := func(i int) string { return `"` + strconv.Itoa(1<<30-i) + `",` }
		if set == "BS" {
			element = func(i int) string { return fmt.Sprintf(`"%08d",`, i) }
			backwards = func(i int) string { return fmt.Sprintf(`"%08d",`, 1<<24-i) }
		}
		h.add(name+" set "+set, head+`{"a":{"`+set+`":[`, `]}}`+tail, element)
		h.add(name+" set backwards "+set, head+`{"a":{"`+set+`":[`, `]}}`+tail, backwards)
		h.add(name+" set of equals "+set, head+`{"a":{"`+set+`":[`, `]}}`+tail, always(`"1111",`))
		h.add(name+" set of nulls "+set, head+`{"a":{"`+set+`":[`, `]}}`+tail, always(`null,`))
		h.add(name+" sets "+set, head+`{"a":{"L":[`, `]}}`+tail, always(`{"`+set+`":["1111"]},`))
	}
	h.add(name+" numbers", head+`{"a":{"NS":[`, `]}}`+tail, func(i int) string { return fmt.Sprintf(`"%dE119",`, i%1000000) })
	h.add(name+" digits", head+`{"a":{"N":"1`, `"}}`+tail, always("1"))
	h.add(name+" zeros", head+`{"a":{"N":"1`, `"}}`+tail, always("0"))
	h.add(name+" no number", head+`{"a":{"N":"`, `"}}`+tail, always("x"))
	h.add(name+" types", head+`{"a":{`, `}}`+tail, always(`"S":"",`))
	h.add(name+" binary", head+`{"a":{"B":"`, `"}}`+tail, always("AAAA"))
	h.add(name+" deep", head+`{"a":`, ``, always(`{"L":[`))
	delete(h.seen, "string")
	h.scalar(reflect.TypeFor[string](), name, head+`{"a":{"S":`, `}}`+tail)
	h.scalar(reflect.TypeFor[string](), name+" key", head+`{`, `:{"S":""}}`+tail)
}

// unknown adds bodies with a member that the input lacks, which is skipped.
func (h *hostile) unknown() {
	for _, v := range []string{`{}`, `[]`, `null`, `""`, `0`, `"\u0041"`} {
		h.add("unknown list of "+v, `{"?":[`, `]}`, always(v+`,`))
		h.add("unknown map of "+v, `{"?":{`, `}}`, always(`"a":`+v+`,`))
		h.add("unknown members of "+v, `{`, `}`, always(`"?":`+v+`,`))
	}
	for _, v := range []string{`[`, `{"a":`, `[{"a":`} {
		h.add("unknown deep "+v, `{"?":`, ``, always(v))
	}
	h.add("unknown escapes", `{"?":"`, `"}`, always(`\u0041`))
	h.add("unknown names", `{`, `:1}`, always(`"\u0041":0,`))
	h.add("white space", `{`, `}`, always(" "))
}

// allocated returns how many bytes do allocates.
func allocated(do func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

const (
	// fixedBytes and bytesPerByte bound everything allocated for a request until it is checked, including garbage.
	fixedBytes   = wirejson.BaseMemory + 1<<20
	bytesPerByte = wirejson.MemoryPerByte + 4
)

// TestMemory decodes, for every member of every operation's input, bodies that need as much memory as possible.
func TestMemory(t *testing.T) {
	const size = 3 << 16
	worst, which, count := 0.0, "", 0
	for service, list := range handlers() {
		h := &hostile{seen: map[string]bool{}}
		for _, op := range list {
			in, bad := op.Decode(&smithy.Call{}, []byte(`{}`))
			if bad != nil {
				t.Fatal(op.Target, bad)
			}
			h.out = h.out[:0]
			h.structure(reflect.TypeOf(in).Elem(), op.Target, "", "")
			if op.Target == list[0].Target {
				h.unknown()
			}
			for _, b := range h.out {
				text := []byte(b.of(size))
				got := allocated(func() {
					in, bad := op.Decode(&smithy.Call{}, text)
					if bad != nil {
						bad.AppendJSON(nil)
						return
					}
					var c smithy.Checker
					in.(smithy.Shape).Check(&c)
					if err := c.Err(&smithy.Rules{}); err != nil {
						err.AppendJSON(nil)
					}
				})
				count++
				if got > fixedBytes+bytesPerByte*len(text) {
					t.Errorf("%s: %s: %d bytes allocate %d", service, b.name, len(text), got)
				}
				if k := float64(got) / float64(len(text)); k > worst {
					worst, which = k, b.name
				}
			}
		}
	}
	t.Logf("%d bodies; the most is %.1f bytes for each byte: %s", count, worst, which)
}

// TestProtocolMemory sends expensive CBOR and forms through their codecs and the decoders behind them.
func TestProtocolMemory(t *testing.T) {
	metrics := &protocol.Service{Name: "GraniteServiceVersion20100801", Version: "2010-08-01", Schema: &api.Schema}
	var put, get *smithy.Handler
	list := handlers()["cloudwatch"]
	for i := range list {
		switch {
		case strings.HasSuffix(list[i].Target, ".PutMetricData"):
			put = &list[i]
		case strings.HasSuffix(list[i].Target, ".GetMetricData"):
			get = &list[i]
		}
	}
	text := func(s string) string { return string([]byte{0x60 + byte(len(s))}) + s } // CBOR text of less than 24 bytes
	type attack struct {
		body
		codec protocol.Codec
		op    *smithy.Handler
		k     int // bytes allowed per byte
	}
	var attacks []attack
	cbor := func(name, head string, part func(int) string, k int) {
		attacks = append(attacks, attack{body{"CBOR " + name, head, "", part}, protocol.CBOR{Service: metrics, Operation: "PutMetricData"}, put, k})
	}
	form := func(op *smithy.Handler, name string, part func(int) string) {
		_, operation, _ := strings.Cut(op.Target, ".")
		attacks = append(attacks, attack{body{"form " + name, "Action=" + operation, "", part}, protocol.Query{Service: metrics, Operation: operation}, op, 16})
	}
	data := "\xbf" + text("MetricData") + "\x9f"
	for _, e := range []string{"\xa0", "\x80", "\xf6", "\x00", "\x60", "\xbf\xff", "\xf9\x00\x01", "\xc1\x00"} {
		cbor(fmt.Sprintf("list of %x", e), data, always(e), 24)
		cbor(fmt.Sprintf("unknown list of %x", e), "\xbf\x61?\x9f", always(e), 24)
	}
	cbor("data within data", "\xbf"+text("EntityMetricData")+"\x9f", always("\xbf"+text("MetricData")+"\x9f"+strings.Repeat("\xa0", 500)+"\xff\xff"), 72)
	cbor("values", data+"\xbf"+text("Values")+"\x9f", always("\x00"), 24)
	cbor("pieces of text", "\xbf"+text("Namespace")+"\x7f", always("\x61a"), 24)
	cbor("controls", "\xbf"+text("Namespace")+"\x7f", always("\x61\x00"), 24)
	cbor("equal keys", "\xbf", always(text("MetricData")+"\x80"), 24)
	cbor("keys", "\xbf", func(i int) string { return text(strconv.Itoa(i)) + "\x00" }, 24)
	cbor("depth", "", always("\x81"), 24)
	cbor("tags", "", always("\xc9"), 24)
	cbor("a list of 2^63", "\x9b\x7f\xff\xff\xff\xff\xff\xff\xff", always("\xa0"), 24)
	cbor("a map of 2^63", "\xbb\x7f\xff\xff\xff\xff\xff\xff\xff", always("\x61a\xa0"), 24)
	cbor("texts of 2^31", "\x9f", always("\x7a\x7f\xff\xff\xff"), 24)
	for _, op := range []*smithy.Handler{put, get} {
		form(op, "unknown", always("&a"))
		form(op, "unknown names", func(i int) string { return "&" + strconv.Itoa(i) + "=" })
		form(op, "escaped", always("&%4e=%4e"))
		form(op, "nothing", always("&"))
	}
	form(put, "one name", always("&Namespace="))
	form(put, "members", func(i int) string { return "&MetricData.member." + strconv.Itoa(i+1) + ".Unit=" })
	form(put, "members backwards", func(i int) string { return "&MetricData.member." + strconv.Itoa(1<<20-i) + ".Unit=" })
	form(put, "one member", always("&MetricData.member.1.Unit="))
	form(put, "indexes", func(i int) string { return "&MetricData.member.99999999" + strconv.Itoa(i) + "=" })
	form(put, "dots", always("&MetricData......"))
	form(put, "a deep name", func(i int) string {
		if i == 0 {
			return "&MetricData"
		}
		return ".member.1.Dimensions"
	})
	form(put, "a long value", func(i int) string {
		if i == 0 {
			return "&Namespace="
		}
		return "%00"
	})
	form(get, "queries", func(i int) string {
		return "&MetricDataQueries.member." + strconv.Itoa(i+1) + ".MetricStat.Metric.Dimensions.member.1.Name="
	})
	for _, a := range attacks {
		for _, size := range []int{1 << 17, 1 << 19} {
			text := []byte(a.of(size))
			if strings.HasPrefix(a.head, "\xbf") { // close everything that is open
				text = append(text, "\xff\xff\xff\xff"[:strings.Count(a.head, "\xbf")+strings.Count(a.head, "\x9f")+strings.Count(a.head, "\x7f")]...)
			}
			got := allocated(func() {
				protocol.Action(text)
				body, bad := a.codec.Request(text)
				if bad == nil {
					var in any
					if in, bad = a.op.Decode(&smithy.Call{}, body); bad == nil {
						var c smithy.Checker
						in.(smithy.Shape).Check(&c)
						bad = c.Err(&smithy.Rules{})
					}
				}
				if bad != nil {
					a.codec.Error(bad, "id")
				}
			})
			if got > fixedBytes+a.k*len(text) {
				t.Errorf("%s: %d bytes allocate %d", a.name, len(text), got)
			}
		}
	}
}
