package httpd

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
)

// TestElsewhere: requests for services that the endpoint lacks get an error that their SDKs can read. Requests that no other service's
// signature marks are answered as ever.
func TestElsewhere(t *testing.T) {
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	for _, c := range []struct {
		name, method, path, service, kind, target string
		status                                    int
		code                                      string // "" for a request that is not for elsewhere
	}{
		{"S3 reads an object", "GET", "/bucket/key", "s3", "", "", 501, "NotImplemented"},
		{"S3 lists buckets", "GET", "/", "s3", "", "", 501, "NotImplemented"},
		{"S3 looks for a bucket", "HEAD", "/bucket", "s3", "", "", 501, "NotImplemented"},
		{"S3 writes an object", "PUT", "/bucket/key", "s3", "text/plain", "", 501, "NotImplemented"},
		{"S3 deletes an object", "DELETE", "/bucket/key", "s3", "", "", 501, "NotImplemented"},
		{"S3 begins an upload", "POST", "/bucket/key?uploads", "s3", "", "", 501, "NotImplemented"},
		{"S3 reads a bucket with the name of a path here", "GET", "/healthz", "s3", "", "", 501, "NotImplemented"},
		{"SNS", "POST", "/", "sns", form, "", 400, "InvalidAction"},
		{"EC2", "POST", "/", "ec2", form, "", 400, "InvalidAction"},
		{"Route 53", "POST", "/2013-04-01/hostedzone", "route53", "application/xml", "", 400, "InvalidAction"},
		{"SQS", "POST", "/", "sqs", "application/x-amz-json-1.0", "AmazonSQS.SendMessage", 400, "UnknownOperationException"},
		{"Kinesis", "POST", "/", "kinesis", "application/x-amz-json-1.1", "Kinesis_20131202.PutRecord", 400, "UnknownOperationException"},
		{"Lambda", "POST", "/2015-03-31/functions/f/invocations", "lambda", "application/json", "", 400, "UnknownOperationException"},
		{"DynamoDB", "POST", "/", "dynamodb", "application/x-amz-json-1.0", "DynamoDB_20120810.Echo", 200, ""},
		{"DynamoDB, signed for another", "POST", "/", "execute-api", "application/x-amz-json-1.0", "DynamoDB_20120810.Echo", 200, ""},
		{"a health check", "GET", "/healthz", "", "", "", 200, ""},
		{"a malformed scope", "GET", "/healthz", "no service", "", "", 200, ""},
	} {
		signed := "AWS4-HMAC-SHA256 Credential=AKID/with/slashes/20260101/us-east-1/" + c.service + "/aws4_request, SignedHeaders=host, Signature=00"
		if c.service == "" {
			signed = ""
		}
		r := requestTo(t, c.method, c.path, []byte("{}"), map[string]string{"Authorization": signed, "Content-Type": c.kind, "X-Amz-Target": c.target})
		body := r.Body()
		if r.StatusCode() != c.status || c.code != "" && len(header(r, "x-amzn-RequestId")) != 52 {
			t.Errorf("%s: %d %s", c.name, r.StatusCode(), body)
		}
		if c.code == "" {
			continue
		}
		code, message := codeOf(t, c.service, body)
		if code != c.code || !strings.Contains(message, "serves dynamodb.") || !strings.Contains(message, "does not serve "+c.service+":") {
			t.Errorf("%s: %s: %s", c.name, code, message)
		}
	}
	presigned := "/bucket/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
	if r := requestTo(t, "GET", presigned, nil, map[string]string{"Authorization": ""}); r.StatusCode() != 501 {
		t.Errorf("presigned: %d %s", r.StatusCode(), r.Body())
	}
}

// codeOf reads an error as the service's SDK does.
func codeOf(t *testing.T, service string, body []byte) (code, message string) {
	t.Helper()
	type failure struct{ Code, Message string }
	var (
		s3    struct{ failure }
		query struct{ Error failure }
		ec2   struct{ Errors struct{ Error failure } }
		rest  struct {
			Type    string `json:"__type"`
			Message string
		}
	)
	var err error
	switch {
	case service == "s3":
		err = xml.Unmarshal(body, &s3)
		code, message = s3.Code, s3.Message
	case service == "ec2":
		err = xml.Unmarshal(body, &ec2)
		code, message = ec2.Errors.Error.Code, ec2.Errors.Error.Message
	case body[0] == '<':
		err = xml.Unmarshal(body, &query)
		code, message = query.Error.Code, query.Error.Message
	default:
		err = json.Unmarshal(body, &rest)
		code, message = rest.Type, rest.Message
	}
	if err != nil {
		t.Errorf("%s: %v: %s", service, err, body)
	}
	return code, message
}
