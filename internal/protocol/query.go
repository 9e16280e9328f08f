package protocol

import (
	"encoding/json"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

// Query is the protocol AWS Query: a form in, XML out.
type Query struct {
	Service   *Service
	Operation string
}

const contentTypeXML = "text/xml"

// Action returns the operation that a form names, and its version.
func Action(body []byte) (action, version string) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", ""
	}
	return form.Get("Action"), form.Get("Version")
}

// form has the values of a request, and their names sorted.
type form struct {
	values url.Values
	names  []string
}

// has reports whether there is anything below a name.
func (f *form) has(prefix string) bool {
	i := sort.SearchStrings(f.names, prefix)
	return i < len(f.names) && strings.HasPrefix(f.names[i], prefix)
}

// Request implements Codec.
func (p Query) Request(body []byte) ([]byte, *awserr.Error) {
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, serialization()
	}
	f := &form{values: values}
	for name := range values {
		f.names = append(f.names, name)
	}
	sort.Strings(f.names)
	v, bad := p.read(f, "", p.Service.Schema.Inputs[p.Operation], 0)
	if bad != nil {
		return nil, bad
	}
	if v == nil {
		v = map[string]any{}
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil, serialization()
	}
	return out, nil
}

// maxDepth bounds how deep shapes that contain themselves are read.
const maxDepth = 32

// malformed is for a value that is not of its type.
func malformed(name, value string) *awserr.Error {
	return awserr.New("MalformedInput", "Invalid value '"+value+"' for "+name)
}

// read returns the value of a shape whose name in the form is prefix; nil if it is not there.
func (p Query) read(f *form, prefix, shape string, depth int) (any, *awserr.Error) {
	if depth > maxDepth {
		return nil, serialization()
	}
	info := p.Service.Schema.Shapes[shape]
	below := prefix
	if prefix != "" {
		below += "."
	}
	switch info.Kind {
	case "structure":
		if prefix != "" && !f.has(below) {
			return nil, nil
		}
		out := map[string]any{}
		for name, member := range info.Members {
			v, err := p.read(f, below+name, member, depth+1)
			if err != nil {
				return nil, err
			}
			if v != nil {
				out[name] = v
			}
		}
		return out, nil
	case "list":
		if _, empty := f.values[prefix]; empty {
			return []any{}, nil
		}
		var out []any
		for i := 1; ; i++ {
			at := below + "member." + strconv.Itoa(i)
			v, err := p.read(f, at, info.Member, depth+1)
			if err != nil {
				return nil, err
			}
			if v == nil {
				break
			}
			out = append(out, v)
		}
		if out == nil {
			return nil, nil
		}
		return out, nil
	case "map":
		var out map[string]any
		for i := 1; ; i++ {
			at := below + "entry." + strconv.Itoa(i)
			key, ok := f.values[at+".key"]
			if !ok {
				break
			}
			v, err := p.read(f, at+".value", info.Value, depth+1)
			if err != nil {
				return nil, err
			}
			if out == nil {
				out = map[string]any{}
			}
			out[key[0]] = v
		}
		if out == nil {
			return nil, nil
		}
		return out, nil
	}
	given, ok := f.values[prefix]
	if !ok {
		return nil, nil
	}
	return scalar(info.Kind, prefix, given[0])
}

func scalar(kind, name, text string) (any, *awserr.Error) {
	switch kind {
	case "boolean":
		switch strings.ToLower(text) {
		case "true":
			return true, nil
		case "false":
			return false, nil
		}
	case "integer", "long":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	case "double", "float":
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			return n, nil
		}
	case "timestamp":
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02"} {
			if t, err := time.Parse(layout, text); err == nil {
				return float64(t.UnixMilli()) / 1000, nil
			}
		}
	default: // string and blob
		return text, nil
	}
	return nil, malformed(name, text)
}

// Answer implements Codec.
func (p Query) Answer(body []byte, requestID string) (Answer, error) {
	v, err := parse(body)
	if err != nil {
		return Answer{}, err
	}
	var b strings.Builder
	b.WriteString("<" + p.Operation + `Response xmlns="` + p.Service.XMLNamespace + `">`)
	if shape, ok := p.Service.Schema.Outputs[p.Operation]; ok {
		p.write(&b, p.Operation+"Result", shape, v)
	}
	b.WriteString("<ResponseMetadata><RequestId>" + requestID + "</RequestId></ResponseMetadata></" + p.Operation + "Response>")
	return Answer{Status: 200, ContentType: contentTypeXML, Body: []byte(b.String())}, nil
}

func (p Query) write(b *strings.Builder, name, shape string, v any) {
	info := p.Service.Schema.Shapes[shape]
	b.WriteString("<" + name + ">")
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for n := range v {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			if info.Kind == "map" {
				b.WriteString("<entry><key>" + escape(n) + "</key>")
				p.write(b, "value", info.Value, v[n])
				b.WriteString("</entry>")
			} else {
				p.write(b, n, info.Members[n], v[n])
			}
		}
	case []any:
		for _, e := range v {
			p.write(b, "member", info.Member, e)
		}
	case json.Number:
		if f, err := v.Float64(); info.Kind == "timestamp" && err == nil {
			b.WriteString(time.UnixMilli(int64(f * 1000)).UTC().Format("2006-01-02T15:04:05.999Z"))
		} else {
			b.WriteString(v.String())
		}
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case string:
		b.WriteString(escape(v))
	}
	b.WriteString("</" + name + ">")
}

// Error implements Codec.
func (p Query) Error(e *awserr.Error, requestID string) Answer {
	info := p.Service.info(e)
	code := info.QueryCode
	if e.Code == awserr.UnknownOperation {
		code = "InvalidAction"
	}
	body := `<ErrorResponse xmlns="` + p.Service.XMLNamespace + `"><Error><Type>` + info.fault() + "</Type><Code>" + escape(code) +
		"</Code><Message>" + escape(e.Message) + "</Message></Error><RequestId>" + requestID + "</RequestId></ErrorResponse>"
	return Answer{Status: info.Status, ContentType: contentTypeXML, Body: []byte(body)}
}
