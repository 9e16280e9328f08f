// Package protocol translates between JSON and the other protocols that clients speak: Smithy RPC v2 CBOR and AWS Query.
//
// Operations know only JSON. A request in another protocol is translated to JSON before it is decoded, and the rendered answer is
// translated back, guided by the API's schema. That costs time, so APIs that are called thousands of times a second have only JSON and
// don't come here. Requests are untrusted: their translation is linear in time and memory (transcode.go, form.go).
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

// Service describes an API other than DynamoDB's.
type Service struct {
	// Name is the prefix of its targets, and its name in the paths of RPC v2.
	Name string
	// SigningName is the service in clients' credential scopes, e.g. monitoring.
	SigningName string
	// ContentType is the content type of its JSON answers.
	ContentType string
	// Namespace precedes the names of its errors, including the separator.
	Namespace string
	// Version and XMLNamespace are used by AWS Query. An API without a Version doesn't speak it.
	Version, XMLNamespace string
	// Schema is nil for an API that speaks only JSON.
	Schema *smithy.Schema
	// Errors are the errors that differ from a 400 of the same name.
	Errors map[awserr.Code]ErrorInfo
}

// ErrorInfo is how an API presents one of its errors.
type ErrorInfo struct {
	QueryCode string // its code in AWS Query, which older clients expect
	Status    int    // HTTP status; 0 for the error's own
}

// info returns how the API presents an error.
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

// fault says whose mistake the error is, in AWS Query's terms.
func (i ErrorInfo) fault() string {
	if i.Status >= 500 {
		return "Receiver"
	}
	return "Sender"
}

// Answer is an HTTP answer.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
	Header      [][2]string
}

// Codec translates one request and its answer.
type Codec interface {
	// Request translates a body to JSON. Its error is a SerializationException.
	Request(body []byte) ([]byte, *awserr.Error)
	// Answer translates an answer from JSON.
	Answer(body []byte, requestID string) (Answer, error)
	// Error renders an error.
	Error(e *awserr.Error, requestID string) Answer
}

// JSON is the protocol that needs no translation.
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

// serialization is the error for a malformed body.
func serialization() *awserr.Error { return awserr.New(awserr.Serialization, "") }

// parse decodes JSON that this program has written.
func parse(body []byte) (any, error) {
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}

// escape escapes a text for XML.
func escape(s string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		panic(err) // a Builder never fails
	}
	return b.String()
}
