package protocol

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"github.com/statordb/stator/internal/awserr"
)

// CBOR is the protocol smithy-rpc-v2-cbor.
type CBOR struct {
	Service   *Service
	Operation string
}

const contentTypeCBOR = "application/cbor"

// timeTag is the CBOR tag of seconds since 1970.
const timeTag = 1

var cborEncoder = must(cbor.EncOptions{}.EncMode())

// must panics on an error.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options are constants
	}
	return v
}

// Request implements Codec.
func (p CBOR) Request(body []byte) ([]byte, *awserr.Error) {
	if len(body) == 0 {
		return []byte("{}"), nil
	}
	t := transcoder{in: body}
	if !t.value(0) || len(t.in) > 0 {
		return nil, serialization()
	}
	return t.out, nil
}

// Answer implements Codec.
func (p CBOR) Answer(body []byte, _ string) (Answer, error) {
	v, err := parse(body)
	if err != nil {
		return Answer{}, err
	}
	if v, err = p.encode(p.Service.Schema.Outputs[p.Operation], v); err != nil {
		return Answer{}, err
	}
	out, err := cborEncoder.Marshal(v)
	return p.answer(200, out), err
}

// answer returns an answer with the header that identifies the protocol.
func (p CBOR) answer(status int, body []byte) Answer {
	return Answer{Status: status, ContentType: contentTypeCBOR, Body: body, Header: [][2]string{{"smithy-protocol", "rpc-v2-cbor"}}}
}

// encode converts a value decoded from JSON to the types that its shape has in CBOR. It reuses v.
func (p CBOR) encode(shape string, v any) (any, error) {
	info := p.Service.Schema.Shapes[shape]
	switch v := v.(type) {
	case map[string]any:
		for name, val := range v {
			member := info.Members[name]
			if info.Kind == "map" {
				member = info.Value
			}
			var err error
			if v[name], err = p.encode(member, val); err != nil {
				return nil, err
			}
		}
	case []any:
		for i := range v {
			var err error
			if v[i], err = p.encode(info.Member, v[i]); err != nil {
				return nil, err
			}
		}
	case json.Number:
		return number(info.Kind, v)
	case string:
		if info.Kind == "blob" {
			return base64.StdEncoding.DecodeString(v)
		}
	}
	return v, nil
}

// number converts a JSON number to the type of a shape's kind.
func number(kind string, n json.Number) (any, error) {
	switch kind {
	case "integer", "long":
		return n.Int64()
	case "double", "float":
		return n.Float64()
	case "timestamp":
		f, err := n.Float64()
		return cbor.Tag{Number: timeTag, Content: f}, err
	}
	return nil, fmt.Errorf("protocol: a number where the schema has a %s", kind)
}

// Error implements Codec.
func (p CBOR) Error(e *awserr.Error, _ string) Answer {
	info := p.Service.info(e)
	body, err := cborEncoder.Marshal(map[string]string{"__type": p.Service.Namespace + string(e.Code), "message": e.Message})
	if err != nil {
		panic(err) // strings can be encoded
	}
	out := p.answer(info.Status, body)
	out.Header = append(out.Header, [2]string{"x-amzn-query-error", info.QueryCode + ";" + info.fault()})
	return out
}
