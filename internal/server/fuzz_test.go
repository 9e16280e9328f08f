package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// FuzzRequest sends bodies mutated from those of the conformance cases. The answer is success or a client error, never a panic.
func FuzzRequest(f *testing.F) {
	files, err := filepath.Glob("../../test/conformance/testdata/*.txt")
	if err != nil || len(files) == 0 {
		f.Fatalf("no conformance cases: %v", err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		lines := strings.Split(string(raw), "\n")
		for i, line := range lines {
			if strings.HasPrefix(line, "{") && i > 0 && len(line) < 2000 {
				f.Add(lines[i-1], line)
			}
		}
	}
	s, err := Open(Options{InMemory: true, Listen: "127.0.0.1:0"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Fuzz(func(t *testing.T, operation, body string) {
		var c fasthttp.RequestCtx
		h := &c.Request.Header
		h.SetMethod("POST")
		h.Set("X-Amz-Date", "20260101T000000Z")
		h.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00")
		h.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
		c.Request.SetBodyString(body)
		s.http.Handle(&c)
		if c.Response.StatusCode() >= 500 {
			t.Fatalf("%s %s: %s", operation, body, c.Response.Body())
		}
	})
}
