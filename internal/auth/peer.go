package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/statordb/stator/internal/access/policy"
)

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

// certified says which principals the subjects of client certificates are.
type certified struct {
	principals atomic.Pointer[map[string]string] // ARNs by subject; nil without any
	// Principal returns the identity of a principal by its ARN; nil if there is no such principal.
	Principal func(arn string) *policy.Identity
}

// maxPrincipals is the largest file of principals in bytes.
const maxPrincipals = 1 << 20

// subjectForms are the forms of subjects in a file of principals: alternative names of a kind, or the common name. Other subjects are URIs.
var subjectForms = []string{"cn:", "dns:", "email:"}

// PrincipalsFile returns a file that says which principals the subjects of client certificates are: a JSON object of ARNs, by subject.
func PrincipalsFile(name string) *File { return NewFile("principals file", name, maxPrincipals) }

// UsePrincipals maps exactly the subjects that a file's content names. On an error nothing changes.
func (c *certified) UsePrincipals(raw []byte) error {
	list, err := parsePrincipals(raw)
	if err != nil {
		return err
	}
	c.principals.Store(&list)
	return nil
}

func parsePrincipals(raw []byte) (list map[string]string, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if err := d.Decode(&list); err != nil {
		return nil, jsonProblem(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is more text after the object")
	}
	for subject, arn := range list {
		uri := strings.Contains(subject, "://") || strings.HasPrefix(subject, "urn:")
		if !uri && !slices.ContainsFunc(subjectForms, func(form string) bool { return strings.HasPrefix(subject, form) && len(subject) > len(form) }) {
			return nil, fmt.Errorf("the subject %q is neither a URI nor begins with one of %s", subject, strings.Join(subjectForms, " "))
		}
		if !strings.HasPrefix(arn, "arn:") {
			return nil, fmt.Errorf("the principal of %q is no ARN: %q", subject, arn)
		}
	}
	return list, nil
}

// ofPeer returns the principal that the subject of a verified certificate is, nil if that does not exist. mapped is false for other subjects.
func (c *certified) ofPeer(p *Peer) (id *policy.Identity, mapped bool) {
	list := c.principals.Load()
	if p == nil || list == nil {
		return nil, false
	}
	for subject := range p.subjects {
		if arn, known := (*list)[subject]; known {
			return c.Principal(arn), true
		}
	}
	return nil, false
}

// subjects yields the texts that a file of principals can map, the most specific ones first.
func (p *Peer) subjects(yield func(string) bool) {
	for _, uri := range p.URIs {
		if !yield(uri) {
			return
		}
	}
	for _, name := range p.Emails {
		if !yield("email:" + name) {
			return
		}
	}
	for _, name := range p.DNSNames {
		if !yield("dns:" + name) {
			return
		}
	}
	if p.CommonName != "" {
		yield("cn:" + p.CommonName)
	}
}
