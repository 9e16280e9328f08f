package auth

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/statordb/stator/internal/access/policy"
)

func TestPrincipals(t *testing.T) {
	for text, want := range map[string]string{
		`{"spiffe://prod/shop":"arn:aws:iam::210987654321:user/ann","cn:shop":"arn:aws:iam::210987654321:role/r","dns:a.b":"arn:x"}`: "",
		`{`:                          "ends too early",
		`{} {}`:                      "more text",
		`[]`:                         "wrong type",
		`{"shop":"arn:x"}`:           "neither a URI nor begins with",
		`{"cn:":"arn:x"}`:            "neither a URI nor begins with",
		`{"cn:shop":"user/ann"}`:     "is no ARN",
		`{"cn:shop":{"user":"ann"}}`: "wrong type",
	} {
		err := new(Authenticator).UsePrincipals([]byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestPeers sends requests with client certificates, signed by keys that the server knows and does not know.
func TestPeers(t *testing.T) {
	list := `{"spiffe://prod/shop":"arn:ann","dns:shop.internal":"arn:ann","email:shop@example.com":"arn:ann","cn:shop":"arn:ann","cn:gone":"arn:gone"}`
	stranger, known := aws.Credentials{AccessKeyID: "any", SecretAccessKey: "x"}, aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}
	wrong := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "x"}
	for _, c := range []struct {
		name    string
		key     aws.Credentials
		peer    *Peer
		file    bool   // there is a credentials file
		account string // of the sender; empty if the request is refused
	}{
		{"a URI", stranger, &Peer{URIs: []string{"spiffe://prod/other", "spiffe://prod/shop"}}, true, "210987654321"},
		{"a DNS name", stranger, &Peer{DNSNames: []string{"shop.internal"}}, true, "210987654321"},
		{"an email address", stranger, &Peer{Emails: []string{"shop@example.com"}}, true, "210987654321"},
		{"a common name", stranger, &Peer{CommonName: "shop"}, true, "210987654321"},
		{"without credentials", stranger, &Peer{CommonName: "shop"}, false, "210987654321"},
		{"a name in the wrong place", stranger, &Peer{CommonName: "shop.internal", DNSNames: []string{"shop"}}, true, ""},
		{"another subject", stranger, &Peer{CommonName: "other"}, true, ""},
		{"a principal that is gone", stranger, &Peer{CommonName: "gone"}, true, ""},
		{"a principal that is gone, without credentials", stranger, &Peer{CommonName: "gone"}, false, ""},
		{"another subject, without credentials", stranger, &Peer{CommonName: "other"}, false, DefaultAccount},
		{"without a certificate", stranger, nil, true, ""},
		{"a known key", known, &Peer{CommonName: "shop"}, true, "123456789012"},
		{"a known key with another secret", wrong, &Peer{CommonName: "shop"}, true, ""},
	} {
		a := &Authenticator{Now: func() time.Time { return signedAt }}
		if c.file {
			a = load(t, signedAt)
		}
		a.Issuer = issuer{}
		if err := a.UsePrincipals([]byte(list)); err != nil {
			t.Fatal(err)
		}
		a.Principal = func(arn string) *policy.Identity {
			if arn != "arn:ann" {
				return nil
			}
			return ann
		}
		r, _ := signedBy(t, c.key)
		r.Peer = c.peer
		id, err := a.Authenticate(r)
		if (err == nil) != (c.account != "") || id.Account != c.account || c.account != "" && id.Verified != (c.account != DefaultAccount) {
			t.Errorf("%s: %+v, %v", c.name, id, err)
		}
		if c.account == "210987654321" && (id.Identity != ann || id.Region != "eu-west-1") {
			t.Errorf("%s: %+v", c.name, id)
		}
	}
}
