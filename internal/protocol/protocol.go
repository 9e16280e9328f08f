// Package protocol translates between JSON and the other protocols that clients speak: Smithy RPC v2 CBOR and AWS Query.
//
// Operations know JSON alone. What another protocol sends is turned into JSON before it is decoded, and the answer from JSON
// after it was rendered, guided by the API's schema. The APIs that DynamoDB's users call a thousand times a second have JSON
// only, and do not come here.
//
// Sources: "Smithy RPC v2 CBOR protocol", "AWS Query protocol", "AWS Query compatible trait".
package protocol

import (
	"encoding/json"
	"encoding/xml"
	"strings"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

// Service is an API beside DynamoDB's.
type Service struct {
	// Name is the prefix of its targets, and its name in paths of RPC v2.
	Name string
	// SigningName is what clients sign requests for, e.g. monitoring.
	SigningName string
	// ContentType is that of its JSON.
	ContentType string
	// Namespace is that of its shapes in errors, with what separates it from their names.
	Namespace string
	// Version and XMLNamespace are those of AWS Query.
	Version, XMLNamespace string
	// Schema is nil for an API that speaks JSON alone.
	Schema *smithy.Schema
	// Errors are those that are not a 400 of the same name.
	Errors map[awserr.Code]ErrorInfo
}

// ErrorInfo is what an API says of one of its errors.
type ErrorInfo struct {
	QueryCode string // its code in AWS Query, which older clients know
	Status    int    // of HTTP
}

// info returns what is said of an error.
func (s *Service) info(e *awserr.Error) ErrorInfo {
	out := s.Errors[e.Code]
	if out.QueryCode == "" {
		out.QueryCode = string(e.Code)
	}
	if out.Status == 0 {
		out.Status = e.Status()
	}
	return out
}

func (i ErrorInfo) fault() string {
	if i.Status >= 500 {
		return "Receiver"
	}
	return "Sender"
}

// Answer is what is sent to a client.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
	Header      [][2]string
}

// Codec translates one request and its answer.
type Codec interface {
	// Request returns the body as JSON. Its error is a SerializationException.
	Request(body []byte) ([]byte, *awserr.Error)
	// Answer translates an answer in JSON.
	Answer(body []byte, requestID string) (Answer, error)
	// Error renders an error.
	Error(e *awserr.Error, requestID string) Answer
}

// JSON is the protocol in which nothing is translated.
type JSON struct{ Service *Service }

// Request implements Codec.
func (JSON) Request(body []byte) ([]byte, *awserr.Error) { return body, nil }

// Answer implements Codec.
func (p JSON) Answer(body []byte, _ string) (Answer, error) {
	return Answer{Status: 200, ContentType: p.Service.ContentType, Body: body}, nil
}

// Error implements Codec.
func (p JSON) Error(e *awserr.Error, _ string) Answer {
	info := p.Service.info(e)
	return Answer{
		Status: info.Status, ContentType: p.Service.ContentType, Body: e.AppendJSONOf(p.Service.Namespace, nil),
		Header: [][2]string{{"x-amzn-query-error", info.QueryCode + ";" + info.fault()}},
	}
}

// serialization is the error for a body that is none of the protocol.
func serialization() *awserr.Error { return awserr.New(awserr.Serialization, "") }

// parse reads JSON that this program has written, or made of a request.
func parse(body []byte) (any, error) {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

func escape(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic(err) // a Builder never fails
	}
	return b.String()
}
