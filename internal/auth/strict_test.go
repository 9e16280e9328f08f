package auth

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/awserr"
)

// TestSuite verifies every request of AWS's test suite, and that none passes with a changed signature or signed header.
func TestSuite(t *testing.T) {
	raw, err := os.ReadFile("testdata/suite.txt")
	if err != nil {
		t.Fatal(err)
	}
	a := &Authenticator{Now: func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }}
	a.ring.Store(&keyring{credentials: map[string]*Credential{
		"AKIDEXAMPLE": {AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", Account: DefaultAccount},
	}})
	for _, text := range strings.Split(string(raw), "\n=== ")[1:] {
		name, text, _ := strings.Cut(text, "\n")
		check := func(text string) *awserr.Error {
			head, body, _ := strings.Cut(text, "\n\n")
			lines := strings.Split(strings.TrimRight(head, "\n"), "\n")
			target := strings.TrimSuffix(lines[0], " HTTP/1.1")
			r := &Request{Service: "service", Body: []byte(strings.TrimSuffix(body, "\n"))}
			r.Method, target, _ = strings.Cut(target, " ")
			r.Path, r.Query, _ = strings.Cut(target, "?")
			r.Headers = func(yield func(name, value string) bool) {
				for _, line := range lines[1:] {
					if name, value, ok := strings.Cut(line, ":"); ok && !yield(name, value) {
						return
					}
				}
			}
			r.Header = func(name string) (found string) {
				r.Headers(func(n, v string) bool {
					if strings.EqualFold(n, name) {
						found = v
					}
					return found == ""
				})
				return found
			}
			_, err := a.Authenticate(r)
			return err
		}
		if err := check(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, change := range []string{"example.amazonaws.com", "My-Header1:", "20150830T123600Z", "Param1"} {
			changed := strings.Replace(text, change, change+"0", 1)
			if changed != text && check(changed) == nil {
				t.Errorf("%s passes with %s changed", name, change)
			}
		}
	}
}

// signAll signs a POST over all of the headers, whose names are in lower case. Unlike an SDK's signer it leaves out host if it is not among
// them.
func signAll(headers map[string]string, body []byte, region, service string) {
	headers["x-amz-date"] = signedAt.Format(timeFormat)
	names := slices.Sorted(maps.Keys(headers))
	sig := &signature{
		accessKey: "AKID", date: headers["x-amz-date"][:8], region: region, service: service,
		time: headers["x-amz-date"], signedHeaders: strings.Join(names, ";"),
	}
	list := make(fields, len(names))
	for i, name := range names {
		list[i] = field{name, headers[name]}
	}
	headers["authorization"] = algorithm + " Credential=AKID/" + sig.scopeText() + ", SignedHeaders=" + sig.signedHeaders +
		", Signature=" + sig.sign("POST", "/", "", list, body, deriveKey("secret", sig))
}

// signed returns a request signed over the given headers only. The headers in more are added afterwards, unsigned.
func signed(service, region string, headers, more map[string]string) (*Request, map[string]string) {
	body := []byte(`{"TableName":"x"}`)
	all := map[string]string{"host": "localhost:8000", "x-amz-target": "DynamoDB_20120810.GetItem"}
	for k, v := range headers {
		all[k] = v
	}
	for k, v := range headers {
		if v == "" {
			delete(all, k)
		}
	}
	signAll(all, body, region, service)
	for k, v := range more {
		all[k] = v
	}
	return of(&Request{Method: "POST", Path: "/", Body: body, Service: "dynamodb"}, all), all
}

// TestStrict: what a correct signature doesn't excuse.
func TestStrict(t *testing.T) {
	const hash = "x-amz-content-sha256"
	for _, c := range []struct {
		name            string
		service, region string
		headers, more   map[string]string // signed, and not signed
		change          func(r *Request, headers map[string]string)
		code            awserr.Code
		text            string
	}{
		{name: "right"},
		{name: "a target that is not signed", headers: map[string]string{"x-amz-target": ""}, more: map[string]string{"x-amz-target": "DynamoDB_20120810.DeleteItem"},
			code: awserr.InvalidSignature, text: "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "another header of AWS that is not signed", more: map[string]string{"X-Amz-Meta": "1"},
			code: awserr.InvalidSignature, text: "'x-amz-meta' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "a header that is not AWS's", more: map[string]string{"content-type": "application/x-amz-json-1.0"}},
		{name: "a host that is not signed", headers: map[string]string{"host": ""}, more: map[string]string{"host": "h"},
			code: awserr.InvalidSignature, text: "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "another service", service: "sts", code: awserr.InvalidSignature, text: "Credential should be scoped to correct service: 'dynamodb'. "},
		{name: "the host of another region", headers: map[string]string{"host": "dynamodb.us-east-1.amazonaws.com:8000"},
			code: awserr.InvalidSignature, text: "Credential should be scoped to a valid region, not 'eu-west-1'. "},
		{name: "the host of the region", headers: map[string]string{"host": "123456789012.ddb.eu-west-1.amazonaws.com"}},
		{name: "a host without a region", headers: map[string]string{"host": "dynamodb.amazonaws.com"}},
		{name: "a region that the key may not use", region: "us-gov-1", code: awserr.InvalidSignature, text: "Credential should be scoped to a valid region, not 'us-gov-1'. "},
		{name: "no region", region: "a b", code: awserr.InvalidSignature, text: "Credential should be scoped to a valid region, not 'a b'. "},
		{name: "another end of the scope", change: func(_ *Request, h map[string]string) {
			h["authorization"] = strings.Replace(h["authorization"], "aws4_request", "aws5_request", 1)
		}, code: awserr.InvalidSignature, text: "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "},
		{name: "another algorithm", change: func(_ *Request, h map[string]string) {
			h["authorization"] = strings.Replace(h["authorization"], "SHA256", "SHA1", 1)
		}, code: awserr.IncompleteSignature, text: "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1' (only AWS4-HMAC-SHA256 for now). "},
		{name: "a token", headers: map[string]string{"x-amz-security-token": "t"}, code: awserr.UnrecognizedClient, text: "The security token included in the request is invalid."},
		{name: "a token that is not signed", more: map[string]string{"x-amz-security-token": "t"}, code: awserr.UnrecognizedClient, text: "The security token included in the request is invalid."},
		{name: "the body's hash", headers: map[string]string{hash: payloadHash([]byte(`{"TableName":"x"}`))}},
		{name: "another body's hash", headers: map[string]string{hash: payloadHash(nil)}, code: awserr.InvalidSignature, text: "does not match"},
		{name: "no hash of the body", headers: map[string]string{hash: "UNSIGNED-PAYLOAD"}, code: awserr.InvalidSignature, text: "does not match"},
		{name: "chunks", headers: map[string]string{hash: "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}, code: awserr.InvalidSignature, text: "does not match"},
		{name: "two signatures", change: func(_ *Request, h map[string]string) { h["authorization"] += ", Signature=00" },
			code: awserr.IncompleteSignature, text: "more than once"},
		{name: "a target twice", change: func(r *Request, h map[string]string) {
			once := r.Headers
			r.Headers = func(yield func(name, value string) bool) {
				once(yield)
				yield("X-Amz-Target", "DynamoDB_20120810.DeleteTable")
			}
		}, code: awserr.InvalidSignature, text: "The request has the header 'x-amz-target' more than once."},
		{name: "signed headers out of order", change: func(_ *Request, h map[string]string) {
			h["authorization"] = strings.Replace(h["authorization"], "host;", "x-amz-date;host;", 1)
		}, code: awserr.InvalidSignature, text: "does not match"},
		{name: "a signature in capitals", change: func(_ *Request, h map[string]string) {
			head, sig, _ := strings.Cut(h["authorization"], "Signature=")
			h["authorization"] = head + "Signature=" + strings.ToUpper(sig)
		}, code: awserr.InvalidSignature, text: "does not match"},
	} {
		a := load(t, signedAt)
		a.ring.Load().credentials["AKID"].Regions = []string{"eu-west-1", "a b"}
		service, region := c.service, c.region
		if service == "" {
			service = "dynamodb"
		}
		if region == "" {
			region = "eu-west-1"
		}
		r, headers := signed(service, region, c.headers, c.more)
		if c.change != nil {
			c.change(r, headers)
		}
		id, err := a.Authenticate(r)
		switch {
		case c.code == "" && (err != nil || !id.Verified || id.AccessKey != "AKID" || id.Operator):
			t.Errorf("%s: %+v, %v", c.name, id, err)
		case c.code != "" && (err == nil || err.Code != c.code || !strings.Contains(err.Message, c.text)):
			t.Errorf("%s: %v", c.name, err)
		case c.code != "" && id != Identity{}:
			t.Errorf("%s: a refused request returns %+v", c.name, id)
		}
	}
}

// TestPresignedTarget: a presigned request must name what it runs.
func TestPresignedTarget(t *testing.T) {
	presign := func(signedHeaders string, more string, headers fields) string {
		query := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260102%2Feu-west-1%2Fdynamodb%2Faws4_request&X-Amz-Date=20260102T030405Z&X-Amz-Expires=60&X-Amz-SignedHeaders=" +
			strings.ReplaceAll(signedHeaders, ";", "%3B") + more
		sig := &signature{accessKey: "AKID", date: "20260102", region: "eu-west-1", service: "dynamodb", time: "20260102T030405Z", signedHeaders: signedHeaders, presigned: true}
		return query + "&X-Amz-Signature=" + sig.sign("POST", "/", query, headers, nil, deriveKey("secret", sig))
	}
	host, target := field{"host", "h"}, field{"x-amz-target", "DynamoDB_20120810.GetItem"}
	for _, c := range []struct {
		name, query, target string
		code                awserr.Code
	}{
		{"signed", presign("host;x-amz-target", "", fields{host, target}), target.value, ""},
		{"another target", presign("host;x-amz-target", "", fields{host, target}), "DynamoDB_20120810.DeleteItem", awserr.InvalidSignature},
		{"no target signed", presign("host", "", fields{host}), target.value, awserr.InvalidSignature},
		{"a token", presign("host;x-amz-target", "&X-Amz-Security-Token=t", fields{host, target}), target.value, awserr.UnrecognizedClient},
		{"a date twice", presign("host;x-amz-target", "&X-Amz-Date=20260102T030406Z", fields{host, target}), target.value, awserr.IncompleteSignature},
	} {
		r := of(&Request{Method: "POST", Path: "/", Query: c.query, Service: "dynamodb"}, map[string]string{"host": "h", "x-amz-target": c.target})
		_, err := load(t, signedAt).Authenticate(r)
		if (err == nil) != (c.code == "") || err != nil && err.Code != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestConnectionScope: what a DAX connection's signature needs besides being correct.
func TestConnectionScope(t *testing.T) {
	for _, c := range []struct {
		name, scope string
		at          time.Time
		want        string
	}{
		{"right", "20260102/eu-west-1/dax/aws4_request", signedAt, ""},
		{"another service", "20260102/eu-west-1/dynamodb/aws4_request", signedAt, "Credential should be scoped to correct service: 'dax'. "},
		{"a region that the key may not use", "20260102/eu-west-2/dax/aws4_request", signedAt, "Credential should be scoped to a valid region, not 'eu-west-2'. "},
		{"another end", "20260102/eu-west-1/dax/aws5_request", signedAt, "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "},
		{"another day", "20260101/eu-west-1/dax/aws4_request", signedAt, "Date in Credential scope does not match"},
		{"more parts", "x/20260102/eu-west-1/dax/aws4_request", signedAt, "Credential must have exactly 5 slash-delimited elements"},
		{"late", "20260102/eu-west-1/dax/aws4_request", signedAt.Add(-time.Hour), "Signature expired"},
	} {
		a := load(t, signedAt)
		a.ring.Load().credentials["AKID"].Regions = []string{"eu-west-1"}
		parts := strings.Split(c.scope, "/")
		sig := &signature{date: parts[0], region: parts[1], service: parts[2], time: c.at.Format(timeFormat), signedHeaders: daxHeaders}
		key := mac(mac(mac(mac([]byte("AWS4secret"), sig.date), sig.region), sig.service), parts[len(parts)-1])
		headers := fields{{"host", daxHosts[0]}, {"x-amz-date", sig.time}}
		text := algorithm + "\n" + sig.time + "\n" + c.scope + "\n" + payloadHash([]byte(sig.canonicalRequest("POST", "/", "", headers, nil)))
		id, until, err := a.AuthenticateConnection("AKID", "", fmt.Sprintf("%x", mac(key, text)), text)
		if c.want == "" {
			if err != nil || !id.Verified || id.Account != "123456789012" || !until.Equal(c.at.Add(maxSkew)) {
				t.Errorf("%s: %+v, %v, %v", c.name, id, until, err)
			}
		} else if err == nil || !strings.Contains(err.Message, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestWorkOfSignedHeaders: a list of signed headers can't make the server write more than it was sent.
func TestWorkOfSignedHeaders(t *testing.T) {
	a := load(t, signedAt)
	r, headers := signed("dynamodb", "eu-west-1", map[string]string{"a": strings.Repeat("x", 16<<10)}, nil)
	headers["authorization"] = strings.Replace(headers["authorization"], "SignedHeaders=", "SignedHeaders="+strings.Repeat("a;", 16<<10), 1)
	var bytes uint64
	for range 3 { // other goroutines may allocate meanwhile
		used := allocated(func() {
			if _, err := a.Authenticate(r); err == nil {
				t.Error("a header that is signed often passes")
			}
		})
		if bytes == 0 || used < bytes {
			bytes = used
		}
	}
	if bytes > 2<<20 {
		t.Errorf("%d bytes were allocated for a request of 48 KB", bytes)
	}
}

// TestSigningKeys: only keys of known secrets are cached, and the cache is bounded.
func TestSigningKeys(t *testing.T) {
	a := load(t, signedAt)
	kept := func() int { return len(a.ring.Load().keys.keys) }
	for i := range 5 {
		r, headers := signed("dynamodb", fmt.Sprint("region-", i), nil, nil)
		headers["authorization"] = headers["authorization"][:len(headers["authorization"])-2] + "00"
		headers["x-other"] = "1"
		if _, err := a.Authenticate(r); err == nil {
			t.Fatal("a wrong signature passes")
		}
	}
	if kept() != 0 {
		t.Errorf("%d keys are kept for signatures that are wrong", kept())
	}
	for i := range maxSigningKeys + 10 {
		r, _ := signed("dynamodb", fmt.Sprint("region-", i), nil, nil)
		if _, err := a.Authenticate(r); err != nil {
			t.Fatal(err)
		}
	}
	if n := kept(); n == 0 || n > maxSigningKeys {
		t.Errorf("%d keys are kept", n)
	}
	a.ring.Load().keys.put(&signature{accessKey: "AKID", date: "20260103", region: "r", service: "s"}, nil)
	keys := a.ring.Load().keys.keys
	for i := range maxSigningKeys {
		keys[keyScope{"AKID", "20260102", fmt.Sprint(i), "s"}] = nil
	}
	a.ring.Load().keys.put(&signature{accessKey: "AKID", date: "20260103", region: "r2", service: "s"}, nil)
	if len(keys) != 2 {
		t.Errorf("%d keys are left, but only those of an earlier day should go", len(keys))
	}
}

// TestCanonical has forms that AWS's suite lacks.
func TestCanonical(t *testing.T) {
	for given, want := range map[string]string{
		"": "/", "//": "/", "/a/../..": "/", "/a%20b": "/a%2520b", "/service/X/operation/Y": "/service/X/operation/Y", "/a/": "/a/",
	} {
		if got := canonicalPath(given); got != want {
			t.Errorf("path %q: %q", given, got)
		}
	}
	for given, want := range map[string]string{
		"a-b=1&a=2": "a=2&a-b=1", "a=b&a=a": "a=a&a=b", "a": "a=", "a=%7e%2f": "a=~%2F", "a=%zz": "a=%25zz", "a=b=c": "a=b%3Dc", "&a=1&": "a=1",
	} {
		if got := canonicalQuery(given, false); got != want {
			t.Errorf("query %q: %q", given, got)
		}
	}
	if got := canonicalQuery("X-Amz-Signature=1&b=1", false); !slices.Contains([]string{"X-Amz-Signature=1&b=1"}, got) {
		t.Errorf("the query of a request with a header has %q signed", got)
	}
}
