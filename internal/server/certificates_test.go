package server

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/certs/certstest"
	"github.com/statordb/stator/internal/dax/control"
)

// TestHTTPS: one certificate serves HTTP and DAX. Reload replaces it for new connections, and one that can't be used changes nothing.
func TestHTTPS(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	files := ca.Server("first")
	var log lockedBuffer
	s, err := Open(Options{
		Listen: "127.0.0.1:0", InMemory: true, CredentialsFile: credentials(t), Logger: slog.New(slog.NewTextHandler(&log, nil)),
		TLS: TLSOptions{Certificate: files.Certificate, Key: files.Key}, DAX: DAXOptions{TLSListen: "127.0.0.1:0"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	expect := func(want string) {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Trusting()}}
		defer client.CloseIdleConnections()
		a := account{t, s, "A", secretA, accountA, ""}
		res, err := client.Do(a.request("DynamoDB_20120810.ListTables", obj{}))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if got := res.TLS.PeerCertificates[0].Subject.CommonName; err != nil || res.StatusCode != 200 || got != want {
			t.Errorf("%s answers %d %s, %v; want %s", got, res.StatusCode, body, err, want)
		}
		c, err := tls.Dial("tcp", strings.TrimPrefix(s.DAXURLs()[0], "daxs://"), ca.Trusting())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("DAX presents %s, want %s", got, want)
		}
	}
	expect("first")
	ca.Renew(files, "second")
	if err := s.Reload(); err != nil {
		t.Error(err)
	}
	expect("second")
	if err := os.WriteFile(files.Key, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil {
		t.Error("a file that is no key is accepted")
	}
	expect("second")
	if n := strings.Count(log.String(), "cannot reload a TLS certificate"); n != 1 {
		t.Errorf("the failure is logged %d times: %s", n, &log)
	}
}

// TestRefusesPlainHTTP: with credentials, only TLS or InsecureHTTP opens an address that other machines can reach.
func TestRefusesPlainHTTP(t *testing.T) {
	files := certstest.NewCA(t, "authority").Server("server")
	secure := TLSOptions{Certificate: files.Certificate, Key: files.Key}
	for _, c := range []struct {
		name string
		opt  Options
		want error
	}{
		{"plain", Options{Listen: "0.0.0.0:0", CredentialsFile: credentials(t)}, ErrInsecureHTTP},
		{"plain, and insecure in the other sense", Options{Listen: "0.0.0.0:0", CredentialsFile: credentials(t), Insecure: true}, ErrInsecureHTTP},
		{"behind a proxy", Options{Listen: "0.0.0.0:0", CredentialsFile: credentials(t), InsecureHTTP: true}, nil},
		{"TLS", Options{Listen: "0.0.0.0:0", CredentialsFile: credentials(t), TLS: secure}, nil},
		{"TLS without credentials", Options{Listen: "0.0.0.0:0", TLS: secure}, ErrInsecure},
		{"loopback", Options{Listen: "127.0.0.1:0", CredentialsFile: credentials(t)}, nil},
		{"DAX without a certificate", Options{Listen: "127.0.0.1:0", DAX: DAXOptions{TLSListen: "127.0.0.1:0"}}, control.ErrNoTLS},
	} {
		c.opt.InMemory = true
		s, err := Open(c.opt)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err == nil {
			if c.opt.TLS != (TLSOptions{}) && !strings.HasPrefix(s.URL(), "https://") {
				t.Errorf("%s: URL %s", c.name, s.URL())
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for name, o := range map[string]TLSOptions{"no key": {Certificate: files.Certificate}, "only an authority": {ClientCA: files.Certificate}} {
		if s, err := Open(Options{InMemory: true, Listen: "127.0.0.1:0", TLS: o}); err == nil {
			t.Errorf("%s is accepted", name)
			s.Close()
		}
	}
}

// TestPlainHTTPToHTTPS checks the answer through the whole server.
func TestPlainHTTPToHTTPS(t *testing.T) {
	files := certstest.NewCA(t, "authority").Server("server")
	d, err := Open(Options{InMemory: true, Listen: "127.0.0.1:0", TLS: TLSOptions{Certificate: files.Certificate, Key: files.Key}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	c, err := net.Dial("tcp", strings.TrimPrefix(d.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.0 400 ") {
		t.Errorf("%q, %v", answer, err)
	}
}
