package auth

import "crypto/x509"

// Peer is the subject of a client's verified TLS certificate (mutual TLS). It is immutable.
type Peer struct {
	CommonName string
	// URIs, DNSNames and Emails are subject alternative names. A SPIFFE ID is a URI: spiffe://domain/path.
	URIs, DNSNames, Emails []string
}

// NewPeer returns the subject of a verified certificate.
func NewPeer(c *x509.Certificate) *Peer {
	p := &Peer{CommonName: c.Subject.CommonName, DNSNames: c.DNSNames, Emails: c.EmailAddresses}
	for _, uri := range c.URIs {
		p.URIs = append(p.URIs, uri.String())
	}
	return p
}
