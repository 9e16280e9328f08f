package server

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/attribute"
)

// TestWebOptions checks that the options decide what web pages may do. internal/httpd has the cases, test/browser uses a
// browser.
func TestWebOptions(t *testing.T) {
	for _, opt := range []Options{{CORSOrigins: []string{"https://app.example/path"}}, {AllowHosts: []string{"*"}}} {
		opt.InMemory, opt.Listen = true, "127.0.0.1:0"
		if s, err := Open(opt); err == nil {
			t.Errorf("%v %v is accepted", opt.CORSOrigins, opt.AllowHosts)
			s.Close()
		}
	}
	d := open(t, Options{CORSOrigins: []string{"https://app.example"}, AllowHosts: []string{".db.example"}})
	for _, c := range []struct {
		host, origin string
		status       int
	}{
		{"", "", 200}, {"a.db.example", "", 200}, {"a.db.example", "https://app.example", 404}, {"evil.example", "", 403}, {"", "https://evil.example", 403},
	} {
		r, err := http.NewRequest("GET", d.URL()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
			r.URL.Path = "/nothing"
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != c.status {
			t.Errorf("host %q, origin %q: %d", c.host, c.origin, answer.StatusCode)
		}
	}
}

// TestDAXIsNoHTTP checks that a DAX port closes at the first line of HTTP, because a web page can send it a request with any
// body.
func TestDAXIsNoHTTP(t *testing.T) {
	d, addr := openDAXServer(t, Options{})
	d.createDAXTable()
	good := dialDAX(t, addr, 0)
	put := daxRequest("putItem", text(daxTable), text("k"), content(good.listID("x"), attribute.String("v")), options())
	remove := daxRequest("deleteItem", text(daxTable), text("k"), options())
	send := func(raw []byte) *daxConn {
		nc, err := net.Dial("tcp", strings.TrimPrefix(addr, "dax://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		if err := nc.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		c := &daxConn{t: t, Conn: nc, table: daxTable}
		c.write(raw)
		return c
	}
	if _, err := send(slices.Concat(daxPreamble(0), put)).receive(1); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"} {
		body := slices.Concat(daxPreamble(0), remove)
		send(append(fmt.Appendf(nil, "%s / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", method, len(body)), body...)).closed()
		if got := good.get("k"); got != "v" {
			t.Errorf("%s: %s", method, got)
		}
	}
	if _, err := send(slices.Concat(daxPreamble(0), remove)).receive(1); err != nil {
		t.Fatal(err)
	}
	if got := good.get("k"); got != "nothing" {
		t.Errorf("the body of those requests does nothing by itself: %s", got)
	}
}
