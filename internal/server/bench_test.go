package server

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/test/request"
)

// benchServer opens a server whose table "bench" has 1,000 items. call runs an operation without the network.
func benchServer(b *testing.B, opt Options) (s *Server, call func(operation, body string)) {
	return signedBenchServer(b, opt, func(h *fasthttp.RequestHeader, _, _ string) {
		h.Set("X-Amz-Date", "20260101T000000Z")
		h.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date;x-amz-target, Signature=00")
	})
}

// signedBenchServer is benchServer for requests that sign signs.
func signedBenchServer(b *testing.B, opt Options, sign func(h *fasthttp.RequestHeader, target, body string)) (s *Server, call func(operation, body string)) {
	opt.InMemory, opt.Listen = true, "127.0.0.1:0"
	s, err := Open(opt)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	var c fasthttp.RequestCtx
	h := &c.Request.Header
	h.SetMethod("POST")
	call = func(operation, body string) {
		target := "DynamoDB_20120810." + operation
		h.Set("X-Amz-Target", target)
		sign(h, target, body)
		c.Request.SetBodyString(body)
		c.Response.Reset()
		s.http.Handle(&c)
		if c.Response.StatusCode() != 200 {
			b.Fatalf("%s %s: %s", operation, body, c.Response.Body())
		}
	}
	call("CreateTable", `{"TableName":"bench","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"}]}`)
	for i := range 1000 {
		call("PutItem", benchPut(i))
	}
	return s, call
}

// benchmark measures an operation from request body to answer body, without the network. request returns the body for each
// iteration. before lists operations and bodies that run first.
func benchmark(b *testing.B, operation string, request func(i int) string, before ...[2]string) {
	_, call := benchServer(b, Options{})
	for _, r := range before {
		call(r[0], r[1])
	}
	bodies := make([]string, 1000)
	for i := range bodies {
		bodies[i] = request(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		call(operation, bodies[i%len(bodies)])
	}
}

var benchValue = strings.Repeat("x", 960)

func benchKey(i int) string {
	return fmt.Sprintf(`{"pk":{"S":"user-%d"},"sk":{"N":"%d"}}`, i/20, i%20)
}

func benchPut(i int) string {
	return fmt.Sprintf(`{"TableName":"bench","Item":{"pk":{"S":"user-%d"},"sk":{"N":"%d"},"n":{"N":"%d"},"data":{"S":"%s"}}}`, i/20, i%20, i, benchValue)
}

func BenchmarkGetItem(b *testing.B) {
	benchmark(b, "GetItem", func(i int) string { return `{"TableName":"bench","Key":` + benchKey(i) + `}` })
}

// BenchmarkGetItemSigned is BenchmarkGetItem with a signature that is verified: of an account's root.
func BenchmarkGetItemSigned(b *testing.B) { benchmarkSigned(b, "A", secretA) }

// BenchmarkGetItemPolicy is BenchmarkGetItemSigned for a user whose policy has ten statements. The last one allows the request.
func BenchmarkGetItemPolicy(b *testing.B) { benchmarkSigned(b, userKey, userSecret) }

// benchmarkSigned measures GetItem with an access key of account A. The bodies are signed before.
func benchmarkSigned(b *testing.B, key, secret string) {
	signatures := map[string][2]string{}
	file := filepath.Join(b.TempDir(), "credentials.json")
	if err := os.WriteFile(file, []byte(`[{"accessKeyId":"A","secretAccessKey":"`+secretA+`","account":"`+accountA+`"}]`), 0o600); err != nil {
		b.Fatal(err)
	}
	var list []grant
	for i := range 9 {
		list = append(list, grant{fmt.Sprintf("dynamodb:%c*", "BCDPQRSTU"[i]), "arn:aws:dynamodb:*:*:table/*"})
	}
	iam := &issuer{user: identityWith(b, frontUser, append(list, grant{"dynamodb:GetItem", "arn:aws:dynamodb:us-east-1:*:table/bench"})...)}
	a := account{key: "A", secret: secretA}
	_, call := signedBenchServer(b, Options{CredentialsFile: file, issuer: iam}, func(h *fasthttp.RequestHeader, target, body string) {
		signature, ok := signatures[body]
		if !ok {
			req, err := http.NewRequest("POST", "http://localhost/", nil)
			if err != nil {
				b.Fatal(err)
			}
			req.Header.Set("X-Amz-Target", target)
			if err := request.Sign(req, []byte(body), a.key, a.secret, "dynamodb"); err != nil {
				b.Fatal(err)
			}
			signature = [2]string{req.Header.Get("X-Amz-Date"), req.Header.Get("Authorization")}
			signatures[body] = signature
		}
		h.SetHost("localhost")
		h.Set("X-Amz-Date", signature[0])
		h.Set("Authorization", signature[1])
	})
	a.key, a.secret = key, secret
	bodies := make([]string, 1000)
	for i := range bodies {
		bodies[i] = `{"TableName":"bench","Key":` + benchKey(i) + `}`
		call("GetItem", bodies[i])
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		call("GetItem", bodies[i%len(bodies)])
	}
}

// BenchmarkDAXGetItem measures cached reads of a DAX client, without the network.
func BenchmarkDAXGetItem(b *testing.B) {
	s, _ := benchServer(b, Options{DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	schema := wire.KeySchema{{Name: "pk", Type: attribute.TypeS}, {Name: "sk", Type: attribute.TypeN}}
	gets := make([][]byte, 1000)
	for i := range gets {
		key := attribute.NewItem(
			attribute.Field{Name: "pk", Value: attribute.String(fmt.Sprintf("user-%d", i/20))},
			attribute.Field{Name: "sk", Value: attribute.Number(fmt.Sprint(i % 20))},
		)
		gets[i] = daxRequest("getItem", text("bench"), wire.AppendKey(nil, schema, key), wire.AppendNull(nil))
	}
	serve := func(requests int) {
		c := &daxReplay{requests: gets, next: daxPreamble(0), left: requests, closed: make(chan struct{})}
		s.dax.base.Serve(&oneConn{c: c})
		<-c.closed
		if c.answers != requests || c.failed {
			b.Fatalf("%d answers to %d requests, failed %v", c.answers, requests, c.failed)
		}
	}
	serve(len(gets)) // fills the cache
	b.ReportAllocs()
	b.ResetTimer()
	serve(b.N)
}

// daxReplay is a connection whose client sends prepared requests, each as soon as the one before is answered.
type daxReplay struct {
	net.Conn
	requests [][]byte
	next     []byte // the rest of the message being sent
	left     int    // requests not sent yet
	answers  int
	failed   bool // an answer was an error
	closed   chan struct{}
}

func (c *daxReplay) Read(p []byte) (int, error) {
	if len(c.next) == 0 {
		if c.left == 0 {
			return 0, io.EOF
		}
		c.left--
		c.next = c.requests[c.left%len(c.requests)]
	}
	n := copy(p, c.next)
	c.next = c.next[n:]
	return n, nil
}

func (c *daxReplay) Write(p []byte) (int, error) {
	c.answers++
	c.failed = c.failed || p[0] != 0x80 // no error codes
	return len(p), nil
}

func (c *daxReplay) Close() error                     { close(c.closed); return nil }
func (c *daxReplay) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (c *daxReplay) SetDeadline(time.Time) error      { return nil }
func (c *daxReplay) SetReadDeadline(time.Time) error  { return nil }
func (c *daxReplay) SetWriteDeadline(time.Time) error { return nil }

// oneConn is a listener with one connection.
type oneConn struct {
	net.Listener
	c net.Conn
}

func (l *oneConn) Accept() (net.Conn, error) {
	c := l.c
	if l.c = nil; c == nil {
		return nil, net.ErrClosed
	}
	return c, nil
}

func BenchmarkPutItem(b *testing.B) {
	n := 0
	benchmark(b, "PutItem", func(i int) string { n++; return benchPut(i%500 + 500*(n&1)) })
}

func BenchmarkUpdateItem(b *testing.B) {
	benchmark(b, "UpdateItem", func(i int) string {
		return `{"TableName":"bench","Key":` + benchKey(i) + `,"UpdateExpression":"SET n = n + :one","ExpressionAttributeValues":{":one":{"N":"1"}}}`
	})
}

// BenchmarkUpdateItemRecovery is BenchmarkUpdateItem on a table with point-in-time recovery.
func BenchmarkUpdateItemRecovery(b *testing.B) {
	benchmark(b, "UpdateItem", func(i int) string {
		return `{"TableName":"bench","Key":` + benchKey(i) + `,"UpdateExpression":"SET n = n + :one","ExpressionAttributeValues":{":one":{"N":"1"}}}`
	}, [2]string{"UpdateContinuousBackups", `{"TableName":"bench","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`})
}

func BenchmarkQuery20(b *testing.B) {
	benchmark(b, "Query", func(i int) string {
		return fmt.Sprintf(`{"TableName":"bench","KeyConditionExpression":"pk = :pk","ExpressionAttributeValues":{":pk":{"S":"user-%d"}}}`, i/20)
	})
}

func BenchmarkConditionalPut(b *testing.B) {
	benchmark(b, "PutItem", func(i int) string {
		put := benchPut(i)
		return put[:len(put)-1] + `,"ConditionExpression":"attribute_exists(pk) AND n >= :n","ExpressionAttributeValues":{":n":{"N":"0"}}}`
	})
}

func BenchmarkBatchGetItem100(b *testing.B) {
	benchmark(b, "BatchGetItem", func(i int) string {
		keys := make([]string, 100)
		for j := range keys {
			keys[j] = benchKey((i + j) % 1000)
		}
		return `{"RequestItems":{"bench":{"Keys":[` + strings.Join(keys, ",") + `]}}}`
	})
}

func BenchmarkBatchWriteItem25(b *testing.B) {
	benchmark(b, "BatchWriteItem", func(i int) string {
		puts := make([]string, 25)
		for j := range puts {
			item := strings.TrimPrefix(benchPut((i+j)%1000), `{"TableName":"bench",`)
			puts[j] = `{"PutRequest":{` + item + `}`
		}
		return `{"RequestItems":{"bench":[` + strings.Join(puts, ",") + `]}}`
	})
}

func BenchmarkTransactWriteItems4(b *testing.B) {
	benchmark(b, "TransactWriteItems", func(i int) string {
		updates := make([]string, 4)
		for j := range updates {
			updates[j] = `{"Update":{"TableName":"bench","Key":` + benchKey((i+j)%1000) + `,"UpdateExpression":"ADD n :one","ExpressionAttributeValues":{":one":{"N":"1"}}}}`
		}
		return `{"TransactItems":[` + strings.Join(updates, ",") + `]}`
	})
}

// BenchmarkScanPage reads a page of 1 MB.
func BenchmarkScanPage(b *testing.B) {
	benchmark(b, "Scan", func(int) string { return `{"TableName":"bench"}` })
}
