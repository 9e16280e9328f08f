package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/iam/stsapi"
	"github.com/statordb/stator/internal/smithy"
)

// Issuer is an OpenID Connect provider whose tokens AssumeRoleWithWebIdentity accepts. In a role's trust policy it is
// {"Federated": "arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH"}, of its URL.
type Issuer struct {
	URL string // the claim iss of its tokens
	// Audiences are the accepted values of the claim aud, at least one.
	Audiences []string
	// Keys is the JSON Web Key Set that tokens are signed by: the path of a file, or an https or http URL.
	Keys string
}

const (
	keysFresh   = 10 * time.Minute // age at which keys are read again
	keysRetried = 10 * time.Second // at least between two attempts to read them
	keysTimeout = 5 * time.Second
	maxKeys     = 1 << 20 // bytes of a key set
	clockSkew   = time.Minute
)

// signatures are the algorithms that tokens may be signed by. All of them are asymmetric: an issuer's public key can't sign.
var signatures = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// issuer is an Issuer with its keys.
type issuer struct {
	Issuer
	provider string // host and path, as in ARNs and condition keys
	client   *http.Client
	log      *slog.Logger

	mu    sync.Mutex // held while keys are read
	keys  *jose.JSONWebKeySet
	read  time.Time // when keys were read
	tried time.Time // when reading was last begun
}

// SetIssuers replaces the OpenID Connect providers. It fails, and changes nothing, if one of them is invalid. Providers that are the same as before keep the
// keys that were read.
func (s *Service) SetIssuers(list []Issuer) error {
	out, err := newIssuers(&s.Options, list)
	if err != nil {
		return err
	}
	if old := s.issuers.Load(); old != nil {
		for i, next := range out {
			if at := slices.IndexFunc(*old, func(o *issuer) bool {
				return o.URL == next.URL && o.Keys == next.Keys && slices.Equal(o.Audiences, next.Audiences)
			}); at >= 0 {
				out[i] = (*old)[at]
			}
		}
	}
	s.issuers.Store(&out)
	return nil
}

// Issuers returns the OpenID Connect providers.
func (s *Service) Issuers() (list []Issuer) {
	for _, i := range *s.issuers.Load() {
		list = append(list, i.Issuer)
	}
	return list
}

func newIssuers(opt *Options, list []Issuer) (out []*issuer, err error) {
	client := opt.HTTP
	if client == nil {
		client = &http.Client{Timeout: keysTimeout}
	}
	for _, i := range list {
		u, err := url.Parse(i.URL)
		switch {
		case err != nil:
			return nil, err
		case u.Scheme != "https" && u.Scheme != "http", u.Host == "":
			return nil, fmt.Errorf("issuer %s: it must be an http or https URL", i.URL)
		case len(i.Audiences) == 0:
			return nil, fmt.Errorf("issuer %s: it has no audience", i.URL)
		case i.Keys == "":
			return nil, fmt.Errorf("issuer %s: it has no keys", i.URL)
		}
		out = append(out, &issuer{Issuer: i, provider: strings.TrimSuffix(u.Host+u.Path, "/"), client: client, log: opt.Logger})
	}
	return out, nil
}

// set returns the issuer's keys. If they are old, or kid is not among them, it reads them again; if that fails, it keeps the keys that it has.
func (i *issuer) set(ctx context.Context, kid string, now time.Time) (*jose.JSONWebKeySet, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	fresh := i.keys != nil && now.Sub(i.read) < keysFresh && len(i.keys.Key(kid)) > 0
	if fresh || !i.tried.IsZero() && now.Sub(i.tried) < keysRetried {
		if i.keys == nil {
			return nil, errors.New("the keys could not be read")
		}
		return i.keys, nil
	}
	i.tried = now
	keys, err := i.load(ctx)
	if err != nil {
		i.log.Warn("reading the keys of an OpenID Connect provider", "issuer", i.URL, "error", err)
		if i.keys == nil {
			return nil, err
		}
		return i.keys, nil
	}
	i.keys, i.read = keys, now
	return keys, nil
}

// load reads the issuer's keys.
func (i *issuer) load(ctx context.Context) (*jose.JSONWebKeySet, error) {
	from, err := i.open(ctx)
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxKeys+1))
	if err = errors.Join(err, from.Close()); err != nil {
		return nil, err
	}
	if len(raw) > maxKeys {
		return nil, fmt.Errorf("more than %d bytes", maxKeys)
	}
	keys := new(jose.JSONWebKeySet)
	if err := json.Unmarshal(raw, keys); err != nil {
		return nil, err
	}
	keys.Keys = slices.DeleteFunc(keys.Keys, func(k jose.JSONWebKey) bool { return !k.IsPublic() || !k.Valid() })
	if len(keys.Keys) == 0 {
		return nil, errors.New("no public keys")
	}
	return keys, nil
}

func (i *issuer) open(ctx context.Context) (io.ReadCloser, error) {
	if !strings.HasPrefix(i.Keys, "https://") && !strings.HasPrefix(i.Keys, "http://") {
		return os.Open(i.Keys)
	}
	// The keys serve later requests too, so they are read even if this one's client goes.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, i.Keys, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	answer, err := i.client.Do(request)
	if err != nil {
		cancel()
		return nil, err
	}
	body := canceling{answer.Body, cancel}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("HTTP status %d", answer.StatusCode), body.Close())
	}
	return body, nil
}

// canceling ends a request's context when its body is closed.
type canceling struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c canceling) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// AWS's errors for tokens of web identities ("AssumeRoleWithWebIdentity").
var (
	errIdentityToken = awserr.New(invalidIdentity, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	errSignature     = awserr.New(invalidIdentity, "Couldn't retrieve verification key from your identity provider, please reference AssumeRoleWithWebIdentity documentation for requirements")
	errAudience      = awserr.New(invalidIdentity, "Incorrect token audience")
	errWebExpired    = awserr.New(expiredIdentity, "Token is expired or not yet valid.")
	errWebRefused    = awserr.New(awserr.AccessDenied, "Not authorized to perform sts:AssumeRoleWithWebIdentity")
)

// claims verifies a web identity's token and returns its issuer, its claims and the accepted audience.
func (s *Service) claims(ctx context.Context, text string) (from *issuer, claims *jwt.Claims, audience string, err error) {
	token, err := jwt.ParseSigned(text, signatures)
	if err != nil || len(token.Headers) != 1 {
		return nil, nil, "", errIdentityToken
	}
	var unverified jwt.Claims
	if err := token.UnsafeClaimsWithoutVerification(&unverified); err != nil {
		return nil, nil, "", errIdentityToken
	}
	issuers := *s.issuers.Load()
	at := slices.IndexFunc(issuers, func(i *issuer) bool { return i.URL == unverified.Issuer })
	if at < 0 {
		return nil, nil, "", awserr.New(invalidIdentity, "No OpenIDConnect provider found in your account for "+unverified.Issuer)
	}
	from = issuers[at]
	now := s.Now()
	kid := token.Headers[0].KeyID
	keys, err := from.set(ctx, kid, now)
	if err != nil {
		return nil, nil, "", awserr.New(providerProblem, "The keys of the identity provider "+from.URL+" can't be read.")
	}
	claims = new(jwt.Claims)
	verified := slices.ContainsFunc(keys.Key(kid), func(k jose.JSONWebKey) bool {
		*claims = jwt.Claims{}
		return (k.Use == "" || k.Use == "sig") && (k.Algorithm == "" || k.Algorithm == token.Headers[0].Algorithm) && token.Claims(k.Key, claims) == nil
	})
	switch {
	case !verified:
		return nil, nil, "", errSignature
	case claims.Issuer != from.URL || claims.Subject == "" || claims.Expiry == nil:
		return nil, nil, "", errIdentityToken
	case claims.ValidateWithLeeway(jwt.Expected{Time: now}, clockSkew) != nil:
		return nil, nil, "", errWebExpired
	}
	accepted := slices.IndexFunc(from.Audiences, claims.Audience.Contains)
	if accepted < 0 {
		return nil, nil, "", errAudience
	}
	return from, claims, from.Audiences[accepted], nil
}

// assumeRoleWithWebIdentity needs no signature: the token says who the caller is.
func (s *Service) assumeRoleWithWebIdentity(ctx context.Context, call *smithy.Call, in *stsapi.AssumeRoleWithWebIdentityRequest) (*stsapi.AssumeRoleWithWebIdentityResponse, error) {
	arn := in.RoleArn.Value
	r, err := s.roleByARN(arn)
	if err != nil {
		return nil, err
	}
	from, claims, audience, err := s.claims(ctx, in.WebIdentityToken.Value)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, errWebRefused
	}
	prefix := strings.ToLower(from.provider) + ":"
	own := keys{}.one(prefix+"sub", claims.Subject).one(prefix+"aud", audience).one("sts:rolesessionname", in.RoleSessionName.Value).resourceTags(r.Tags)
	own.one("aws:federatedprovider", "arn:aws:iam::"+r.Account+":oidc-provider/"+from.provider)
	trust, err := r.Trust.compile(policy.OfTrust)
	if err != nil {
		return nil, err
	}
	request := &policy.Request{
		Principal: &policy.Principal{Federated: from.provider}, Action: "sts:AssumeRoleWithWebIdentity", Resource: arn, Owner: r.Account, Context: s.context(call, own),
	}
	if !policy.DecideTrust(request, nil, policy.Set{Resource: trust}).Allowed {
		return nil, errWebRefused
	}
	duration := in.DurationSeconds.Or(defaultRoleSession)
	if duration > r.MaxSession {
		return nil, errTooLong
	}
	v := newRoleSession(r, in.RoleSessionName.Value)
	packed, err := s.limit(v, in.Policy, in.PolicyArns)
	if err != nil {
		return nil, err
	}
	credentials, err := s.issue(v, duration)
	return &stsapi.AssumeRoleWithWebIdentityResponse{
		Credentials: credentials, AssumedRoleUser: v.assumed(), PackedPolicySize: packed,
		SubjectFromWebIdentityToken: smithy.Some(claims.Subject), Provider: smithy.Some(from.URL), Audience: smithy.Some(audience),
	}, err
}
