// Package certstest makes certificates for tests.
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/statordb/stator/internal/certs"
)

// CA is a certificate authority.
type CA struct {
	t           testing.TB
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// File has the authority's certificate.
	File string
}

// NewCA makes an authority whose certificates are valid for an hour around the test.
func NewCA(t testing.TB, name string) *CA {
	t.Helper()
	ca := &CA{t: t, File: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := ca.sign(template)
	var err error
	if ca.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.key = key
	ca.write(ca.File, "CERTIFICATE", der)
	return ca
}

// sign completes and signs a template, by itself while the authority has no certificate yet.
func (ca *CA) sign(template *x509.Certificate) (der []byte, key *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := ca.certificate, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer); err != nil {
		ca.t.Fatal(err)
	}
	return der, key
}

func (ca *CA) write(file, kind string, der []byte) {
	ca.t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
}

// Server writes a certificate for 127.0.0.1, with the name as its subject, and its key. It returns the files, in a directory of their own.
func (ca *CA) Server(name string) certs.Files {
	ca.t.Helper()
	dir := ca.t.TempDir()
	files := certs.Files{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	ca.Renew(files, name)
	return files
}

// Renew replaces a server's certificate and key.
func (ca *CA) Renew(files certs.Files, name string) {
	ca.t.Helper()
	der, key := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.write(files.Certificate, "CERTIFICATE", der)
	ca.write(files.Key, "EC PRIVATE KEY", private)
}

// Client returns a client's certificate with a common name and a URI.
func (ca *CA) Client(name, uri string) tls.Certificate {
	ca.t.Helper()
	at, err := url.Parse(uri)
	if err != nil {
		ca.t.Fatal(err)
	}
	der, key := ca.sign(&x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name}, URIs: []*url.URL{at},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Trusting returns the settings of a client that trusts the authority, and presents the certificates.
func (ca *CA) Trusting(own ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", Certificates: own}
}
