// Package certs loads the certificates of TLS listeners from PEM files and follows changes of the files. All listeners use it.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
)

// Files are paths of PEM files.
type Files struct {
	// Certificate has the server's certificate, then the chain of its issuers. Key has the certificate's private key.
	Certificate, Key string
	// ClientCA has the certificates of the authorities that issue clients' certificates. If it is empty, clients need none.
	ClientCA string
}

// maxFile is the largest file in bytes.
const maxFile = 1 << 20

// Source has the current certificates. It is safe for concurrent use.
type Source struct {
	files   Files
	current atomic.Pointer[configs]

	mu   sync.Mutex
	raw  [3][]byte // what the files had when they were last loaded
	fail string    // the last error, until a load succeeds
}

// configs are the settings of the next connection, by protocol.
type configs struct{ http, dax *tls.Config }

// Load reads the files.
func Load(files Files) (*Source, error) {
	s := &Source{files: files}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// HTTP returns the settings for HTTP/1.1 over TLS 1.2 or newer. With Files.ClientCA, clients must present a certificate. New connections
// follow reloads.
func (s *Source) HTTP() *tls.Config {
	return following(func() *tls.Config { return s.current.Load().http })
}

// DAX returns the settings for DAX over TLS 1.2 or newer. Clients need no certificate, because AWS's clients for DAX can't present any. New
// connections follow reloads.
func (s *Source) DAX() *tls.Config {
	return following(func() *tls.Config { return s.current.Load().dax })
}

// following returns settings that ask current for each connection's.
func following(current func() *tls.Config) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current(), nil },
	}
}

// Reload reads the files again. On an error, such as a key that doesn't match the certificate, the certificates stay as they were.
func (s *Source) Reload() error {
	_, err := s.reload(true)
	return err
}

// Refresh is Reload if the files' content has changed since they were last loaded. changed reports a change, or a new error. It compares
// content for the reasons that auth.Authenticator.Refresh gives.
func (s *Source) Refresh() (changed bool, _ error) { return s.reload(false) }

// reload implements Reload and Refresh.
func (s *Source) reload(always bool) (changed bool, _ error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, err := s.files.read()
	if err == nil && !always && s.fail == "" && equal(raw, s.raw) {
		return false, nil
	}
	if err == nil {
		var loaded *configs
		if loaded, err = s.files.parse(raw); err == nil {
			s.current.Store(loaded)
			s.raw, s.fail = raw, ""
			return true, nil
		}
	}
	// Refresh runs often: report the same error only once, or it would fill the log.
	changed = always || s.fail != err.Error()
	s.fail = err.Error()
	if !changed {
		return false, nil
	}
	return true, err
}

func equal(a, b [3][]byte) bool {
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// read returns the content of the certificate, the key and the clients' authorities.
func (f *Files) read() (raw [3][]byte, err error) {
	for i, name := range []string{f.Certificate, f.Key, f.ClientCA} {
		if i == 2 && name == "" { // clients need no certificate
			continue
		}
		if raw[i], err = readFile(name); err != nil {
			return raw, fmt.Errorf("certificate file %s: %w", name, err)
		}
	}
	return raw, nil
}

func readFile(name string) ([]byte, error) {
	file, err := os.Open(name)
	var at *fs.PathError
	if errors.As(err, &at) {
		return nil, at.Err // the caller names the file
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	raw, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(raw) > maxFile {
		err = fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return raw, err
}

// parse makes the settings of connections.
func (f *Files) parse(raw [3][]byte) (*configs, error) {
	pair, err := tls.X509KeyPair(raw[0], raw[1])
	if err != nil {
		return nil, fmt.Errorf("certificate file %s with key file %s: %w", f.Certificate, f.Key, err)
	}
	base := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	out := &configs{dax: base, http: base.Clone()}
	out.http.NextProtos = []string{"http/1.1"}
	if f.ClientCA != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(raw[2]) {
			return nil, fmt.Errorf("certificate file %s: it has no certificate in PEM form", f.ClientCA)
		}
		out.http.ClientAuth, out.http.ClientCAs = tls.RequireAndVerifyClientCert, pool
		// A resumed session would skip the verification, and so outlive its authority.
		out.http.SessionTicketsDisabled = true
	}
	return out, nil
}
