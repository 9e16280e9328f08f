package auth

import (
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/awserr"
)

// issuer issues the keys that it lists, each with the token of its session.
type issuer map[string]struct{ secret, token string }

func (i issuer) Credential(accessKey, token string) (string, *policy.Identity, *awserr.Error) {
	key, ok := i[accessKey]
	if !ok || token != key.token {
		return "", nil, unrecognized()
	}
	return key.secret, ann, nil
}

var ann = &policy.Identity{Principal: policy.Principal{Account: "210987654321", ARN: "arn:aws:iam::210987654321:user/ann"}}

func (issuer) Used(string, string, string) {}

func (issuer) Issued(accessKey string) bool { return strings.HasPrefix(accessKey, "ISSUED") }

// TestIssuer sends requests with keys that the issuer knows, with and without a credentials file.
func TestIssuer(t *testing.T) {
	keys := issuer{"ISSUEDUSER": {secret: "u"}, "ISSUEDSESSION": {"s", "token"}}
	for _, c := range []struct {
		name    string
		key     aws.Credentials
		file    bool   // there is a credentials file
		account string // of the sender; empty if the request is refused
		user    bool
	}{
		{"a user", aws.Credentials{AccessKeyID: "ISSUEDUSER", SecretAccessKey: "u"}, false, "210987654321", true},
		{"a user, beside a file", aws.Credentials{AccessKeyID: "ISSUEDUSER", SecretAccessKey: "u"}, true, "210987654321", true},
		{"a user with another secret", aws.Credentials{AccessKeyID: "ISSUEDUSER", SecretAccessKey: "x"}, false, "", false},
		{"a user with a token", aws.Credentials{AccessKeyID: "ISSUEDUSER", SecretAccessKey: "u", SessionToken: "token"}, false, "", false},
		{"a session", aws.Credentials{AccessKeyID: "ISSUEDSESSION", SecretAccessKey: "s", SessionToken: "token"}, false, "210987654321", true},
		{"a session without its token", aws.Credentials{AccessKeyID: "ISSUEDSESSION", SecretAccessKey: "s"}, false, "", false},
		{"a session with another token", aws.Credentials{AccessKeyID: "ISSUEDSESSION", SecretAccessKey: "s", SessionToken: "x"}, false, "", false},
		{"a deleted key", aws.Credentials{AccessKeyID: "ISSUEDBEFORE", SecretAccessKey: "u"}, false, "", false},
		{"any other key", aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, false, DefaultAccount, false},
		{"any other key of a session", aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test", SessionToken: "x"}, false, DefaultAccount, false},
		{"any other key, beside a file", aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}, true, "", false},
		{"a key of the file", aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret"}, true, "123456789012", false},
		{"a key of the file with a token", aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "secret", SessionToken: "token"}, true, "", false},
	} {
		a := &Authenticator{Now: func() time.Time { return signedAt }}
		if c.file {
			a = load(t, signedAt)
		}
		a.Issuer = keys
		r, headers := signedBy(t, c.key)
		id, err := a.Authenticate(r)
		if (err == nil) != (c.account != "") || id.Account != c.account || (id.Identity != nil) != c.user || id.Verified != (c.account != "" && c.account != DefaultAccount) {
			t.Errorf("%s: %+v, %v", c.name, id, err)
		}
		if refused := a.Recognize(r); refused != nil && err == nil {
			t.Errorf("%s: the body would not be received: %v", c.name, refused)
		}
		if err != nil {
			continue
		}
		if renewed, err := a.Renew(id, c.key.SessionToken); renewed != id || err != nil {
			t.Errorf("%s: the identity is renewed as %+v, %v", c.name, renewed, err)
		}
		if c.key.SessionToken != "" && c.user {
			delete(headers, "x-amz-security-token")
			if _, err := a.Authenticate(r); err == nil {
				t.Errorf("%s: the token is not needed", c.name)
			}
		}
	}
}

// signedBy returns a request that AWS's SDK has signed.
func signedBy(t *testing.T, key aws.Credentials) (*Request, map[string]string) {
	t.Helper()
	request := httptest.NewRequest("POST", "http://localhost:8000/", nil)
	if err := v4.NewSigner().SignHTTP(context.Background(), key, request, payloadHash(nil), "dynamodb", "eu-west-1", signedAt); err != nil {
		t.Fatal(err)
	}
	headers := map[string]string{"host": "localhost:8000"}
	for name := range request.Header {
		headers[strings.ToLower(name)] = request.Header.Get(name)
	}
	return of(&Request{Method: "POST", Path: "/", Service: "dynamodb"}, headers), headers
}

// TestIssuerWithoutSecret refuses a key whose secret the Issuer does not know: its signatures could not be verified.
func TestIssuerWithoutSecret(t *testing.T) {
	for _, file := range []bool{false, true} {
		a := &Authenticator{Now: func() time.Time { return signedAt }}
		if file {
			a = load(t, signedAt)
		}
		a.Issuer = issuer{"ISSUEDUSER": {}}
		r, _ := signedBy(t, aws.Credentials{AccessKeyID: "ISSUEDUSER", SecretAccessKey: "any"})
		if id, err := a.Authenticate(r); err == nil || err.Code != awserr.UnrecognizedClient {
			t.Errorf("with a file %v: %+v, %v", file, id, err)
		}
	}
}

// TestOperatorAccounts checks whose users may run the server: those of an account with an operator's key, or of any without a file.
func TestOperatorAccounts(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials.json")
	write := func(account string) {
		text := `[{"accessKeyId":"OP","secretAccessKey":"s","account":"` + account + `","operator":true},{"accessKeyId":"KEY","secretAccessKey":"s","account":"` + ann.Account + `"}]`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	operator := func(a *Authenticator) bool {
		t.Helper()
		a.Issuer = issuer{"ISSUEDUSER": {secret: "u"}}
		r, _ := signedBy(t, aws.Credentials{AccessKeyID: "ISSUEDUSER", SecretAccessKey: "u"})
		id, err := a.Authenticate(r)
		if err != nil {
			t.Fatal(err)
		}
		return id.Operator
	}
	if !operator(&Authenticator{Now: func() time.Time { return signedAt }}) {
		t.Error("without a file, a user may not run the server")
	}
	for account, want := range map[string]bool{ann.Account: true, "333333333333": false} {
		write(account)
		a, err := Load(file, func() time.Time { return signedAt })
		if err != nil {
			t.Fatal(err)
		}
		if got := operator(a); got != want {
			t.Errorf("an operator's key of account %s: %v", account, got)
		}
	}
}
