package abuse

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

var signatureAttacks = []Attack{
	{Point: 11, Name: "headers that are not signed", Needs: Needs{Credentials: true}, Run: unsignedHeaders},
	{Point: 11, Name: "a GetItem that is replayed as a DeleteItem", Needs: Needs{Credentials: true}, Run: replays},
	{Point: 11, Name: "a signed CBOR request that is replayed as a form", Needs: Needs{Credentials: true}, Run: otherProtocol},
	{Point: 11, Name: "scopes of another service, region, day and end", Needs: Needs{Credentials: true}, Run: scopes},
	{Point: 11, Name: "UNSIGNED-PAYLOAD, other hashes, unknown session tokens", Needs: Needs{Credentials: true}, Run: payloads},
	{Point: 11, Name: "presigned URLs that do not name what they run", Needs: Needs{Credentials: true}, Run: presigned},
	{Point: 11, Name: "DAX connections with another's signature", Needs: Needs{Credentials: true, DAX: true}, Run: daxSignatures},
	{Point: 11, Name: "texts in place of signatures", Needs: Needs{Credentials: true}, Run: badSignatures},
}

func hashed(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// signature signs a text ("Create a signed AWS API request").
func (k Key) signature(text, date, region, service string) string {
	sign := func(key []byte, s string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(s))
		return h.Sum(nil)
	}
	return hex.EncodeToString(sign(sign(sign(sign(sign([]byte("AWS4"+k.Secret), date), region), service), "aws4_request"), text))
}

// signed is a request with a correct signature for what it covers, which may be less than required.
type signed struct {
	key     Key
	path    string // empty means /
	query   string
	header  map[string]string // names in lower case
	skip    string            // unsigned headers, separated by spaces
	body    string
	hash    string // replaces the body's hash
	region  string
	service string
	date    string // date of the scope, if different from the time's
	end     string // last element of the scope
	at      time.Time
}

// request returns a correct request. Tests change parts of it before they send it.
func (t *Target) request(operation, body string) *signed {
	return &signed{
		key: Alice, header: map[string]string{"host": t.Addr, "content-type": "application/x-amz-json-1.0", "x-amz-target": target(operation)}, body: body,
		region: "us-east-1", service: service(target(operation)), at: time.Now(), end: "aws4_request",
	}
}

// message returns the request with its signature.
func (s *signed) message() string {
	stamp := s.at.UTC().Format("20060102T150405Z")
	s.header["x-amz-date"] = stamp
	if s.date == "" {
		s.date = stamp[:8]
	}
	hash := s.hash
	if hash == "" {
		hash = hashed(s.body)
	}
	scope := s.date + "/" + s.region + "/" + s.service + "/" + s.end
	names, lines := s.names()
	path := cmp.Or(s.path, "/")
	canonical := "POST\n" + path + "\n" + s.query + "\n" + lines + "\n" + names + "\n" + hash
	signature := s.key.signature("AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hashed(canonical), s.date, s.region, s.service)
	out := "POST " + path
	if s.query != "" {
		out += "?" + s.query
	}
	out += " HTTP/1.1\r\n"
	for name, value := range s.header {
		out += name + ": " + value + "\r\n"
	}
	return out + "authorization: AWS4-HMAC-SHA256 Credential=" + s.key.ID + "/" + scope + ", SignedHeaders=" + names + ", Signature=" + signature +
		fmt.Sprintf("\r\ncontent-length: %d\r\n\r\n%s", len(s.body), s.body)
}

// names returns the signed headers, and their canonical lines.
func (s *signed) names() (names, lines string) {
	skip := strings.Fields(s.skip)
	list := slices.DeleteFunc(slices.Sorted(maps.Keys(s.header)), func(name string) bool { return slices.Contains(skip, name) })
	for _, name := range list {
		lines += name + ":" + s.header[name] + "\n"
	}
	return strings.Join(list, ";"), lines
}

// refused sends changed versions of a valid request. Only the valid one may be executed.
func refused(ctx context.Context, t *Target, changes map[string]func(*signed)) error {
	right := t.request("GetItem", `{"TableName":"light","Key":{"pk":{"S":"item-0"}}}`)
	failed := t.Raw(ctx, right.message()).Is("a right signature", "ok")
	for name, change := range changes {
		s := t.request("GetItem", right.body)
		change(s)
		r := t.Raw(ctx, s.message())
		failed = errors.Join(failed, r.Is(name, "InvalidSignatureException", "IncompleteSignatureException", "UnrecognizedClientException", "MissingAuthenticationTokenException", "AccessDeniedException", "MissingAuthenticationToken"))
	}
	return failed
}

func unsignedHeaders(ctx context.Context, t *Target) error {
	return refused(ctx, t, map[string]func(*signed){
		"host is not signed":                 func(s *signed) { s.skip = "host" },
		"x-amz-target is not signed":         func(s *signed) { s.skip = "x-amz-target" },
		"x-amz-date is not signed":           func(s *signed) { s.skip = "x-amz-date" },
		"x-amz-security-token is not signed": func(s *signed) { s.header["x-amz-security-token"] = "x"; s.skip = "x-amz-security-token" },
		"x-amz-content-sha256 is not signed": func(s *signed) { s.header["x-amz-content-sha256"] = hashed(s.body); s.skip = "x-amz-content-sha256" },
		"x-amz-anything is not signed":       func(s *signed) { s.header["x-amz-anything"] = "x"; s.skip = "x-amz-anything" },
		"nothing is signed":                  func(s *signed) { s.skip = "host x-amz-target x-amz-date content-type" },
	})
}

// replays changes what a correctly signed request does, or when and where.
func replays(ctx context.Context, t *Target) error {
	right := t.request("GetItem", `{"TableName":"light","Key":{"pk":{"S":"item-0"}}}`).message()
	failed := t.Raw(ctx, right).Is("a right signature", "ok")
	for name, message := range map[string]string{
		"another target":   strings.Replace(right, ".GetItem", ".DeleteItem", 1),
		"a second target":  strings.Replace(right, "x-amz-target:", "x-amz-target: DynamoDB_20120810.DeleteItem\r\nx-amz-target:", 1),
		"another body":     strings.Replace(right, "item-0", "item-1", 1),
		"another path":     strings.Replace(right, "POST / ", "POST /x ", 1),
		"another query":    strings.Replace(right, "POST / ", "POST /?a=b ", 1),
		"another host":     strings.Replace(right, "host: "+t.Addr, "host: localhost", 1),
		"another key":      strings.Replace(right, Alice.ID, Operator.ID, 1),
		"another time":     strings.Replace(right, "x-amz-date: 2", "x-amz-date: 3", 1),
		"another encoding": strings.Replace(right, "\r\n\r\n", "\r\ncontent-encoding: gzip\r\nx-amz-encoding: a\r\n\r\n", 1),
	} {
		r := t.Raw(ctx, message)
		failed = errors.Join(failed, r.Refused(name))
	}
	return errors.Join(failed, t.Raw(ctx, right).Is("the item, afterwards", "ok"))
}

func scopes(ctx context.Context, t *Target) error {
	return refused(ctx, t, map[string]func(*signed){
		"service s3":         func(s *signed) { s.service = "s3" },
		"service monitoring": func(s *signed) { s.service = "monitoring" },
		"no service":         func(s *signed) { s.service = "" },
		"no region":          func(s *signed) { s.region = "" },
		"region with /":      func(s *signed) { s.region = "a/b" },
		"region with spaces": func(s *signed) { s.region = "us east" },
		"yesterday's scope":  func(s *signed) { s.date = s.at.Add(-24 * time.Hour).UTC().Format("20060102") },
		"an empty day":       func(s *signed) { s.date = " " },
		"another end":        func(s *signed) { s.end = "aws5_request" },
		"an hour ago":        func(s *signed) { s.at = s.at.Add(-time.Hour) },
		"in an hour":         func(s *signed) { s.at = s.at.Add(time.Hour) },
		"an unknown key":     func(s *signed) { s.key.ID = "AKIDUNKNOWN000000000" },
		"another secret":     func(s *signed) { s.key.Secret = "another" },
		"another's secret":   func(s *signed) { s.key.Secret = Mallory.Secret },
	})
}

func payloads(ctx context.Context, t *Target) error {
	return refused(ctx, t, map[string]func(*signed){
		"UNSIGNED-PAYLOAD": func(s *signed) {
			s.hash = "UNSIGNED-PAYLOAD"
			s.header["x-amz-content-sha256"] = s.hash
		},
		"unsigned-payload": func(s *signed) {
			s.hash = "unsigned-payload"
			s.header["x-amz-content-sha256"] = s.hash
		},
		"UNSIGNED-PAYLOAD, header not signed": func(s *signed) {
			s.hash, s.skip = "UNSIGNED-PAYLOAD", "x-amz-content-sha256"
			s.header["x-amz-content-sha256"] = s.hash
		},
		"STREAMING-AWS4-HMAC-SHA256-PAYLOAD": func(s *signed) {
			s.hash = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
			s.header["x-amz-content-sha256"] = s.hash
		},
		"the hash of another body": func(s *signed) { s.hash = hashed("another"); s.header["x-amz-content-sha256"] = s.hash },
		"the hash of no body":      func(s *signed) { s.hash = hashed("") },
		"an unknown session token": func(s *signed) { s.header["x-amz-security-token"] = "FQoGZXIvYXdzEXAMPLE" },
	})
}

// presigned sends URLs that are signed for one request, with another.
func presigned(ctx context.Context, t *Target) error {
	body := `{"TableName":"light","Key":{"pk":{"S":"item-0"}}}`
	stamp := time.Now().UTC().Format("20060102T150405Z")
	scope := stamp[:8] + "/us-east-1/dynamodb/aws4_request"
	send := func(headers, hash, target, expires string) Reply {
		q := url.Values{"X-Amz-Algorithm": {"AWS4-HMAC-SHA256"}, "X-Amz-Credential": {Alice.ID + "/" + scope}, "X-Amz-Date": {stamp}, "X-Amz-Expires": {expires}, "X-Amz-SignedHeaders": {headers}}
		lines := ""
		for name := range strings.SplitSeq(headers, ";") {
			lines += name + ":" + map[string]string{"host": t.Addr, "x-amz-target": "DynamoDB_20120810.GetItem"}[name] + "\n"
		}
		query := strings.ReplaceAll(q.Encode(), "+", "%20")
		canonical := "POST\n/\n" + query + "\n" + lines + "\n" + headers + "\n" + hash
		signature := Alice.signature("AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hashed(canonical), stamp[:8], "us-east-1", "dynamodb")
		return t.Raw(ctx, fmt.Sprintf("POST /?%s&X-Amz-Signature=%s HTTP/1.1\r\nhost: %s\r\nx-amz-target: DynamoDB_20120810.%s\r\ncontent-length: %d\r\n\r\n%s", query, signature, t.Addr, target, len(body), body))
	}
	return errors.Join(
		send("host", hashed(body), "GetItem", "300").Refused("a presigned URL without a target"),
		send("host", hashed(body), "DeleteItem", "300").Refused("a presigned URL without a target, as a DeleteItem"),
		send("host", "UNSIGNED-PAYLOAD", "GetItem", "300").Refused("a presigned URL of any body"),
		send("host;x-amz-target", hashed(body), "DeleteItem", "300").Refused("a presigned GetItem as a DeleteItem"),
		send("host;x-amz-target", hashed("another"), "GetItem", "300").Refused("a presigned URL of another body"),
		send("x-amz-target", hashed(body), "GetItem", "300").Refused("a presigned URL of any host"),
		send("host;x-amz-target", hashed(body), "GetItem", "9999999").Refused("a presigned URL of 115 days"),
		send("host;x-amz-target", hashed(body), "GetItem", "-1").Refused("a presigned URL of no time"),
	)
}

// daxSignatures authenticates DAX connections with keys that aren't in the file.
func daxSignatures(ctx context.Context, t *Target) error {
	failed := daxClient(ctx, t, Alice)
	for name, key := range map[string]Key{"an unknown key": {ID: "AKIDUNKNOWN000000000", Secret: "x"}, "another secret": {ID: Alice.ID, Secret: Mallory.Secret}, "no key": {}} {
		if err := daxClient(ctx, t, key); err == nil {
			failed = errors.Join(failed, fmt.Errorf("a DAX client with %s is served", name))
		}
	}
	return failed
}

func badSignatures(ctx context.Context, t *Target) error {
	var failed error
	for _, value := range []string{
		"", "x", "Basic YTpi", "Bearer x", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=", "AWS4-HMAC-SHA256 Credential=" + Alice.ID + "/a/b/c/aws4_request,SignedHeaders=host,Signature=00",
		"AWS4-HMAC-SHA256 Credential=" + Alice.ID + "/////,SignedHeaders=host,Signature=00", "AWS4-HMAC-SHA256 " + strings.Repeat("a=b,", 3000), "AWS4-ECDSA-P256-SHA256 Credential=" + Alice.ID + "/20260101/dynamodb/aws4_request,SignedHeaders=host,Signature=00",
		"AWS4-HMAC-SHA256 Credential=" + Alice.ID + "/20260101/us-east-1/dynamodb/aws4_request,SignedHeaders=" + strings.Repeat("host;", 2000) + ",Signature=" + strings.Repeat("0", 64), "AWS " + Alice.ID + ":x",
	} {
		for _, operation := range []string{"ListTables", cloudWatch + "ListMetrics", autoScaling + "DescribeScalableTargets", daxControl + "DescribeClusters", streams + "ListStreams", "Stator_20261101.CreateCheckpoint", "Nothing"} {
			r := t.Raw(ctx, "POST / HTTP/1.1\r\nHost: "+t.Addr+"\r\nX-Amz-Target: "+target(operation)+"\r\nX-Amz-Date: "+time.Now().UTC().Format("20060102T150405Z")+"\r\nAuthorization: "+value+"\r\nContent-Length: 2\r\n\r\n{}")
			failed = errors.Join(failed, r.Refused(operation+" with "+value[:min(len(value), 60)]))
		}
	}
	return failed
}

// otherProtocol replays a signed CBOR request with a form's content type, which need not be signed. The body is valid in both protocols; as
// a form it deletes an alarm.
func otherProtocol(ctx context.Context, t *Target) error {
	failed := t.Call(ctx, Alice, cloudWatch+"PutMetricAlarm", alarm("kept", "SUM([TIME_SERIES(1),TIME_SERIES(2)])")).Is("PutMetricAlarm", "ok")
	form := "x&Action=DeleteAlarms&Version=2010-08-01&AlarmNames.member.1=kept&x="
	s := t.request(cloudWatch+"DescribeAlarms", fmt.Sprintf("\xa1\x6fAlarmNamePrefix\x78%c%s", len(form), form))
	delete(s.header, "x-amz-target")
	s.header["content-type"], s.header["smithy-protocol"] = "application/cbor", "rpc-v2-cbor"
	s.path, s.skip = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms", "content-type smithy-protocol"
	right := s.message()
	failed = errors.Join(failed, t.Raw(ctx, right).Is("a right CBOR request", "ok"))
	asForm := strings.Replace(right, "application/cbor", "application/x-www-form-urlencoded", 1)
	withoutProtocol := strings.Replace(asForm, "smithy-protocol: rpc-v2-cbor\r\n", "", 1)
	for name, message := range map[string]string{
		"as a form":                      asForm,
		"as a form without the protocol": withoutProtocol,
		"as a form of another path":      strings.Replace(withoutProtocol, s.path, "/", 1),
		"as a form with an Action":       strings.Replace(withoutProtocol, s.path, "/?Action=DeleteAlarms", 1),
	} {
		answer := t.Raw(ctx, message)
		if answer.Status != 200 || answer.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" { // the signed DescribeAlarms is harmless
			failed = errors.Join(failed, answer.Refused(name))
		}
		r := t.Call(ctx, Alice, cloudWatch+"DescribeAlarms", `{"AlarmNames":["kept"]}`)
		if !strings.Contains(string(r.Body), `"kept"`) {
			failed = errors.Join(failed, fmt.Errorf("%s: the alarm has gone: %.300s", name, r.Body))
		}
	}
	return failed
}
