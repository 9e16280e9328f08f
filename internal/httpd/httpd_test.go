package httpd

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"hash/crc32"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/smithy"
)

// verbatim is an answer that is rendered already.
type verbatim []byte

func (v verbatim) AppendJSON(dst []byte) []byte { return append(dst, v...) }

// echo is an operation that echoes its body, panics on "panic", fails on "fail:" with what follows, and fails to decode "mismatch".
func echo() smithy.Handler {
	return smithy.Handler{
		Target: "DynamoDB_20120810.Echo",
		Decode: func(_ *smithy.Call, body []byte) (any, *awserr.Error) {
			if string(body) == `"mismatch"` {
				return nil, awserr.New(awserr.Serialization, "STRING_VALUE cannot be converted to Integer")
			}
			return body, nil
		},
		Run: func(_ context.Context, _ *smithy.Call, in any) (smithy.Renderer, error) {
			body := in.([]byte)
			if string(body) == "panic" {
				panic("boom")
			}
			if message, ok := bytes.CutPrefix(body, []byte("fail:")); ok {
				return nil, awserr.New(awserr.Validation, string(message))
			}
			return verbatim(body), nil
		},
	}
}

func request(t *testing.T, body []byte, header map[string]string) *fasthttp.Response {
	t.Helper()
	return requestTo(t, "POST", "/", body, header)
}

// requestTo sends a request to Echo. Headers of no text are left out.
func requestTo(t *testing.T, method, path string, body []byte, header map[string]string) *fasthttp.Response {
	t.Helper()
	s := New(Options{Operations: []smithy.Handler{echo()}, Auth: &auth.Authenticator{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	var c fasthttp.RequestCtx
	c.Request.Header.SetMethod(method)
	c.Request.SetRequestURI(path)
	c.Request.Header.Set("X-Amz-Target", "DynamoDB_20120810.Echo")
	c.Request.Header.Set("X-Amz-Date", "20260101T000000Z")
	c.Request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00")
	for k, v := range header {
		if v == "" {
			c.Request.Header.Del(k)
			continue
		}
		c.Request.Header.Set(k, v)
	}
	c.Request.SetBody(body)
	s.Handle(&c)
	return &c.Response
}

func compressed(t *testing.T, encoding string, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "deflate" {
		w = zlib.NewWriter(&b)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// header returns a header by its exact name on the wire, which Header.Peek would normalize.
func header(r *fasthttp.Response, name string) string {
	for k, v := range r.Header.All() {
		if string(k) == name {
			return string(v)
		}
	}
	return ""
}

func TestCompression(t *testing.T) {
	text := strings.Repeat("hello ", 1000)
	for _, encoding := range []string{"gzip", "deflate"} {
		r := request(t, compressed(t, encoding, text), map[string]string{"Content-Encoding": encoding, "Accept-Encoding": encoding})
		if r.StatusCode() != 200 || string(r.Header.ContentEncoding()) != encoding {
			t.Fatalf("%s: %d, answer encoded %q", encoding, r.StatusCode(), r.Header.ContentEncoding())
		}
		if got, want := header(r, "x-amz-crc32"), strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.Body())), 10); got != want {
			t.Errorf("%s: checksum %s, want that of the compressed bytes, %s", encoding, got, want)
		}
		plain, err := r.BodyUncompressed()
		if err != nil || string(plain) != text {
			t.Errorf("%s: %q, %v", encoding, plain, err)
		}
	}
	bomb := compressed(t, "gzip", strings.Repeat("\x00", MaxBody+1))
	if r := request(t, bomb, map[string]string{"Content-Encoding": "gzip"}); r.StatusCode() != 413 {
		t.Errorf("%d bytes that become more than %d: %d", len(bomb), MaxBody, r.StatusCode())
	}
}

// TestContentEncoding: what AWS answers to bodies in encodings, as ScyllaDB's tests recorded it in 2025-11 (test/alternator/test_compressed_request.py).
func TestContentEncoding(t *testing.T) {
	one := compressed(t, "gzip", "hello")
	two := append(compressed(t, "gzip", "hel"), compressed(t, "gzip", "lo")...)
	for _, c := range []struct {
		name, encoding string
		body           []byte
		status         int
	}{
		{"one member", "gzip", one, 200},
		{"two members", "gzip", two, 200},
		{"junk behind it", "gzip", append(bytes.Clone(one), "junk"...), 200},
		{"a byte too few", "gzip", one[:len(one)-1], 500},
		{"a byte too few in the second member", "gzip", two[:len(two)-1], 500},
		{"not compressed", "gzip", []byte("hello"), 500},
		{"empty", "gzip", nil, 500},
		{"unknown", "garbage", []byte("hello"), 500},
	} {
		r := request(t, c.body, map[string]string{"Content-Encoding": c.encoding})
		want := `{"__type":"com.amazon.coral.service#InternalFailure"}`
		if c.status == 200 {
			want = "hello"
		}
		if r.StatusCode() != c.status || string(r.Body()) != want {
			t.Errorf("%s: %d %s", c.name, r.StatusCode(), r.Body())
		}
	}
}

// TestAcceptEncoding: which encoding AWS chooses, as ScyllaDB's tests recorded it in 2025-12 (test/alternator/test_compressed_response.py).
func TestAcceptEncoding(t *testing.T) {
	text := strings.Repeat("x", minCompress)
	for accept, want := range map[string]string{
		"gzip": "gzip", "deflate": "deflate", "identity": "", "": "", "br": "", "zstd": "", "compress": "", "x-gzip": "",
		"gzip, deflate": "gzip", "br, identity, deflate, gzip": "deflate", "GZIP, identity": "gzip", "dog, gzip ,, cat": "gzip",
		"gzip;q=0.8, deflate;q=0.5": "gzip", "br, gzip;q=0, deflate; q = 0.5 , identity;q=0": "deflate",
		"*": "gzip", "*, deflate;q=0.5": "gzip", "*, deflate": "deflate", "*, identity": "gzip", "*, gzip;q=0.5": "deflate",
		"gzip ;q=0": "", "identity;q=0": "", "*;q=0": "", "*;q=0.5,identity": "gzip", "gzip;q=0.5,identity;q=0.8": "gzip",
		"br;q=0.8,identity;q=0.5,*;q=0": "", `"gzip"`: "", "gzip br": "", "gzip:q=1": "",
		"deflate;q=0.5, gzip;q=31": "gzip", "gzip;q=31,deflate;q=51": "gzip", "deflate;q=0.5, gzip;q=0.2": "deflate",
		"deflate;q=0.5, gzip;q=1;q=0.2": "gzip", "deflate;q=0.5,gzip;q=0.": "deflate", "deflate;q=0.5,gzip;q=0.x": "gzip",
		"deflate;q=-0.5,gzip;q=0.2": "gzip", "gzip;nq=1;q=0 ": "", "gzip;q=0, gzip;q=1, gzip;q=0": "gzip",
		"br,identity;q=0.5,gzip;q=0.0001": "gzip",
	} {
		r := request(t, []byte(text), map[string]string{"Accept-Encoding": accept})
		if got := string(r.Header.ContentEncoding()); got != want {
			t.Errorf("%q: encoded %q, want %q", accept, got, want)
		}
		if r := request(t, []byte(text[1:]), map[string]string{"Accept-Encoding": accept}); len(r.Header.ContentEncoding()) > 0 || string(r.Body()) != text[1:] {
			t.Errorf("%q: an answer below the threshold is encoded", accept)
		}
	}
	// AWS announces the encoding of large errors, but doesn't encode them (AllocZero/EfficientDynamoDb, pull request 281 of 2026-03).
	r := request(t, []byte("fail:"+text), map[string]string{"Accept-Encoding": "gzip"})
	if got := string(r.Header.ContentEncoding()); r.StatusCode() != 400 || got != "gzip" || !bytes.HasPrefix(r.Body(), []byte(`{"__type":`)) {
		t.Errorf("a large error: %d, encoded %q: %.40s", r.StatusCode(), got, r.Body())
	}
	if got, want := header(r, "x-amz-crc32"), strconv.FormatUint(uint64(crc32.ChecksumIEEE(r.Body())), 10); got != want {
		t.Errorf("a large error: checksum %s, want %s", got, want)
	}
}

// TestNowhere: a request for which AWS's endpoint has no protocol.
func TestNowhere(t *testing.T) {
	for _, c := range []struct{ method, path, origin string }{
		{"POST", "/dynamodb", ""}, {"GET", "/index.htm", ""}, {"PUT", "/", ""}, {"DELETE", "/", ""}, {"OPTIONS", "/", ""},
		{"GET", "/abc", "http://localhost:3000"},
	} {
		r := requestTo(t, c.method, c.path, []byte("{}"), map[string]string{"Origin": c.origin})
		if r.StatusCode() != 404 || string(r.Body()) != "<UnknownOperationException/>\n" || len(header(r, "x-amzn-RequestId")) != 52 || header(r, "x-amz-crc32") != "3552371480" {
			t.Errorf("%s %s: %d %q", c.method, c.path, r.StatusCode(), r.Body())
		}
	}
}

func TestAnswer(t *testing.T) {
	r := request(t, []byte("{}"), map[string]string{"Origin": "http://localhost:3000"})
	if got := len(header(r, "x-amzn-RequestId")); got != 52 {
		t.Errorf("request id of %d characters", got)
	}
	if got := string(r.Header.ContentType()); got != "application/x-amz-json-1.0" {
		t.Error(got)
	}
	if got := string(r.Header.Peek("Access-Control-Allow-Origin")); got != "http://localhost:3000" {
		t.Errorf("Access-Control-Allow-Origin %q", got)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, body string
		header     map[string]string
		status     int
		want       string
	}{
		{"panic", "panic", nil, 500, "com.amazonaws.dynamodb.v20120810#InternalServerError"},
		{"unknown operation", "{}", map[string]string{"X-Amz-Target": "DynamoDB_20120810.Nope"}, 400, "#UnknownOperationException"},
		{"other service", "{}", map[string]string{"X-Amz-Target": "Kinesis_20131202.Echo"}, 400, "#UnknownOperationException"},
		{"no target", "{}", map[string]string{"X-Amz-Target": ""}, 400, "#UnknownOperationException"},
		{"no signature", "{}", map[string]string{"Authorization": ""}, 400, "Request is missing Authentication Token"},
		{"malformed before signature", "mismatch", map[string]string{"Authorization": ""}, 400, `#SerializationException"}`},
		{"signature before types", `"mismatch"`, map[string]string{"Authorization": ""}, 400, "#MissingAuthenticationTokenException"},
		{"types", `"mismatch"`, nil, 400, `#SerializationException","Message":"STRING_VALUE cannot be converted to Integer"`},
		{"incomplete", "{}", map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request"}, 400, "Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization=AWS4-HMAC-SHA256"},
	} {
		r := request(t, []byte(c.body), c.header)
		if r.StatusCode() != c.status || !strings.Contains(string(r.Body()), c.want) {
			t.Errorf("%s: %d %s", c.name, r.StatusCode(), r.Body())
		}
	}
}
