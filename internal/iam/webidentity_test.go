package iam

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// provider is an OpenID Connect provider.
type provider struct {
	key  *ecdsa.PrivateKey
	id   string
	read atomic.Int32 // how often its keys were read
}

func newProvider(t *testing.T, id string) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &provider{key: key, id: id}
}

// keySet returns the public keys of providers.
func keySet(t *testing.T, of ...*provider) []byte {
	t.Helper()
	var set jose.JSONWebKeySet
	for _, p := range of {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: &p.key.PublicKey, KeyID: p.id, Algorithm: string(jose.ES256), Use: "sig"})
	}
	raw, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// sign returns a token with claims.
func (p *provider) sign(t *testing.T, claims any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.id}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWebIdentity assumes a role by tokens of configured providers, whose keys are in a file or behind a URL, and by no others.
func TestWebIdentity(t *testing.T) {
	s := newSession(t)
	one, two, stranger := newProvider(t, "one"), newProvider(t, "two"), newProvider(t, "one")
	file := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(file, keySet(t, one), 0o600); err != nil {
		t.Fatal(err)
	}
	served := keySet(t, one)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		one.read.Add(1)
		if _, err := w.Write(served); err != nil {
			t.Error(err)
		}
	}))
	defer web.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	const byFile, byURL, unreachable = "https://id.example/file", "https://id.example/url/", "https://id.example/gone"
	s.OpenID = []Issuer{
		{URL: byFile, Audiences: []string{"stator", "other"}, Keys: file}, {URL: byURL, Audiences: []string{"stator"}, Keys: web.URL},
		{URL: unreachable, Audiences: []string{"stator"}, Keys: broken.URL},
	}
	var err error
	if err = s.SetIssuers(s.OpenID); err != nil {
		t.Fatal(err)
	}
	trust := func(provider, subject string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::` + account + `:oidc-provider/` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"` +
			provider + `:sub":"` + subject + `","` + provider + `:aud":"stator"}}}]}`
	}
	s.do(t, "CreateRole", obj{"RoleName": "file", "AssumeRolePolicyDocument": trust("id.example/file", "pod")}, nil)
	s.do(t, "CreateRole", obj{"RoleName": "url", "AssumeRolePolicyDocument": trust("id.example/url", "pod")}, nil)
	now := jwt.NewNumericDate(s.clock)
	later := jwt.NewNumericDate(s.clock.Add(time.Hour))
	claims := func(issuer string) jwt.Claims {
		return jwt.Claims{Issuer: issuer, Subject: "pod", Audience: jwt.Audience{"x", "stator"}, Expiry: later, IssuedAt: now}
	}
	assume := func(role, token string) (out credentials, err error) {
		err = s.try(t, "AssumeRoleWithWebIdentity", obj{"RoleArn": "arn:aws:iam::" + account + ":role/" + role, "RoleSessionName": "session", "WebIdentityToken": token}, &out)
		return out, err
	}
	for role, issuer := range map[string]string{"file": byFile, "url": byURL} {
		out, err := assume(role, one.sign(t, claims(issuer)))
		if err != nil {
			t.Fatalf("%s: %v", role, err)
		}
		c := out.Credentials
		secret, id, refused := s.Credential(c.AccessKeyId, c.SessionToken, s.clock)
		if refused != nil || secret != c.SecretAccessKey || id.ARN != "arn:aws:sts::"+account+":assumed-role/"+role+"/session" {
			t.Errorf("%s: %v, %v", role, id, refused)
		}
	}
	changed := func(change func(*jwt.Claims)) string {
		c := claims(byFile)
		change(&c)
		return one.sign(t, c)
	}
	none := "eyJhbGciOiJub25lIn0." + strings.Split(one.sign(t, claims(byFile)), ".")[1] + "."
	for name, c := range map[string]struct{ role, token, want string }{
		"garbage":              {"file", "garbage", "InvalidIdentityToken"},
		"unsigned":             {"file", none, "InvalidIdentityToken"},
		"another's signature":  {"file", stranger.sign(t, claims(byFile)), "InvalidIdentityToken: Couldn't"},
		"unknown issuer":       {"file", one.sign(t, claims("https://evil.example")), "InvalidIdentityToken: No OpenIDConnect provider"},
		"unreachable issuer":   {"file", one.sign(t, claims(unreachable)), "IDPCommunicationError"},
		"audience":             {"file", changed(func(c *jwt.Claims) { c.Audience = jwt.Audience{"x"} }), "InvalidIdentityToken: Incorrect"},
		"audience of the role": {"file", changed(func(c *jwt.Claims) { c.Audience = jwt.Audience{"other"} }), "AccessDenied"},
		"subject":              {"file", changed(func(c *jwt.Claims) { c.Subject = "other" }), "AccessDenied"},
		"expired":              {"file", changed(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(s.clock.Add(-2 * time.Minute)) }), "ExpiredWebIdentity"},
		"not yet":              {"file", changed(func(c *jwt.Claims) { c.NotBefore = later }), "ExpiredWebIdentity"},
		"without an end":       {"file", changed(func(c *jwt.Claims) { c.Expiry = nil }), "InvalidIdentityToken"},
		"another provider":     {"url", one.sign(t, claims(byFile)), "AccessDenied"},
		"missing role":         {"none", one.sign(t, claims(byFile)), "AccessDenied"},
		"a key not yet there":  {"url", two.sign(t, claims(byURL)), "InvalidIdentityToken: Couldn't"},
	} {
		if _, err := assume(c.role, c.token); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	// Keys are read when a token needs one that is new, though not too often, and kept when they can't be read.
	if n := one.read.Load(); n != 1 {
		t.Errorf("keys were read %d times within seconds", n)
	}
	served = keySet(t, one, two)
	s.clock = s.clock.Add(keysRetried)
	if _, err := assume("url", two.sign(t, claims(byURL))); err != nil {
		t.Errorf("a new key: %v", err)
	}
	served = []byte("{}")
	s.clock = s.clock.Add(keysFresh)
	if _, err := assume("url", two.sign(t, claims(byURL))); err != nil || one.read.Load() != 3 {
		t.Errorf("keys that can't be read: %v; read %d times", err, one.read.Load())
	}
	for _, bad := range []Issuer{{URL: "id", Audiences: []string{"a"}, Keys: file}, {URL: byFile, Keys: file}, {URL: byFile, Audiences: []string{"a"}}} {
		if _, err := newIssuers(&Options{}, []Issuer{bad}); err == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// TestSetIssuers: a provider that stays keeps its keys, and an invalid one changes nothing.
func TestSetIssuers(t *testing.T) {
	s := newSession(t)
	one, two := Issuer{"https://one.example", []string{"a"}, "one"}, Issuer{"https://two.example", []string{"a"}, "two"}
	set := func(list ...Issuer) []*issuer {
		t.Helper()
		if err := s.SetIssuers(list); err != nil {
			t.Fatal(err)
		}
		return *s.issuers.Load()
	}
	before := set(one, two)
	if after := set(two, one); after[0] != before[1] || after[1] != before[0] {
		t.Error("providers that are the same were made anew")
	}
	other := one
	other.Audiences = []string{"b"}
	if after := set(other); len(after) != 1 || after[0] == before[0] || after[0].Audiences[0] != "b" {
		t.Error("a provider with another audience is the old one")
	}
	if err := s.SetIssuers([]Issuer{one, {}}); err == nil || len(s.Issuers()) != 1 {
		t.Errorf("an invalid provider: %v", err)
	}
}
