package protocol

import (
	"encoding/json"
	"math"
	"net/url"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/wirejson"
)

// Query is the protocol AWS Query: forms in, XML out.
type Query struct {
	Service   *Service
	Operation string
}

const contentTypeXML = "text/xml"

// Action returns the operation that a form names, and its API version.
func Action(body []byte) (action, version string) {
	for pair := range strings.SplitSeq(wirejson.View(body), "&") {
		name, value, _ := strings.Cut(pair, "=")
		var into *string
		switch name {
		case "Action":
			into = &action
		case "Version":
			into = &version
		default:
			continue
		}
		if text, err := url.QueryUnescape(value); err == nil && *into == "" {
			*into = strings.Clone(text)
		}
	}
	return action, version
}

// Request implements Codec.
func (p Query) Request(body []byte) ([]byte, *awserr.Error) {
	input := p.Service.Schema.Inputs[p.Operation]
	f := form{shapes: p.Service.Schema.Shapes}
	if !f.parse(wirejson.View(body), f.shapes[input].Members) {
		return nil, serialization()
	}
	f.out = make([]byte, 0, len(body)+2)
	if _, bad := f.structure(f.fields, 0, input, 0); bad != nil {
		return nil, bad
	}
	return f.out, nil
}

// maxDepth bounds the nesting of recursive shapes.
const maxDepth = 32

// malformed is the error for a value of the wrong type.
func malformed(name, value string) *awserr.Error {
	return awserr.New("MalformedInput", "Invalid value '"+value+"' for "+name)
}

// appendText appends a client's text as a JSON string. Invalid UTF-8 becomes the Unicode replacement character.
func appendText(dst []byte, text string) []byte {
	return wirejson.AppendString(dst, strings.ToValidUTF8(text, "\uFFFD"))
}

// scalar appends the JSON value of a text. On an error it returns dst unchanged.
func scalar(dst []byte, kind, name, text string) ([]byte, *awserr.Error) {
	switch kind {
	case "boolean":
		switch strings.ToLower(text) {
		case "true", "false":
			return append(dst, strings.ToLower(text)...), nil
		}
	case "integer", "long":
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return strconv.AppendInt(dst, n, 10), nil
		}
	case "double", "float":
		if n, err := strconv.ParseFloat(text, 64); err == nil {
			if math.IsNaN(n) || math.IsInf(n, 0) {
				return dst, serialization() // JSON has no such number
			}
			return strconv.AppendFloat(dst, n, 'g', -1, 64), nil
		}
	case "timestamp":
		for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02T15:04Z07:00", "2006-01-02"} {
			if t, err := time.Parse(layout, text); err == nil {
				return strconv.AppendFloat(dst, float64(t.UnixMilli())/1000, 'f', -1, 64), nil
			}
		}
	default: // string and blob
		return appendText(dst, text), nil
	}
	return dst, malformed(name, text)
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

// write appends a value of a shape as an XML element. Members and keys are sorted by name, which makes answers reproducible.
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
