// Package auth tells which key sent a request: it reads AWS Signature Version 4 and, where credentials are configured, verifies
// it. Source of the rules: "AWS Signature Version 4 for API requests" and "Troubleshoot signed requests for AWS APIs".
//
// With credentials a signature must cover the host and every x-amz-* header that the request has, its scope must name the API that
// is called, and nothing of the request may say the same thing twice. Without credentials it is only read, for account and region.
package auth

import (
	"crypto/subtle"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	timeFormat = "20060102T150405Z"
	// maxSkew is how far a signature's time may be from the server's.
	maxSkew = 15 * time.Minute
	// maxExpires is the longest life of a presigned request.
	maxExpires = 7 * 24 * time.Hour
)

// DefaultAccount is the account of callers of whom no other is known.
const DefaultAccount = "000000000000"

// Request is what of an HTTP request a signature covers.
type Request struct {
	Method string
	// Path and Query are as they were sent, not decoded.
	Path, Query string
	// Header returns a header's value, its first if there are several; name is in lower case.
	Header func(name string) string
	// Headers calls yield with every header, in the order in which they were sent, until yield returns false. It is needed, and
	// called, only with credentials.
	Headers func(yield func(name, value string) bool)
	// Service is the signing name of the API that is called, e.g. "dynamodb" or "monitoring"; empty accepts any.
	Service string
	// Body is as it was sent, not decompressed.
	Body []byte
}

// Identity is which key sent a request. It converts to smithy.Caller.
type Identity struct {
	Account string // twelve digits
	Region  string
	// AccessKey is the access key id of the signature.
	AccessKey string
	// Verified says that the signature was verified, so that Account is proved.
	Verified bool
	// Operator says that the caller runs the server: its key is an operator's, or the server has no credentials.
	Operator bool
}

// Authenticator reads and verifies signatures. The zero value accepts any access key. It may be used concurrently.
type Authenticator struct {
	// Now is the clock; needed only with credentials.
	Now func() time.Time

	file string // of the credentials
	ring atomic.Pointer[keyring]
	read lastRead
}

// Verifies reports whether signatures are verified.
func (a *Authenticator) Verifies() bool { return a.ring.Load() != nil }

// Known reports whether the access key is one of the account's now. Without credentials every key is.
func (a *Authenticator) Known(accessKey, account string) bool {
	ring := a.ring.Load()
	if ring == nil {
		return true
	}
	c, ok := ring.credentials[accessKey]
	return ok && c.Account == account
}

// MayUseBucket reports whether one of the account's keys lists the bucket, by its name or by a prefix with an asterisk. Without
// credentials every account may use every bucket.
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

// Recognize returns AWS's refusal of a request that Authenticate would refuse whatever its body is: it names no key that the server
// knows. Without credentials it refuses nothing.
func (a *Authenticator) Recognize(r *Request) *awserr.Error {
	ring := a.ring.Load()
	if ring == nil {
		return nil
	}
	_, _, err := recognize(r, ring)
	return err
}

// recognize reads a request's signature and finds its key; nil without credentials.
func recognize(r *Request, ring *keyring) (sig signature, c *Credential, err *awserr.Error) {
	header := r.Header("authorization")
	switch {
	case header != "":
		sig, err = parseHeader(header, r)
	case strings.Contains(r.Query, "X-Amz-Algorithm="):
		sig, err = parseQuery(r)
	default:
		err = awserr.New(awserr.MissingAuthenticationToken, "Request is missing Authentication Token")
	}
	if err != nil || ring == nil {
		return sig, nil, err
	}
	c, known := ring.credentials[sig.accessKey]
	if !known {
		err = unrecognized()
	}
	return sig, c, err
}

// Authenticate returns which key sent the request, or AWS's refusal.
func (a *Authenticator) Authenticate(r *Request) (Identity, *awserr.Error) {
	ring := a.ring.Load()
	sig, c, err := recognize(r, ring)
	switch {
	case err != nil:
		return Identity{}, err
	case ring == nil:
		return Identity{AccessKey: sig.accessKey, Account: DefaultAccount, Region: sig.region, Operator: true}, nil
	}
	if err := a.verify(r, &sig, ring, c); err != nil {
		return Identity{}, err
	}
	return c.identity(&sig), nil
}

// identity is the caller's after its signature was verified.
func (c *Credential) identity(sig *signature) Identity {
	return Identity{AccessKey: c.AccessKeyID, Account: c.Account, Region: sig.region, Verified: true, Operator: c.Operator}
}

// verify checks all that a signature by a known key must have, and its value last.
func (a *Authenticator) verify(r *Request, sig *signature, ring *keyring, c *Credential) *awserr.Error {
	headers := r.headers()
	if len(headers) > maxHeaders {
		return mismatch()
	}
	// Temporary keys, which come with a token, are not made here.
	if sig.token != "" || headers.value("x-amz-security-token") != "" {
		return unrecognized()
	}
	if _, err := sig.checkTimes(a.Now().UTC()); err != nil {
		return err
	}
	if err := sig.checkScope(r.Service, c.Regions, hostRegion(r.Header("host"))); err != nil {
		return err
	}
	if err := sig.checkHeaders(headers); err != nil {
		return err
	}
	if !checkPayload(headers, r.Body) {
		return mismatch()
	}
	key, cached := ring.keys.get(sig)
	if !cached {
		key = deriveKey(c.SecretAccessKey, sig)
	}
	if !equal(sig.sign(r.Method, r.Path, r.Query, headers, r.Body, key), sig.signature) {
		return mismatch()
	}
	if !cached {
		ring.keys.put(sig, key) // only holders of the secret come here
	}
	return nil
}

// equal compares two signatures in a time that tells nothing of where they differ.
func equal(want, given string) bool {
	return subtle.ConstantTimeCompare([]byte(want), []byte(given)) == 1
}

// checkScope checks the region and service of the credential scope. host is the region of the address that the request went
// to, if it has one.
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

// hostRegion returns the region in the name of an endpoint of AWS, such as dynamodb.eu-west-1.amazonaws.com; empty if the host is
// named otherwise ("AWS service endpoints").
func hostRegion(host string) string {
	host, _, _ = strings.Cut(strings.ToLower(host), ":")
	for _, domain := range []string{".amazonaws.com", ".amazonaws.com.cn", ".api.aws"} {
		if name, ok := strings.CutSuffix(host, domain); ok {
			region := name[strings.LastIndexByte(name, '.')+1:]
			// Regions end with a number, names of services (dynamodb.amazonaws.com) don't.
			if n := len(region); len(name) > n && n > 2 && region[n-2] == '-' && region[n-1] >= '0' && region[n-1] <= '9' {
				return region
			}
		}
	}
	return ""
}

func unrecognized() *awserr.Error {
	return awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
}

func mismatch() *awserr.Error {
	return awserr.New(awserr.InvalidSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}
