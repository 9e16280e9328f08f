package server

import (
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/certs/certstest"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/smithy/smithytest"
)

// TestClientPrincipals sends requests over connections whose client certificates are mapped to a user, to one that does not exist, and to none.
func TestClientPrincipals(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	files := ca.Server("server")
	principals := filepath.Join(t.TempDir(), "principals.json")
	list := `{"cn:shop":"arn:aws:iam::` + accountA + `:user/shop","spiffe://example.com/gone":"arn:aws:iam::` + accountA + `:user/gone"}`
	if err := os.WriteFile(principals, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := Open(Options{
		Listen: "127.0.0.1:0", InMemory: true, CredentialsFile: credentials(t),
		TLS: TLSOptions{Certificate: files.Certificate, Key: files.Key, ClientCA: ca.File, Principals: principals},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for operation, in := range map[string]obj{"CreateUser": {"UserName": "shop"}} {
		if err := smithytest.Do(t.Context(), server.handlers, smithy.Caller{Account: accountA, Verified: true}, operation, in, nil); err != nil {
			t.Fatal(err)
		}
	}
	stranger, root := account{t, server, "any", "x", accountA, ""}, account{t, server, "A", secretA, accountA, ""}
	for _, c := range []struct {
		name        string
		certificate tls.Certificate
		sender      account
		status      int
		answer      string // part of it
	}{
		{"a mapped subject", ca.Client("shop", "spiffe://example.com/other"), stranger, 400, "User: arn:aws:iam::" + accountA + ":user/shop is not authorized to perform: dynamodb:ListTables"},
		{"a mapped subject without a user", ca.Client("other", "spiffe://example.com/gone"), stranger, 400, "UnrecognizedClientException"},
		{"another subject", ca.Client("other", "spiffe://example.com/other"), stranger, 400, "UnrecognizedClientException"},
		{"a known key", ca.Client("shop", "spiffe://example.com/other"), root, 200, "TableNames"},
	} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Trusting(c.certificate)}}
		res, err := client.Do(c.sender.request(dynamo+"ListTables", obj{}))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		client.CloseIdleConnections()
		if err != nil || res.StatusCode != c.status || !strings.Contains(string(answer), c.answer) {
			t.Errorf("%s: %d %s, %v", c.name, res.StatusCode, answer, err)
		}
	}
}
