package certs_test

import (
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/certs"
	"github.com/statordb/stator/internal/certs/certstest"
)

// served returns the common name of the certificate that a server with the settings presents.
func served(t *testing.T, config, client *tls.Config) string {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	server := tls.Server(ours, config)
	go func() { _ = server.Handshake() }() // the client reports failures
	c := tls.Client(theirs, client)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// TestRefresh: new connections follow the files. Files that can't be used change nothing, and are reported once.
func TestRefresh(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	files := ca.Server("first")
	source, err := certs.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	http, dax := source.HTTP(), source.DAX()
	expect := func(want string) {
		t.Helper()
		if got, too := served(t, http, ca.Trusting()), served(t, dax, ca.Trusting()); got != want || too != want {
			t.Errorf("%s and %s are served, want %s", got, too, want)
		}
	}
	refresh := func(wantChanged bool, wantError string) {
		t.Helper()
		changed, err := source.Refresh()
		if changed != wantChanged || (err != nil) != (wantError != "") || err != nil && !strings.Contains(err.Error(), wantError) {
			t.Errorf("Refresh: %v, %v", changed, err)
		}
	}
	expect("first")
	refresh(false, "")
	other := ca.Server("second")
	move := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(other.Certificate, files.Certificate)
	refresh(true, "private key does not match public key")
	refresh(false, "")
	expect("first")
	if err := source.Reload(); err == nil {
		t.Error("Reload of a pair that doesn't match: no error")
	}
	move(other.Key, files.Key)
	refresh(true, "")
	expect("second")
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	refresh(true, "key.pem: no such file or directory")
	refresh(false, "")
	expect("second")
	ca.Renew(files, "third")
	refresh(true, "")
	refresh(false, "")
	expect("third")
}

// TestRefreshFollowsLinks: Kubernetes replaces a link to the directory of all files.
func TestRefreshFollowsLinks(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	dir := t.TempDir()
	link := filepath.Join(dir, "data")
	to := func(files certs.Files) {
		t.Helper()
		if err := os.Symlink(filepath.Dir(files.Certificate), link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
	}
	to(ca.Server("first"))
	source, err := certs.Load(certs.Files{Certificate: filepath.Join(link, "cert.pem"), Key: filepath.Join(link, "key.pem")})
	if err != nil {
		t.Fatal(err)
	}
	to(ca.Server("second"))
	if changed, err := source.Refresh(); !changed || err != nil {
		t.Errorf("Refresh: %v, %v", changed, err)
	}
	if got := served(t, source.HTTP(), ca.Trusting()); got != "second" {
		t.Errorf("%s is served", got)
	}
}

func TestLoadErrors(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	files := ca.Server("server")
	huge := filepath.Join(t.TempDir(), "huge.pem")
	if err := os.WriteFile(huge, make([]byte, 1<<20+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		files certs.Files
		want  string
	}{
		"no file":           {certs.Files{Certificate: "nowhere.pem", Key: files.Key}, "nowhere.pem: no such file or directory"},
		"no name":           {certs.Files{Key: files.Key}, "no such file or directory"},
		"the key twice":     {certs.Files{Certificate: files.Key, Key: files.Key}, "failed to find certificate PEM data"},
		"too large":         {certs.Files{Certificate: files.Certificate, Key: huge}, "it has more than 1048576 bytes"},
		"no authority":      {certs.Files{Certificate: files.Certificate, Key: files.Key, ClientCA: files.Key}, "it has no certificate in PEM form"},
		"missing authority": {certs.Files{Certificate: files.Certificate, Key: files.Key, ClientCA: "nowhere.pem"}, "nowhere.pem: no such file or directory"},
	} {
		if _, err := certs.Load(c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClientCA: a client's certificate counts for as long as its authority is in the file, also in sessions that could be resumed.
func TestClientCA(t *testing.T) {
	ca, later := certstest.NewCA(t, "first"), certstest.NewCA(t, "second")
	files := ca.Server("server")
	files.ClientCA = ca.File
	source, err := certs.Load(files)
	if err != nil {
		t.Fatal(err)
	}
	config := source.HTTP()
	client := ca.Trusting(ca.Client("shop", ""))
	client.MaxVersion, client.ClientSessionCache = tls.VersionTLS12, tls.NewLRUClientSessionCache(1) // in TLS 1.2 a refusal ends the handshake
	shake := func() error {
		ours, theirs := net.Pipe()
		defer ours.Close()
		defer theirs.Close()
		refused := make(chan error, 1)
		go func() {
			err := tls.Server(ours, config).Handshake()
			ours.Close()
			refused <- err
		}()
		_ = tls.Client(theirs, client).Handshake() // the server's error says more
		theirs.Close()
		return <-refused
	}
	for range 2 {
		if err := shake(); err != nil {
			t.Error(err)
		}
	}
	if err := os.Rename(later.File, ca.File); err != nil {
		t.Fatal(err)
	}
	if changed, err := source.Refresh(); !changed || err != nil {
		t.Errorf("Refresh: %v, %v", changed, err)
	}
	if err := shake(); err == nil {
		t.Error("a client of a removed authority is accepted")
	}
}
