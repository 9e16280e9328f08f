package awserr

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// TestAnswer checks namespace, member of the message, further members and status of each kind of error, as AWS's answers have them.
func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		err    *Error
		status int
		body   string
	}{
		{NotFound(), 400, `{"__type":"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException","message":"Requested resource not found"}`},
		{ValidationError(`a "quoted" value`), 400, `{"__type":"com.amazon.coral.validate#ValidationException","message":"a \"quoted\" value"}`},
		{New(Serialization, ""), 400, `{"__type":"com.amazon.coral.service#SerializationException"}`},
		{New(Serialization, "text"), 400, `{"__type":"com.amazon.coral.service#SerializationException","Message":"text"}`},
		{New(AccessDenied, "text"), 400, `{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"text"}`},
		{New(RequestEntityTooLarge, "text"), 413, `{"__type":"com.amazon.coral.service#RequestEntityTooLargeException","message":"text"}`},
		{New(ServiceUnavailable, "text"), 503, `{"__type":"com.amazonaws.dynamodb.v20120810#ServiceUnavailable","message":"text"}`},
		{ConditionFailed([]byte(`{"pk":{"S":"k"}}`)), 400, `{"__type":"com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException","Message":"The conditional request failed","Item":{"pk":{"S":"k"}}}`},
		{Canceled([]Reason{{Code: "None"}, {Code: "ConditionalCheckFailed", Message: "The conditional request failed", Item: []byte(`{"pk":{"S":"k"}}`)}}), 400,
			`{"__type":"com.amazonaws.dynamodb.v20120810#TransactionCanceledException","Message":"Transaction cancelled, please refer cancellation reasons for specific reasons [None, ConditionalCheckFailed]",` +
				`"CancellationReasons":[{"Code":"None"},{"Code":"ConditionalCheckFailed","Item":{"pk":{"S":"k"}},"Message":"The conditional request failed"}]}`},
	} {
		if got := string(c.err.AppendJSON(nil)); got != c.body || !json.Valid([]byte(got)) {
			t.Errorf("got\n%s, want\n%s", got, c.body)
		}
		if got := c.err.Status(); got != c.status {
			t.Errorf("%s has status %d, want %d", c.err.Code, got, c.status)
		}
	}
	if got := string(NotFound().AppendJSONOf("com.amazonaws.other#", nil)); !strings.HasPrefix(got, `{"__type":"com.amazonaws.other#ResourceNotFoundException"`) {
		t.Errorf("another API's answer is %s", got)
	}
}

// TestInternal: the cause is for the log, and never sent.
func TestInternal(t *testing.T) {
	cause := errors.New("secret")
	e := Internal(cause)
	if got := string(e.AppendJSON(nil)); strings.Contains(got, "secret") || strings.Contains(e.Error(), "secret") {
		t.Errorf("the client sees %s, %v", got, e)
	}
	if e.Status() != 500 || !errors.Is(e, cause) {
		t.Errorf("status %d, cause %v", e.Status(), e.Unwrap())
	}
	p := Panicked("boom")
	if text := p.Unwrap().Error(); !strings.Contains(text, "boom") || !strings.Contains(text, "TestInternal") {
		t.Errorf("the cause of a panic has no stack: %s", text)
	}
}

// TestThrottled: SDKs retry these with a longer pause.
func TestThrottled(t *testing.T) {
	reasons := []byte(`[]`)
	for _, e := range []*Error{ThroughputExceeded(false, reasons), ThroughputExceeded(true, reasons), Throttled(false, false, reasons), AccountThrottled(reasons)} {
		if !e.Throttled() || !json.Valid(e.AppendJSON(nil)) {
			t.Errorf("%s: throttled %v, %s", e.Code, e.Throttled(), e.AppendJSON(nil))
		}
	}
	if NotFound().Throttled() {
		t.Error("a missing table is no throttling")
	}
}
