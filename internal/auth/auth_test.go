package auth

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/statordb/stator/internal/awserr"
)

var signedAt = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func load(t *testing.T, now time.Time) *Authenticator {
	t.Helper()
	file := filepath.Join(t.TempDir(), "credentials.json")
	if err := os.WriteFile(file, []byte(`[{"accessKeyId":"AKID","secretAccessKey":"secret","account":"123456789012"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := Load(file, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// of sets a request's header functions from a map.
func of(r *Request, headers map[string]string) *Request {
	r.Header = func(name string) string { return headers[name] }
	r.Headers = func(yield func(name, value string) bool) {
		for name, value := range headers {
			if !yield(name, value) {
				return
			}
		}
	}
	return r
}

// sign computes the Authorization header step by step, following "Create a signed AWS API request", independently of the package.
func sign(headers map[string]string, body, secret string) string {
	const signed = "host;x-amz-date;x-amz-target"
	hash := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	canonical := "POST\n/\n\nhost:" + headers["host"] + "\nx-amz-date:" + headers["x-amz-date"] + "\nx-amz-target:" + headers["x-amz-target"] + "\n\n" + signed + "\n" + hash(body)
	date := headers["x-amz-date"][:8]
	scope := date + "/eu-west-1/dynamodb/aws4_request"
	key := []byte("AWS4" + secret)
	for _, part := range []string{date, "eu-west-1", "dynamodb", "aws4_request"} {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, algorithm+"\n"+headers["x-amz-date"]+"\n"+scope+"\n"+hash(canonical)))
	return algorithm + " Credential=AKID/" + scope + ", SignedHeaders=" + signed + ", Signature=" + signature
}

func TestVerify(t *testing.T) {
	body := `{"TableName":"x"}`
	for _, c := range []struct {
		name   string
		now    time.Time
		change func(r *Request, headers map[string]string)
		want   awserr.Code
		text   string
	}{
		{"right", signedAt, nil, "", ""},
		{"14 minutes later", signedAt.Add(14 * time.Minute), nil, "", ""},
		{"expired", signedAt.Add(16 * time.Minute), nil, awserr.InvalidSignature,
			"Signature expired: 20260102T030405Z is now earlier than 20260102T030505Z (20260102T032005Z - 15 min.)"},
		{"not yet", signedAt.Add(-16 * time.Minute), nil, awserr.InvalidSignature,
			"Signature not yet current: 20260102T030405Z is still later than 20260102T030305Z (20260102T024805Z + 15 min.)"},
		{"other body", signedAt, func(r *Request, _ map[string]string) { r.Body = []byte("{}") }, awserr.InvalidSignature, "does not match"},
		{"other target", signedAt, func(_ *Request, h map[string]string) { h["x-amz-target"] = "DynamoDB_20120810.DeleteTable" }, awserr.InvalidSignature, "does not match"},
		{"unknown key", signedAt, func(_ *Request, h map[string]string) {
			h["authorization"] = strings.Replace(h["authorization"], "AKID", "NOBODY", 1)
		}, awserr.UnrecognizedClient, "The security token included in the request is invalid."},
		{"no header", signedAt, func(_ *Request, h map[string]string) { delete(h, "authorization") }, awserr.MissingAuthenticationToken, "Request is missing Authentication Token"},
	} {
		headers := map[string]string{"host": "localhost:8000", "x-amz-date": signedAt.Format(timeFormat), "x-amz-target": "DynamoDB_20120810.GetItem"}
		headers["authorization"] = sign(headers, body, "secret")
		r := of(&Request{Method: "POST", Path: "/", Body: []byte(body)}, headers)
		if c.change != nil {
			c.change(r, headers)
		}
		id, err := load(t, c.now).Authenticate(r)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "" && (id.Account != "123456789012" || id.Region != "eu-west-1"):
			t.Errorf("%s: %+v", c.name, id)
		case c.want != "" && (err == nil || err.Code != c.want || !strings.Contains(err.Message, c.text)):
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestPresigned has the signature in the query string.
func TestPresigned(t *testing.T) {
	body := `{}`
	query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260102%2Feu-west-1%2Fdynamodb%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
	hash := func(s string) string { sum := sha256.Sum256([]byte(s)); return hex.EncodeToString(sum[:]) }
	canonical := "POST\n/\n" + query + "\nhost:h\n\nhost\n" + hash(body)
	key := []byte("AWS4secret")
	for _, part := range []string{"20260102", "eu-west-1", "dynamodb", "aws4_request"} {
		key = mac(key, part)
	}
	signature := hex.EncodeToString(mac(key, algorithm+"\n20260102T030405Z\n20260102/eu-west-1/dynamodb/aws4_request\n"+hash(canonical)))
	for _, c := range []struct {
		query string
		now   time.Time
		want  awserr.Code
	}{
		{query + "&X-Amz-Signature=" + signature, signedAt.Add(50 * time.Second), ""},
		{query + "&X-Amz-Signature=" + signature, signedAt.Add(70 * time.Second), awserr.InvalidSignature},
		{query + "&X-Amz-Signature=00", signedAt, awserr.InvalidSignature},
		{query, signedAt, awserr.IncompleteSignature},
		{strings.Replace(query, "Expires=60", "Expires=9999999", 1) + "&X-Amz-Signature=" + signature, signedAt, awserr.IncompleteSignature},
	} {
		r := of(&Request{Method: "POST", Path: "/", Query: c.query, Body: []byte(body)}, map[string]string{"host": "h"})
		_, err := load(t, c.now).Authenticate(r)
		if (err == nil) != (c.want == "") || err != nil && err.Code != c.want {
			t.Errorf("%s at %v: %v", c.query, c.now, err)
		}
	}
}

// FuzzHeader: no header panics.
func FuzzHeader(f *testing.F) {
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host, Signature=00", "20260101T000000Z")
	f.Add("AWS4-HMAC-SHA256 Credential=////aws4_request,SignedHeaders=;,Signature=", "")
	f.Fuzz(func(t *testing.T, header, date string) {
		a := &Authenticator{Now: func() time.Time { return signedAt }}
		a.ring.Store(&keyring{credentials: map[string]*Credential{"a": {AccessKeyID: "a", SecretAccessKey: "s", Account: DefaultAccount}}})
		_, _ = a.Authenticate(of(&Request{Method: "POST", Path: header, Query: header}, map[string]string{"authorization": header, "x-amz-date": date}))
	})
}

// TestSDK verifies a signature that the SDK's signer has made.
func TestSDK(t *testing.T) {
	a := load(t, signedAt)
	body := []byte(`{"TableName":"x"}`)
	req := httptest.NewRequest("POST", "http://db.example:8000/", bytes.NewReader(body))
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListTables")
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	hash := sha256.Sum256(body)
	key := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}
	if err := v4.NewSigner().SignHTTP(context.Background(), key, req, hex.EncodeToString(hash[:]), "dynamodb", "eu-west-1", signedAt); err != nil {
		t.Fatal(err)
	}
	headers := map[string]string{"host": req.Host, "content-length": strconv.Itoa(len(body))}
	for name, values := range req.Header {
		headers[strings.ToLower(name)] = values[0]
	}
	request := func() *Request {
		return of(&Request{Method: "POST", Path: "/", Body: body}, headers)
	}
	id, err := a.Authenticate(request())
	if err != nil || id.Account != "123456789012" || id.Region != "eu-west-1" {
		t.Fatalf("%+v, %v", id, err)
	}
	body = []byte(`{"TableName":"y"}`)
	if _, err := a.Authenticate(request()); err == nil {
		t.Fatal("another body passes")
	}
}
