package mutate

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	metrics "github.com/statordb/stator/internal/cloudwatch/api"
)

// request is a request of a run.
type request struct {
	target   string
	body     obj
	protocol string // query or cbor; "" for JSON
}

// String returns the request in the form of reports.
func (r request) String() string {
	return strings.TrimSpace(r.target+" "+r.protocol) + " " + render(r.body)
}

// http returns the request in the form in which it is sent.
func (r request) http(endpoint string) (*http.Request, error) {
	service, operation, _ := strings.Cut(r.target, ".")
	path, body := "/", []byte(render(r.body))
	header := http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {r.target}}
	switch r.protocol {
	case "query":
		form := url.Values{"Action": {operation}, "Version": {"2010-08-01"}}
		asForm(form, "", metrics.Schema.Inputs[operation], r.body)
		body = []byte(form.Encode())
		header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	case "cbor":
		var err error
		if body, err = cbor.Marshal(asCBOR(metrics.Schema.Inputs[operation], r.body)); err != nil {
			return nil, err
		}
		path = "/service/" + service + "/operation/" + operation
		header = http.Header{"Content-Type": {"application/cbor"}, "Smithy-Protocol": {"rpc-v2-cbor"}}
	}
	req, err := http.NewRequest("POST", endpoint+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/"+signedFor(service)+"/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=00")
	return req, nil
}

func signedFor(service string) string {
	switch service {
	case "GraniteServiceVersion20100801":
		return "monitoring"
	case "AnyScaleFrontendService":
		return "application-autoscaling"
	case "AmazonDAXV3":
		return "dax"
	}
	return "dynamodb"
}

// asForm adds a value to a form, with AWS Query's names.
func asForm(form url.Values, name, shape string, v any) {
	info := metrics.Schema.Shapes[shape]
	below := name
	if name != "" {
		below += "."
	}
	switch v := v.(type) {
	case map[string]any:
		i := 0
		for _, member := range sorted(v) {
			if info.Kind == "map" {
				i++
				form.Set(fmt.Sprintf("%sentry.%d.key", below, i), member)
				asForm(form, fmt.Sprintf("%sentry.%d.value", below, i), info.Value, v[member])
			} else {
				asForm(form, below+member, info.Members[member], v[member])
			}
		}
	case []any:
		if len(v) == 0 {
			form.Set(name, "")
		}
		for i, e := range v {
			asForm(form, fmt.Sprintf("%smember.%d", below, i+1), info.Member, e)
		}
	case nil:
	default:
		text := fmt.Sprint(v)
		if n, ok := number(v); ok {
			text = fmt.Sprint(v)
			if info.Kind == "timestamp" && n > -1e10 && n < 1e11 {
				text = time.UnixMilli(int64(n * 1000)).UTC().Format(time.RFC3339Nano)
			}
		}
		form.Set(name, text)
	}
}

// number returns a JSON number that may occur in a request.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// asCBOR converts a value to the types that its shape has in CBOR.
func asCBOR(shape string, v any) any {
	info := metrics.Schema.Shapes[shape]
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for name, e := range v {
			member := info.Members[name]
			if info.Kind == "map" {
				member = info.Value
			}
			out[name] = asCBOR(member, e)
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, asCBOR(info.Member, e))
		}
		return out
	}
	if n, ok := number(v); ok {
		if info.Kind == "timestamp" {
			return cbor.Tag{Number: 1, Content: n}
		}
		if info.Kind != "double" && n == float64(int64(n)) && n < 1e18 && n > -1e18 {
			return int64(n)
		}
		return n
	}
	return v
}

// decode returns an answer's members. Every answer must decode in the protocol of its request.
func (r request) decode(body []byte) (obj, error) {
	switch r.protocol {
	case "query":
		dec := xml.NewDecoder(bytes.NewReader(body))
		for {
			if _, err := dec.Token(); errors.Is(err, io.EOF) {
				return nil, nil
			} else if err != nil {
				return nil, err
			}
		}
	case "cbor":
		var out map[string]any
		return nil, cbor.Unmarshal(body, &out)
	}
	if len(body) == 0 {
		return obj{}, nil // operations without an output answer this
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var out obj
	err := dec.Decode(&out)
	if err == nil && dec.More() {
		err = errors.New("more than one value")
	}
	return out, err
}

// conforms returns how an answer differs from its shape.
func conforms(s *shape, v any, path string) error {
	ok := true
	switch s.kind {
	case "structure", "map", "item", "value":
		m, is := v.(obj)
		if !is {
			return fmt.Errorf("%s is %v", path, v)
		}
		for name, e := range m {
			member := s.element
			switch s.kind {
			case "structure":
				if member = s.member(name); member == nil {
					return fmt.Errorf("%s has the unknown member %s", path, name)
				}
			case "item", "value":
				continue
			}
			if err := conforms(member, e, path+"."+name); err != nil {
				return err
			}
		}
		if s.kind == "value" && len(m) != 1 {
			return fmt.Errorf("%s is the attribute value %v", path, v)
		}
	case "list":
		list, is := v.([]any)
		if !is {
			return fmt.Errorf("%s is %v", path, v)
		}
		for i, e := range list {
			if err := conforms(s.element, e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case "string":
		_, ok = v.(string)
	case "bool":
		_, ok = v.(bool)
	case "int", "float":
		_, ok = v.(json.Number)
	}
	if !ok {
		return fmt.Errorf("%s is %v, want a %s", path, v, s.kind)
	}
	return nil
}
