// Package auth tells who sent a request: it reads AWS Signature Version 4 and, where credentials are configured, verifies
// it. Source of the rules: "AWS Signature Version 4 for API requests".
package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
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
	Method, Path, Query string
	// Header returns a header's value; name is in lower case.
	Header func(name string) string
	Body   []byte
}

// Identity is who sent a request.
type Identity struct {
	AccessKey string
	Account   string // twelve digits
	Region    string
}

// Credential is an access key that the server knows.
type Credential struct {
	AccessKeyID     string `json:"accessKeyId"`
	SecretAccessKey string `json:"secretAccessKey"`
	Account         string `json:"account"`
}

// Authenticator reads and verifies signatures. The zero value accepts any access key.
type Authenticator struct {
	// Now is the clock; needed only with credentials.
	Now func() time.Time

	credentials map[string]Credential
	keys        sync.Map // signing keys by credential scope
}

var accountPattern = regexp.MustCompile(`^[0-9]{12}$`)

// Load reads credentials from a file: a JSON list of objects with accessKeyId, secretAccessKey and account (twelve digits;
// DefaultAccount if it is missing).
func Load(file string, now func() time.Time) (*Authenticator, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []Credential
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("credentials file %s: %w", file, err)
	}
	a := &Authenticator{Now: now, credentials: map[string]Credential{}}
	for i, c := range list {
		if c.Account == "" {
			c.Account = DefaultAccount
		}
		if c.AccessKeyID == "" || c.SecretAccessKey == "" || !accountPattern.MatchString(c.Account) {
			return nil, fmt.Errorf("credentials file %s: entry %d needs accessKeyId, secretAccessKey and an account of twelve digits", file, i+1)
		}
		a.credentials[c.AccessKeyID] = c
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("credentials file %s has no entries", file)
	}
	return a, nil
}

// Verifies reports whether signatures are verified.
func (a *Authenticator) Verifies() bool { return a.credentials != nil }

// signature is a parsed signature.
type signature struct {
	accessKey, date, region, service string
	signedHeaders, signature         string
	time                             string
	presigned                        bool
	expires                          time.Duration
}

// Authenticate returns who sent the request, or AWS's refusal.
func (a *Authenticator) Authenticate(r *Request) (Identity, *awserr.Error) {
	header := r.Header("authorization")
	var sig signature
	var err *awserr.Error
	switch {
	case header != "":
		sig, err = parseHeader(header, r)
	case strings.Contains(r.Query, "X-Amz-Algorithm="):
		sig, err = parseQuery(r)
	default:
		return Identity{}, awserr.New(awserr.MissingAuthenticationToken, "Request is missing Authentication Token")
	}
	if err != nil {
		return Identity{}, err
	}
	id := Identity{AccessKey: sig.accessKey, Account: DefaultAccount, Region: sig.region}
	if a.credentials == nil {
		return id, nil
	}
	c, known := a.credentials[sig.accessKey]
	if !known {
		return id, awserr.New(awserr.UnrecognizedClient, "The security token included in the request is invalid.")
	}
	id.Account = c.Account
	return id, a.verify(r, &sig, c.SecretAccessKey)
}

// parseHeader reads the Authorization header.
func parseHeader(header string, r *Request) (sig signature, _ *awserr.Error) {
	if !strings.HasPrefix(header, algorithm) {
		return sig, awserr.New(awserr.IncompleteSignature, "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization="+firstWord(header))
	}
	var credential string
	rest := header[len(algorithm):]
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, ",")
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch k {
		case "Credential":
			credential = v
		case "SignedHeaders":
			sig.signedHeaders = v
		case "Signature":
			sig.signature = v
		}
	}
	sig.time = r.Header("x-amz-date")
	if sig.time == "" {
		if t, err := time.Parse(time.RFC1123, r.Header("date")); err == nil {
			sig.time = t.UTC().Format(timeFormat)
		}
	}
	if credential == "" || sig.signature == "" || sig.signedHeaders == "" || sig.time == "" {
		return sig, incomplete(credential, &sig, header)
	}
	return sig, sig.scope(credential)
}

func incomplete(credential string, sig *signature, header string) *awserr.Error {
	var missing []string
	for _, p := range []struct{ name, value string }{{"Credential", credential}, {"Signature", sig.signature}, {"SignedHeaders", sig.signedHeaders}} {
		if p.value == "" {
			missing = append(missing, "Authorization header requires '"+p.name+"' parameter.")
		}
	}
	if sig.time == "" {
		missing = append(missing, "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	return awserr.New(awserr.IncompleteSignature, strings.Join(missing, " ")+" Authorization="+firstWord(header))
}

func firstWord(s string) string {
	word, _, _ := strings.Cut(s, " ")
	return word
}

// parseQuery reads the signature of a presigned request.
func parseQuery(r *Request) (sig signature, _ *awserr.Error) {
	q, err := url.ParseQuery(r.Query)
	if err != nil {
		return sig, awserr.New(awserr.IncompleteSignature, "AWS query-string parameters must be properly encoded")
	}
	var missing []string
	get := func(name string) string {
		v := q.Get(name)
		if v == "" {
			missing = append(missing, "AWS query-string parameters must include '"+name+"'. ")
		}
		return v
	}
	sig.presigned = true
	if q.Get("X-Amz-Algorithm") != algorithm {
		missing = append(missing, "AWS query-string parameters must include 'X-Amz-Algorithm'. ")
	}
	credential := get("X-Amz-Credential")
	sig.signature = get("X-Amz-Signature")
	sig.signedHeaders = get("X-Amz-SignedHeaders")
	sig.time = get("X-Amz-Date")
	if missing != nil {
		return sig, awserr.New(awserr.IncompleteSignature, strings.Join(missing, "")+"Re-examine the query-string parameters.")
	}
	sig.expires = maxSkew
	if v := q.Get("X-Amz-Expires"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || time.Duration(n)*time.Second > maxExpires {
			return sig, awserr.New(awserr.IncompleteSignature, "X-Amz-Expires must be a number of seconds between 0 and 604800")
		}
		sig.expires = time.Duration(n) * time.Second
	}
	return sig, sig.scope(credential)
}

// scope takes a credential apart: access key, date, region, service, "aws4_request".
func (sig *signature) scope(credential string) *awserr.Error {
	parts := strings.Split(credential, "/")
	if n := len(parts); n >= 5 && parts[n-1] == "aws4_request" {
		sig.accessKey = strings.Join(parts[:n-4], "/")
		sig.date, sig.region, sig.service = parts[n-4], parts[n-3], parts[n-2]
		return nil
	}
	return awserr.New(awserr.IncompleteSignature, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '"+credential+"'")
}

func mismatch() *awserr.Error {
	return awserr.New(awserr.InvalidSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

// verify checks the signature's time and value.
func (a *Authenticator) verify(r *Request, sig *signature, secret string) *awserr.Error {
	if _, err := sig.checkTimes(a.Now().UTC()); err != nil {
		return err
	}
	want := sig.sign(r, a.signingKey(secret, sig))
	if subtle.ConstantTimeCompare([]byte(want), []byte(sig.signature)) != 1 {
		return mismatch()
	}
	return nil
}

// checkTimes checks the signature's time and date, and returns the time.
func (sig *signature) checkTimes(now time.Time) (time.Time, *awserr.Error) {
	t, err := time.Parse(timeFormat, sig.time)
	if err != nil {
		return t, awserr.New(awserr.IncompleteSignature, "Date must be in ISO-8601 'basic format'. Got '"+sig.time+"'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	if err := checkTime(t, now, sig); err != nil {
		return t, err
	}
	if !strings.HasPrefix(sig.time, sig.date) {
		return t, awserr.New(awserr.InvalidSignature, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '"+sig.date+"' != '"+sig.time[:8]+"', from '"+sig.time+"'.")
	}
	return t, nil
}

func checkTime(t, now time.Time, sig *signature) *awserr.Error {
	validFor := maxSkew
	if sig.presigned {
		validFor = sig.expires
	}
	switch {
	case t.Add(validFor).Before(now):
		limit := now.Add(-validFor)
		return awserr.New(awserr.InvalidSignature, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %d min.)",
			t.Format(timeFormat), limit.Format(timeFormat), now.Format(timeFormat), int(validFor.Minutes())))
	case t.After(now.Add(maxSkew)):
		limit := now.Add(maxSkew)
		return awserr.New(awserr.InvalidSignature, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + %d min.)",
			t.Format(timeFormat), limit.Format(timeFormat), now.Format(timeFormat), int(maxSkew.Minutes())))
	}
	return nil
}

func mac(key []byte, data string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(data))
	return h.Sum(nil)
}

// maxSigningKeys bounds the memory of signing keys; there is one a day, region and access key.
const maxSigningKeys = 1000

func (a *Authenticator) signingKey(secret string, sig *signature) []byte {
	id := sig.accessKey + "/" + sig.scopeText()
	if k, ok := a.keys.Load(id); ok {
		return k.([]byte)
	}
	key := deriveKey(secret, sig)
	n := 0
	a.keys.Range(func(any, any) bool { n++; return n < maxSigningKeys })
	if n < maxSigningKeys {
		a.keys.Store(strings.Clone(id), key)
	}
	return key
}

// canonicalRequest is the text that is signed.
func canonicalRequest(r *Request, sig *signature) string {
	var b strings.Builder
	path := r.Path
	if path == "" {
		path = "/"
	}
	b.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r.Query) + "\n")
	for _, name := range strings.Split(sig.signedHeaders, ";") {
		b.WriteString(name + ":" + strings.Join(strings.Fields(r.Header(name)), " ") + "\n")
	}
	b.WriteString("\n" + sig.signedHeaders + "\n")
	hash := r.Header("x-amz-content-sha256")
	if hash == "" || !strings.EqualFold(hash, "UNSIGNED-PAYLOAD") {
		sum := sha256.Sum256(r.Body)
		hash = hex.EncodeToString(sum[:])
	}
	b.WriteString(hash)
	return b.String()
}

// canonicalQuery sorts and encodes a query string, without the signature itself.
func canonicalQuery(query string) string {
	if query == "" {
		return ""
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return query
	}
	var pairs []string
	for k, list := range values {
		if k == "X-Amz-Signature" {
			continue
		}
		for _, v := range list {
			pairs = append(pairs, encode(k)+"="+encode(v))
		}
	}
	sort.Strings(pairs)
	return strings.Join(pairs, "&")
}

// encode is RFC 3986's percent-encoding.
func encode(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
