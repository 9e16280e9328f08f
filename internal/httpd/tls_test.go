package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/certs"
	"github.com/statordb/stator/internal/certs/certstest"
	"github.com/statordb/stator/internal/smithy"
)

// serveTLS returns a server whose certificate the authority has issued. With mutual, clients need one too.
func serveTLS(t *testing.T, ca *certstest.CA, mutual bool, opt Options) *served {
	t.Helper()
	opt.TLS = settings(t, ca, mutual)
	return serve(t, opt)
}

func settings(t *testing.T, ca *certstest.CA, mutual bool) *tls.Config {
	t.Helper()
	files := ca.Server("server")
	if mutual {
		files.ClientCA = ca.File
	}
	source, err := certs.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	return source.HTTP()
}

// secured returns a connection over TLS.
func (s *served) secured(config *tls.Config) *tls.Conn { return tls.Client(s.dial(), config) }

// TestTLS: requests and answers, small and large, go over TLS 1.2 and 1.3. HTTP/2 is not offered.
func TestTLS(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	s := serveTLS(t, ca, false, Options{})
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := ca.Trusting()
		config.MinVersion, config.MaxVersion, config.NextProtos = version, version, []string{"h2", "http/1.1"}
		c := s.secured(config)
		for _, body := range []string{"{}", strings.Repeat("x", 1<<20), "{}"} {
			go func() { _, _ = io.WriteString(c, post(body)) }()
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(res.Body); err != nil || string(got) != body {
				t.Errorf("%d bytes, %v, want %d", len(got), err, len(body))
			}
		}
		if state := c.ConnectionState(); state.NegotiatedProtocol != "http/1.1" || state.Version != version {
			t.Errorf("negotiated %s over %s", state.NegotiatedProtocol, tls.VersionName(state.Version))
		}
	}
	old := ca.Trusting()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if err := s.secured(old).Handshake(); err == nil || !strings.Contains(err.Error(), "protocol version not supported") {
		t.Errorf("TLS 1.1: %v", err)
	}
}

// TestPlainToTLS: a request without TLS is answered readably, whatever its size. Other bytes are answered by nothing.
func TestPlainToTLS(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	s := serveTLS(t, ca, false, Options{})
	for _, request := range []string{"GET / HTTP/1.1\r\nHost: h\r\n\r\n", post("{}"), post(strings.Repeat("x", 1<<20))} {
		c := s.dial()
		go func() {
			_, _ = io.WriteString(c, request)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		answer, err := io.ReadAll(c)
		if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.0 400 Bad Request\r\n")) || !bytes.Contains(answer, []byte("HTTP request to an HTTPS server")) {
			t.Errorf("%.20q: %v: %q", request, err, answer)
		}
	}
	c := s.dial()
	if _, err := io.WriteString(c, "\x00\x01\x02\x03\x04\x05\x06\x07"); err != nil {
		t.Fatal(err)
	}
	if answer, _ := io.ReadAll(c); bytes.HasPrefix(answer, []byte("HTTP")) { // the connection may end in any way
		t.Errorf("bytes of no protocol: %q", answer)
	}
}

// TestMutualTLS: with an authority for clients, only its clients are served, and the verified subject is with the request.
func TestMutualTLS(t *testing.T) {
	ca, other := certstest.NewCA(t, "authority"), certstest.NewCA(t, "another")
	peers := make(chan *auth.Peer, 1)
	server := New(Options{
		Operations: []smithy.Handler{echo()}, Auth: &auth.Authenticator{}, Logger: slog.New(slog.DiscardHandler), TLS: settings(t, ca, true),
	})
	handle := server.http.Handler
	server.http.Handler = func(c *fasthttp.RequestCtx) {
		peers <- newAuthRequest().of(c, "", nil).Peer
		handle(c)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := run(t, l, server)
	c := s.secured(ca.Trusting(ca.Client("shop", "spiffe://example/shop")))
	if status := ask(c, post("{}")); status != 200 {
		t.Fatal(status)
	}
	if peer := <-peers; peer == nil || peer.CommonName != "shop" || !slices.Equal(peer.URIs, []string{"spiffe://example/shop"}) {
		t.Errorf("the request's peer is %+v", peer)
	}
	for name, config := range map[string]*tls.Config{
		"no certificate":    ca.Trusting(),
		"another authority": ca.Trusting(other.Client("shop", "spiffe://example/shop")),
	} {
		if status := ask(s.secured(config), post("{}")); status != 0 {
			t.Errorf("%s: %d", name, status)
		}
	}
	if len(peers) > 0 {
		t.Error("a request without a verified certificate was handled")
	}
	// Certificates that clients present to a server that asks for none say nothing.
	open := serveTLS(t, ca, false, Options{})
	if status := ask(open.secured(ca.Trusting(other.Client("shop", ""))), post("{}")); status != 200 {
		t.Error(status)
	}
}

// TestStalledHandshakes: no number of connections in the middle of a handshake keeps a client out or disconnects an authenticated one, and
// none of them stays.
func TestStalledHandshakes(t *testing.T) {
	const limit = 32
	var log bytes.Buffer
	ca := certstest.NewCA(t, "authority")
	s := serveTLS(t, ca, false, Options{Limits: Limits{Connections: limit}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	client := s.secured(ca.Trusting())
	if status := ask(client, post("{}")); status != 200 {
		t.Fatal(status)
	}
	hello := []byte{22, 3, 1, 2, 0, 1, 0} // the beginning of a handshake
	for i := range 4 * limit {
		if _, err := s.dial().Write(hello[:i%len(hello)]); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a place for a client", func() bool { return ask(s.secured(ca.Trusting()), post("{}")) == 200 })
	if status := ask(client, post("{}")); status != 200 {
		t.Errorf("a client that was there: %d", status)
	}
	for range idleTicks + 1 {
		s.conns.reap()
	}
	until(t, "the end of all connections", func() bool { return s.http.GetOpenConnectionsCount() == 0 })
	if log.Len() > 0 {
		t.Errorf("logged: %s", &log)
	}
}

// TestReaperDoesNotWait: closing a client that reads nothing takes no longer because of TLS.
func TestReaperDoesNotWait(t *testing.T) {
	ours, theirs := net.Pipe() // it has no buffer: a goodbye would wait for its reader
	ca := certstest.NewCA(t, "authority")
	c := &secureConn{Conn: tls.Server(ours, settings(t, ca, false))}
	shaken := make(chan error, 1)
	go func() { shaken <- c.Handshake() }()
	config := ca.Trusting()
	config.MaxVersion = tls.VersionTLS12 // 1.3 would send session tickets, and this client reads nothing
	if err := tls.Client(theirs, config).Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	sever(c)
	if _, err := theirs.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %v, want the end without a goodbye", err)
	}
}

// TestTLSClientGone: a request over TLS ends when its client goes.
func TestTLSClientGone(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	ca := certstest.NewCA(t, "authority")
	s := serveTLS(t, ca, false, Options{Operations: []smithy.Handler{blocking(began, ended)}})
	c := s.secured(ca.Trusting())
	if _, err := io.WriteString(c, post("{}")); err != nil {
		t.Fatal(err)
	}
	<-began
	c.Close()
	if err := <-ended; err != context.Canceled {
		t.Error(err)
	}
}

// TestTLSTruncated: a chunked body that ends with TLS's goodbye, before its last chunk, is no whole body, although the socket is still open.
func TestTLSTruncated(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	s := serveTLS(t, ca, false, Options{})
	c := s.secured(ca.Trusting())
	whole := chunked("{}")
	if _, err := io.WriteString(c, whole[:len(whole)-len("0\r\n\r\n")]); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if status := ask(c, ""); status == 200 {
		t.Error("the truncated body was taken for a whole one")
	}
}
