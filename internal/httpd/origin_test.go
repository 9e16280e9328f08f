package httpd

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/fasthttputil"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/smithy"
)

func TestAnswersTo(t *testing.T) {
	web, err := ParseWeb(nil, []string{"db.example", "Stator.Example.", ".corp.example", ".mynet"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want  bool
		hosts string
	}{
		// Addresses.
		{true, "127.0.0.1 127.0.0.1:8000 127.0.0.1. 10.1.2.3:1 203.0.113.9 [::1] [::1]:8000 [::ffff:10.0.0.1]:80 [fe80::1%25eth0]:8000 [fe80::1%eth0]"},
		// Names without a dot.
		{true, "localhost LOCALHOST:8000 localhost. localhost.:8000 stator stator:8000 my_db-1:80 2130706433 0x7f000001"},
		{true, "a.localhost A.B.LocalHost.:1 stator.ns.svc stator-0.stator.ns.svc.cluster.local stator.ns.SVC.cluster.local.:8000 host.docker.internal Host.Docker.Internal:8000"},
		// Those of --allow-host.
		{true, "db.example DB.Example.:8000 stator.example a.corp.example a.b.CORP.example:1 stator.mynet"},
		{false, "evil.example evil.example:8000 EVIL.example. evil.example.:8000 127.0.0.1.evil.example localhost.evil.example"},
		{false, "xdb.example a.db.example corp.example xcorp.example evilsvc.example evil.xsvc evil.svc.cluster.local.example dynamodb.us-east-1.amazonaws.com"},
		{false, "host.docker.internal.example a.host.docker.internal svc.cluster.local evil.xlocalhost"},
		// Malformed ones.
		{false, ": :8000 . .. .localhost a..localhost localhost.. localhost:80:80 localhost:x localhost:-1 localhost:123456 ::1 [::1 [::1]x [::1]:x [] [127.0.0.1] [evil.example]"},
		{false, "user@localhost localhost@evil.example localhost,evil.example localhost/evil.example evil.example#localhost evil.example%00.localhost 127.1 1.2.3.4.5 0x7f.1.1.1"},
		{false, "évil.localhost evil.ſvc evil.example\\.localhost \x00 \xff.localhost"},
	} {
		for host := range strings.FieldsSeq(c.hosts) {
			if got := web.answersTo(host); got != c.want {
				t.Errorf("%q: %t", host, got)
			}
		}
	}
	if web.answersTo("") || web.answersTo("local host") || web.answersTo("localhost\t") {
		t.Error("a host that is empty or has a space")
	}
}

func TestAllows(t *testing.T) {
	loopback := "http://localhost http://localhost:3000 https://localhost:8443 http://a.localhost:1 http://127.0.0.1:3000 https://127.1.2.3 http://[::1]:3000"
	named := "https://app.example:8443 http://plain.example https://tls.example chrome-extension://abcdef"
	foreign := "http://evil.example https://evil.example:8443 http://app.example:8443 https://app.example https://app.example:84430 https://a.app.example:8443 " +
		"http://localhost.evil.example http://localhost@evil.example http://127.0.0.1.evil.example http://10.0.0.1 http://stator:8000 http://evil.example/http://localhost " +
		"http:localhost http:/localhost //localhost localhost ftp://localhost file://localhost file:// ws://localhost http://localhost:3000/ http://localhost:x http:// https://"
	for _, c := range []struct {
		flags   []string
		yes, no string
	}{
		{nil, loopback, named + " " + foreign + " null"},
		{[]string{"https://App.example:8443", "http://plain.example:80", "https://tls.example:443", "chrome-extension://abcdef"}, loopback + " " + named, foreign + " null"},
		{[]string{"null"}, loopback + " null", named + " " + foreign},
		{[]string{"*"}, loopback + " " + named + " " + foreign, "null"},
		{[]string{"*", "null"}, loopback + " " + named + " " + foreign + " null", ""},
	} {
		web, err := ParseWeb(c.flags, nil)
		if err != nil {
			t.Fatal(err)
		}
		for origin := range strings.FieldsSeq(c.yes) {
			if !web.allows(origin) {
				t.Errorf("%v refuses %s", c.flags, origin)
			}
		}
		for origin := range strings.FieldsSeq(c.no) {
			if web.allows(origin) {
				t.Errorf("%v admits %s", c.flags, origin)
			}
		}
	}
}

func TestParseWeb(t *testing.T) {
	for _, origin := range []string{"", " ", "app.example", "//app.example", "https://", "https://app.example/", "https://app.example/x", "https://u@app.example", "https://app.example?x", "https://app.example#x",
		"https://*.example", "https://app.example:port", "https://äpp.example", "https://app.example:", "https://a b", "NULL", "https:app.example", "https://app.example:8443,https://b.example"} {
		if _, err := ParseWeb([]string{origin}, nil); err == nil || !strings.Contains(err.Error(), "is not an origin") {
			t.Errorf("origin %q: %v", origin, err)
		}
	}
	for _, host := range []string{"", ".", "*", "*.example", "db.example:8000", "http://db.example", "db..example", "..example", "dä.example", "db.example/x", "[::1]"} {
		if _, err := ParseWeb(nil, []string{host}); err == nil || !strings.Contains(err.Error(), "is not a host") {
			t.Errorf("host %q: %v", host, err)
		}
	}
}

// guarded returns a function that sends raw requests over in-memory connections. With verify the server knows one access key, which
// turns the guard off.
func guarded(t testing.TB, web Web, verify bool) func(raw string) *http.Response {
	t.Helper()
	authenticator := &auth.Authenticator{}
	if verify {
		file := filepath.Join(t.TempDir(), "credentials.json")
		if err := os.WriteFile(file, []byte(`[{"accessKeyId":"AKID","secretAccessKey":"secret"}]`), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if authenticator, err = auth.Load(file, time.Now); err != nil {
			t.Fatal(err)
		}
	}
	s := New(Options{
		Operations: []smithy.Handler{echo()}, Auth: authenticator, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Web: web,
		Control: map[string]func([]byte) ([]byte, error){"/_stator/clock": func([]byte) ([]byte, error) { return []byte("{}"), nil }},
		Metrics: func(context.Context) (string, []byte, error) { return "text/plain", []byte("metrics 1\n"), nil },
		Ready:   func(context.Context) error { return nil },
	})
	l := fasthttputil.NewInmemoryListener()
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-served
	})
	return func(raw string) *http.Response {
		t.Helper()
		conn, err := l.Dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil && r.ContentLength > 0 && !strings.HasPrefix(raw, "HEAD") {
			t.Fatalf("%q: %v", raw, err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		return r
	}
}

func text(t testing.TB, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

const (
	signed    = "X-Amz-Target: DynamoDB_20120810.Echo\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00\r\n"
	presigned = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID/20260101/us-east-1/monitoring/aws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00"
)

// call returns a request for an operation.
func call(header string) string {
	if !strings.Contains(header, "Host:") {
		header = "Host: localhost:8000\r\n" + header
	}
	return "POST / HTTP/1.1\r\n" + header + signed + "Content-Length: 2\r\n\r\n{}"
}

// get returns a request for a page.
func get(path, header string) string {
	if !strings.Contains(header, "Host:") {
		header = "Host: localhost:8000\r\n" + header
	}
	return "GET " + path + " HTTP/1.1\r\n" + header + "\r\n"
}

func TestStrangers(t *testing.T) {
	web, err := ParseWeb([]string{"https://app.example:8443"}, []string{"db.example"})
	if err != nil {
		t.Fatal(err)
	}
	const form = "Content-Type: application/x-www-form-urlencoded\r\n"
	send, verifying := guarded(t, web, false), guarded(t, web, true)
	for _, c := range []struct {
		name, raw string
		refused   string // a word of the error; empty if the request is admitted
	}{
		{"an SDK", call(""), ""},
		{"by a name of the cluster", call("Host: stator.ns.svc.cluster.local:8000\r\n"), ""},
		{"by a name that was allowed", call("Host: db.example\r\n"), ""},
		{"DNS rebinding", call("Host: evil.example:8000\r\n"), "--allow-host evil.example\""},
		{"DNS rebinding, as Chromium sends it", call("Host: evil.example:8000\r\nOrigin: http://evil.example:8000\r\n"), "--allow-host"},
		{"AWS's name in /etc/hosts", call("Host: dynamodb.us-east-1.amazonaws.com\r\n"), "--allow-host dynamodb.us-east-1.amazonaws.com"},
		{"a load balancer by HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n", ""},
		{"HTTP/1.0 with a host", "GET /healthz HTTP/1.0\r\nHost: evil.example\r\n\r\n", "--allow-host"},
		{"HTTP/1.0 with a target", "GET http://evil.example/healthz HTTP/1.0\r\n\r\n", "--allow-host"},
		{"a proxy's target", "GET http://localhost:8000/healthz HTTP/1.1\r\nHost: localhost:8000\r\n\r\n", ""},
		{"another target", "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "--allow-host evil.example"},
		{"another host", "GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", "--allow-host evil.example"},
		{"a target with a user", "GET http://localhost@evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "--allow-host evil.example"},
		{"a target without a host", "GET http:///healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "neither"},
		{"a path with two slashes", "GET //evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", ""},
		{"a host with a user", get("/healthz", "Host: localhost@evil.example\r\n"), "neither a name nor an address"},
		{"a port alone", get("/healthz", "Host: :8000\r\n"), "neither"},

		{"a page on loopback", call("Origin: http://localhost:3000\r\n"), ""},
		{"a page on loopback for 127.0.0.1", call("Origin: http://localhost:3000\r\nSec-Fetch-Site: cross-site\r\n"), ""},
		{"a page of --cors-origin", call("Origin: https://app.example:8443\r\nSec-Fetch-Site: cross-site\r\n"), ""},
		{"a page of evil.example", call("Origin: http://evil.example\r\n"), "--cors-origin http://evil.example"},
		{"that says it's of the same origin", call("Origin: http://evil.example\r\nSec-Fetch-Site: same-origin\r\n"), "--cors-origin"},
		{"in another case", call("oRIGIN: http://evil.example\r\n"), "--cors-origin"},
		{"a sandboxed frame", call("Origin: null\r\n"), "--cors-origin null"},
		{"an empty origin", call("Origin: \r\n"), "--cors-origin"},
		{"two origins", call("Origin: http://localhost\r\nOrigin: http://evil.example\r\n"), "one Origin header"},
		{"twice the same origin", call("Origin: http://localhost\r\nOrigin: http://localhost\r\n"), "one Origin header"},
		{"two origins in one", call("Origin: http://localhost http://evil.example\r\n"), "--cors-origin"},

		{"an address that was entered", get("/healthz", "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\n"), ""},
		{"a page of the same origin", get("/healthz", "Sec-Fetch-Site: same-origin\r\n"), ""},
		{"a link, frame, image or script elsewhere", get("/healthz", "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n"), "web pages of other sites"},
		{"one on another port", get("/", "Sec-Fetch-Site: same-site\r\n"), "web pages of other sites"},
		{"an unknown word", get("/", "Sec-Fetch-Site: whatever\r\n"), "web pages of other sites"},
		{"an image for the clock", get("/_stator/clock", "Sec-Fetch-Site: cross-site\r\n"), "web pages of other sites"},
		{"a page that asks for health", get("/healthz", "Origin: http://evil.example\r\n"), "--cors-origin"},
		{"a page that asks for readiness by rebinding", get("/readyz", "Host: evil.example\r\n"), "--allow-host"},
		{"a page that moves the clock", "POST /_stator/clock HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nContent-Length: 2\r\n\r\n{}", "--cors-origin"},
		{"a form that moves the clock", "POST /_stator/clock HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n" + form + "Content-Length: 2\r\n\r\n{}", "web pages of other sites"},
		{"a page that opens a WebSocket", get("/", "Origin: http://evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"), "--cors-origin"},
		{"DELETE", "DELETE / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", "--cors-origin"},
		{"PUT", "PUT / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", "--allow-host"},
		{"a preflight", "OPTIONS / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n", "--cors-origin"},

		{"curl -d for the clock", "POST /_stator/clock HTTP/1.1\r\nHost: localhost\r\n" + form + "Content-Length: 2\r\n\r\n{}", ""},
		{"a form with a signature in the query", "POST " + presigned + " HTTP/1.1\r\nHost: localhost\r\n" + form + "Content-Length: 2\r\n\r\na=", "Authorization header"},
		{"the same, of text", "POST " + presigned + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: TEXT/plain;charset=UTF-8\r\nContent-Length: 2\r\n\r\na=", "Authorization header"},
		{"the same, of parts", "POST " + presigned + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 2\r\n\r\na=", "Authorization header"},
		{"an SDK that sends a form", call(form), ""},
	} {
		r := send(c.raw)
		body := text(t, r)
		if got := r.StatusCode == 403; got != (c.refused != "") {
			t.Errorf("%s: %d %s", c.name, r.StatusCode, body)
		}
		if c.refused != "" && (!strings.Contains(body, "#AccessDeniedException") || !strings.Contains(body, c.refused)) {
			t.Errorf("%s: %s doesn't say %q", c.name, body, c.refused)
		}
		if allow := r.Header.Get("Access-Control-Allow-Origin"); c.refused != "" && allow != "" {
			t.Errorf("%s: the page can read it: %s", c.name, allow)
		}
		if r := verifying(c.raw); r.StatusCode == 403 {
			t.Errorf("%s is refused by a server that verifies signatures: %s", c.name, text(t, r))
		}
	}
}

func TestHandler(t *testing.T) {
	handler := Web{}.Handler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusNoContent) }))
	for _, c := range []struct {
		host   string
		header http.Header
		status int
	}{
		{"localhost:6060", nil, 204},
		{"127.0.0.1:6060", http.Header{"Origin": {"http://localhost:3000"}, "Sec-Fetch-Site": {"cross-site"}}, 204},
		{"[::1]:6060", http.Header{"Sec-Fetch-Site": {"none"}}, 204},
		{"", nil, 204},
		{"evil.example:6060", nil, 403},
		{"localhost:6060", http.Header{"Origin": {"http://evil.example"}}, 403},
		{"localhost:6060", http.Header{"Origin": {"http://localhost", "http://localhost"}}, 403},
		{"localhost:6060", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
	} {
		rw := httptest.NewRecorder()
		handler.ServeHTTP(rw, &http.Request{Host: c.host, Header: c.header})
		if rw.Code != c.status {
			t.Errorf("%s %v: %d %s", c.host, c.header, rw.Code, rw.Body)
		}
	}
}

func TestMalformedHosts(t *testing.T) {
	send := guarded(t, Web{}, false)
	for _, raw := range []string{
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n",
		"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n",
		"GET ht!tp://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		if r := send(raw); r.StatusCode != 400 {
			t.Errorf("%q: %d", raw, r.StatusCode)
		}
	}
}

// TestCORS: only the origin that asks learns that it may use the server; other origins learn nothing.
func TestCORS(t *testing.T) {
	web, err := ParseWeb([]string{"https://app.example:8443"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	anyOrigin, err := ParseWeb([]string{"*"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, origin string
		send         func(string) *http.Response
		allow, vary  string
	}{
		{"loopback", "http://localhost:3000", guarded(t, Web{}, false), "http://localhost:3000", "Origin"},
		{"--cors-origin", "https://app.example:8443", guarded(t, web, false), "https://app.example:8443", "Origin"},
		{"foreign", "http://evil.example", guarded(t, web, false), "", "Origin"},
		{"null", "null", guarded(t, anyOrigin, false), "", "Origin"},
		{"--cors-origin *", "http://evil.example", guarded(t, anyOrigin, false), "http://evil.example", "Origin"},
		{"credentials", "http://evil.example", guarded(t, Web{}, true), "*", ""},
	} {
		preflight := c.send("OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nOrigin: " + c.origin + "\r\nAccess-Control-Request-Method: POST\r\n" +
			"Access-Control-Request-Headers: amz-sdk-invocation-id,authorization,x-amz-target\r\nAccess-Control-Request-Private-Network: true\r\n\r\n").Header
		answer := c.send(call("Origin: " + c.origin + "\r\n")).Header
		health := c.send("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: " + c.origin + "\r\n\r\n").Header
		malformed := c.send("POST / HTTP/1.1\r\nHost: localhost\r\nOrigin: " + c.origin + "\r\nContent-Length: x\r\n\r\n").Header
		for _, h := range []http.Header{preflight, answer, health, malformed} {
			if got := h.Get("Access-Control-Allow-Origin"); got != c.allow && (got != "" || len(h["X-Amzn-Requestid"]) == 0) {
				t.Errorf("%s: Access-Control-Allow-Origin %q, want %q", c.name, got, c.allow)
			}
		}
		want := map[string]string{}
		if c.allow != "" {
			want = map[string]string{"Methods": "POST", "Headers": "amz-sdk-invocation-id,authorization,x-amz-target"}
			if c.allow != "*" {
				want["Private-Network"] = "true"
			}
		}
		for _, name := range []string{"Methods", "Headers", "Private-Network", "Credentials"} {
			if got := preflight.Get("Access-Control-Allow-" + name); got != want[name] {
				t.Errorf("%s: Access-Control-Allow-%s %q, want %q", c.name, name, got, want[name])
			}
		}
		for _, h := range []http.Header{preflight, answer, health} {
			if got := h.Get("Access-Control-Expose-Headers"); (got != "") != (c.allow != "") {
				t.Errorf("%s: Access-Control-Expose-Headers %q", c.name, got)
			}
		}
		if got := answer.Get("Vary"); got != c.vary {
			t.Errorf("%s: Vary %q", c.name, got)
		}
	}
	for _, credentials := range []bool{false, true} {
		for _, method := range []string{"OPTIONS", "GET"} {
			r := guarded(t, web, credentials)(method + " / HTTP/1.1\r\nHost: localhost\r\nAccess-Control-Request-Method: POST\r\n\r\n")
			for name := range r.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s without an origin: %s", method, name)
				}
			}
		}
	}
}

// TestGuardAllocates: the guard is on the path of every request and must not allocate.
func TestGuardAllocates(t *testing.T) {
	g := webGuard{open: true}
	var c fasthttp.RequestCtx
	raw := strings.Replace(call("Host: 127.0.0.1:8000\r\nUser-Agent: aws-sdk\r\nAccept-Encoding: identity\r\n"), "\r\n\r\n{}", "\r\nContent-Type: application/x-amz-json-1.0\r\n\r\n{}", 1)
	if err := c.Request.Read(bufio.NewReader(strings.NewReader(raw))); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := g.check(&c); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGuard(b *testing.B) {
	g := webGuard{open: true}
	var c fasthttp.RequestCtx
	if err := c.Request.Read(bufio.NewReader(strings.NewReader(call("Host: 127.0.0.1:8000\r\nUser-Agent: aws-sdk\r\nAccept-Encoding: identity\r\n")))); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := g.check(&c); err != nil {
			b.Fatal(err)
		}
	}
}
