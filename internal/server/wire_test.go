package server

import (
	"testing"
)

// TestEmptyAnswers checks that operations without an output answer with an empty body, as ScyllaDB's tests recorded of AWS
// (test/alternator/test_manual_requests.py, test_tags_return_empty_body).
func TestEmptyAnswers(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", streamedTable("tagged", "KEYS_ONLY"))
	const arn = `"arn:aws:dynamodb:us-east-1:000000000000:table/tagged"`
	for operation, body := range map[string]string{
		"TagResource":   `{"ResourceArn":` + arn + `,"Tags":[{"Key":"k","Value":"v"}]}`,
		"UntagResource": `{"ResourceArn":` + arn + `,"TagKeys":["k"]}`,
	} {
		if status, answer, err := d.send(operation, []byte(body), nil); err != nil || status != 200 || len(answer) > 0 {
			t.Errorf("%s: %d %q, %v", operation, status, answer, err)
		}
	}
}
