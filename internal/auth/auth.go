// Package auth identifies the sender of a request: it reads AWS Signature Version 4 and, if credentials are configured, verifies it.
// Sources of the rules: "AWS Signature Version 4 for API requests" and "Troubleshoot signed requests for AWS APIs".
//
// With credentials, a signature must cover the host and every x-amz-* header of the request, its scope must name the called API, and no
// part of the request may be ambiguous by repetition. Without credentials, a signature is only read, for account and region.
//
//	signature.go    parse a signature from a header or a presigned query
//	canonical.go    the canonical request, which is what is signed
//	sign.go         sign a request; caches derived keys
//	credentials.go  the credentials file and its safe reloading
//	connection.go   the signature that opens a DAX connection
//	peer.go         the subject of a client's TLS certificate
package auth

import (
	"crypto/subtle"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	// maxSkew is how far a signature's time may be from the server's clock.
	maxSkew = 15 * time.Minute
	// maxExpires is the longest life of a presigned request.
	maxExpires = 7 * 24 * time.Hour
)

// DefaultAccount is the account of callers on a server without credentials.
const DefaultAccount = "000000000000"

// Request is the part of an HTTP request that a signature may cover.
type Request struct {
	Method string
	// Path and Query are in the encoded form in which they were sent.
	Path, Query string
	// Header returns the first value of a header. name is in lower case.
	Header func(name string) string
	// Headers yields every header in the order sent, until yield returns false. It is called only with credentials.
	Headers func(yield func(name, value string) bool)
	// Service is the signing name of the called API, e.g. "dynamodb" or "monitoring"; empty accepts any.
	Service string
	// Body is as sent, before decompression.
	Body []byte
	// Peer is the client's verified TLS certificate; nil without mutual TLS.
	Peer *Peer
}

// Identity says which key sent a request. It converts to smithy.Caller.
type Identity struct {
	Account string // twelve digits
	Region  string
	// AccessKey is the access key id of the signature.
	AccessKey string
	// Verified says that the signature was verified, which proves Account.
	Verified bool
	// Operator says that the caller may run the server: its key is an operator's, or the server has no credentials. A user or session may
	// only if an operator's key belongs to its account and, beyond that, its policies allow it.
	Operator bool
	// Identity is the user or session that the key belongs to; nil for the root of Account.
	Identity *policy.Identity
}

// Authenticator reads and verifies signatures. The zero value accepts any access key. It is safe for concurrent use.
type Authenticator struct {
	// Now is the clock.
	Now func() time.Time
	// Issuer knows the access keys of users and sessions; nil for none. It may be set only before the first request.
	Issuer Issuer

	file    *File                   // the credentials file; nil without one
	ring    atomic.Pointer[keyring] // nil without credentials
	derived signingKeys             // cache of the derived keys of the Issuer's access keys
	certified
}

// Issuer issues access keys to users and sessions; IAM and STS do.
type Issuer interface {
	// Credential returns the secret of an access key and its holder. token is that of a session, empty for a user's key. Its error is
	// AWS's refusal of a key that is unknown or inactive, or of a session that is over.
	Credential(accessKey, token string) (secret string, id *policy.Identity, err *awserr.Error)
	// Used notes that an access key has signed a request to a service in a region.
	Used(accessKey, service, region string)
	// Issued reports whether an access key has the form of the Issuer's keys, whether it exists or not.
	Issued(accessKey string) bool
}

// Verifies reports whether signatures are verified.
func (a *Authenticator) Verifies() bool { return a.ring.Load() != nil }

// holder is what the server knows of an access key. Without a secret it knows nothing, and need not: there are no credentials.
type holder struct {
	secret   string
	identity Identity
	regions  []string     // for which the key may sign; empty for all
	derived  *signingKeys // cache of derived keys
}

// find returns the holder of an access key. token is that of a session, or empty. A key that looks issued is refused even without
// credentials if there is no such key any more.
func (a *Authenticator) find(ring *keyring, accessKey, token string) (h holder, err *awserr.Error) {
	if ring != nil {
		if c, ok := ring.credentials[accessKey]; ok {
			if token != "" { // the keys of the file are no sessions'
				return h, unrecognized()
			}
			return holder{c.SecretAccessKey, Identity{AccessKey: c.AccessKeyID, Account: c.Account, Verified: true, Operator: c.Operator}, c.Regions, &ring.keys}, nil
		}
	}
	if a.Issuer != nil {
		var id *policy.Identity
		if h.secret, id, err = a.Issuer.Credential(accessKey, token); err == nil && h.secret != "" {
			// A user can get from its account only what the account's root has.
			operator := ring == nil || ring.operators[id.Account]
			h.identity = Identity{AccessKey: accessKey, Account: id.Account, Verified: true, Operator: operator, Identity: id}
			h.derived = &a.derived
			return h, nil
		}
	}
	if ring != nil || a.Issuer != nil && a.Issuer.Issued(accessKey) {
		if err == nil { // there is no issuer, or the key has no secret to verify a signature with
			err = unrecognized()
		}
		return h, err
	}
	return holder{identity: Identity{AccessKey: accessKey, Account: DefaultAccount, Operator: true}}, nil
}

// Renew returns the identity of a DAX connection as it is now, or AWS's refusal if its access key is not valid any more. id and token are
// those with which the connection was opened.
func (a *Authenticator) Renew(id Identity, token string) (Identity, *awserr.Error) {
	if !id.Verified {
		return id, nil
	}
	h, err := a.find(a.ring.Load(), id.AccessKey, token)
	switch {
	case err != nil:
		return id, err
	case h.identity.Account != id.Account:
		return id, unrecognized()
	}
	h.identity.Region = id.Region
	return h.identity, nil
}

// MayUseBucket reports whether one of the account's keys lists the bucket, by name or by a prefix with an asterisk. Without credentials
// every account may use every bucket.
func (a *Authenticator) MayUseBucket(account, bucket string) bool {
	ring := a.ring.Load()
	if ring == nil {
		return true
	}
	for _, pattern := range ring.buckets[account] {
		prefix, many := strings.CutSuffix(pattern, "*")
		if bucket == pattern || many && strings.HasPrefix(bucket, prefix) {
			return true
		}
	}
	return false
}

// Recognize returns AWS's refusal of a request that Authenticate would refuse regardless of its body, because it names no known key. The
// server calls it before it receives a large body. Without credentials it refuses nothing that a stranger may send.
func (a *Authenticator) Recognize(r *Request) *awserr.Error {
	if a.ring.Load() == nil && a.Issuer == nil {
		return nil
	}
	_, _, err := a.recognize(r)
	return err
}

// recognize parses a request's signature and finds the holder of its key.
func (a *Authenticator) recognize(r *Request) (sig signature, h holder, err *awserr.Error) {
	header := r.Header("authorization")
	switch {
	case header != "":
		sig, err = parseHeader(header, r)
	case strings.Contains(r.Query, "X-Amz-Algorithm="):
		sig, err = parseQuery(r)
	default:
		err = awserr.New(awserr.MissingAuthenticationToken, "Request is missing Authentication Token")
	}
	ring := a.ring.Load()
	if err != nil || ring == nil && a.Issuer == nil {
		return sig, holder{identity: Identity{AccessKey: sig.accessKey, Account: DefaultAccount, Operator: true}}, err
	}
	token := sig.token
	if token == "" {
		token = r.Header("x-amz-security-token")
	}
	h, err = a.find(ring, sig.accessKey, token)
	if err != nil || h.secret == "" {
		switch id, mapped := a.ofPeer(r.Peer); {
		case id != nil:
			return sig, holder{identity: Identity{AccessKey: sig.accessKey, Account: id.Account, Verified: true, Identity: id}}, nil
		case mapped:
			return sig, h, unrecognized()
		}
	}
	return sig, h, err
}

// Authenticate returns the sender of a request, or AWS's refusal.
func (a *Authenticator) Authenticate(r *Request) (Identity, *awserr.Error) {
	sig, h, err := a.recognize(r)
	if err == nil && h.secret != "" {
		err = a.verify(r, &sig, &h)
	}
	if err != nil {
		return Identity{}, err
	}
	if h.identity.Identity != nil {
		a.Issuer.Used(sig.accessKey, sig.service, sig.region)
	}
	h.identity.Region = sig.region
	return h.identity, nil
}

// verify checks everything about a signature by a known key. The value itself comes last, because computing it costs most.
func (a *Authenticator) verify(r *Request, sig *signature, h *holder) *awserr.Error {
	headers := r.headers()
	if len(headers) > maxHeaders {
		return mismatch()
	}
	// One token counts, whether a header or the query brings it.
	if sig.token != "" && headers.value("x-amz-security-token") != "" {
		return unrecognized()
	}
	if _, err := sig.checkTimes(a.Now().UTC()); err != nil {
		return err
	}
	if err := sig.checkScope(r.Service, h.regions, hostRegion(r.Header("host"))); err != nil {
		return err
	}
	if err := sig.checkHeaders(headers); err != nil {
		return err
	}
	if !checkPayload(headers, r.Body) {
		return mismatch()
	}
	key, cached := h.key(sig)
	if !equal(sig.sign(r.Method, r.Path, r.Query, headers, r.Body, key), sig.signature) {
		return mismatch()
	}
	if !cached {
		h.derived.put(sig, key) // only holders of the secret get here, so strangers can't fill the cache
	}
	return nil
}

// key returns the key that is derived from the secret for a signature's scope.
func (h *holder) key(sig *signature) (key []byte, cached bool) {
	if key, cached = h.derived.get(sig); !cached {
		key = deriveKey(h.secret, sig)
	}
	return key, cached
}

// equal compares two signatures in constant time, which reveals nothing about where they differ.
func equal(want, given string) bool {
	return subtle.ConstantTimeCompare([]byte(want), []byte(given)) == 1
}

// checkScope checks the region and service of the credential scope. host is the region in the host name that the request was sent to, or
// empty.
func (sig *signature) checkScope(service string, regions []string, host string) *awserr.Error {
	problems := ""
	if len(regions) > 0 && !slices.Contains(regions, sig.region) || host != "" && host != sig.region {
		problems = "Credential should be scoped to a valid region, not '" + sig.region + "'. "
	}
	if service != "" && sig.service != service {
		problems += "Credential should be scoped to correct service: '" + service + "'. "
	}
	if problems != "" {
		return awserr.New(awserr.InvalidSignature, problems)
	}
	return nil
}

// hostRegion returns the region in an AWS endpoint's name, such as dynamodb.eu-west-1.amazonaws.com, or "" for other names ("AWS service
// endpoints").
func hostRegion(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	for _, domain := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"} {
		if name, ok := strings.CutSuffix(host, domain); ok {
			region := name[strings.LastIndexByte(name, '.')+1:]
			// A region ends with a number; a service name, as in dynamodb.amazonaws.com, doesn't.
			if n := len(region); len(name) > n && n > 2 && region[n-2] == '-' && region[n-1] >= '0' && region[n-1] <= '9' {
				return region
			}
		}
	}
	return ""
}

// unrecognized is AWS's error for an unknown key.
func unrecognized() *awserr.Error {
	return awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
}

// mismatch is AWS's error for a wrong signature. It also answers malformed lists of signed headers and wrong payload hashes.
func mismatch() *awserr.Error {
	return awserr.New(awserr.InvalidSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}
