package abuse

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

var wireAttacks = []Attack{
	{Point: 8, Name: "Transfer-Encoding with Content-Length, and other ways to smuggle a request", Run: smuggling},
	{Point: 8, Name: "HTTP that is hardly HTTP", Run: strangeHTTP},
	{Point: 8, Name: "heads of 1 MB and of 10,000 lines", Run: largeHeads},
	{Point: 8, Name: "paths, methods and versions", Run: strangePaths},
}

// smuggling sends requests whose end a proxy and a server may see in different places. Each must be refused, and the bytes behind it must
// never run as a request.
func smuggling(ctx context.Context, t *Target) error {
	hidden := t.Message(Alice, "CreateTable", `{"TableName":"smuggled","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]}`)
	chunked := func(lines ...string) string {
		return t.signedHead(Alice, "ListTables", []byte("{}"), -1, lines...) + "\r\n2\r\n{}\r\n0\r\n\r\n" + hidden
	}
	length := func(lines ...string) string {
		return t.signedHead(Alice, "ListTables", []byte("{}"), 2, lines...) + "\r\n{}" + hidden
	}
	var failed error
	for name, message := range map[string]string{
		"Transfer-Encoding and Content-Length":    chunked("Content-Length: 2"),
		"Content-Length and Transfer-Encoding":    length("Transfer-Encoding: chunked"),
		"Content-Length beyond the chunks":        chunked(fmt.Sprintf("Content-Length: %d", len(hidden)+12)),
		"two lengths":                             length("Content-Length: 3"),
		"a list of lengths":                       t.Head(Alice, "ListTables", -1, "Content-Length: 2, 3") + "\r\n2\r\n{}\r\n0\r\n\r\n" + hidden,
		"a negative length":                       strings.Replace(length(), "Content-Length: 2", "Content-Length: -2", 1),
		"a length with a sign":                    strings.Replace(length(), "Content-Length: 2", "Content-Length: +2", 1),
		"a length that is no number":              strings.Replace(length(), "Content-Length: 2", "Content-Length: 0x2", 1),
		"a length of 30 digits":                   strings.Replace(length(), "Content-Length: 2", "Content-Length: 100000000000000000000000000002", 1),
		"Transfer-Encoding: identity, chunked":    strings.Replace(chunked(), ": chunked", ": identity, chunked", 1),
		"Transfer-Encoding: xchunked":             strings.Replace(chunked(), ": chunked", ": xchunked", 1),
		"two Transfer-Encodings":                  chunked("Transfer-Encoding: identity"),
		"a space before the colon, and a length":  length("Transfer-Encoding : chunked"),
		"a tab in Transfer-Encoding and a length": length("Transfer-Encoding:\tchunked"),
		"a chunk size with a sign":                strings.Replace(chunked(), "\r\n2\r\n", "\r\n+2\r\n", 1),
		"a chunk size with 0x":                    strings.Replace(chunked(), "\r\n2\r\n", "\r\n0x2\r\n", 1),
		"a chunk size of 17 digits":               strings.Replace(chunked(), "\r\n2\r\n", "\r\n10000000000000002\r\n", 1),
		"a chunk without its end":                 strings.Replace(chunked(), "{}\r\n0", "{}0", 1),
		"a line of a head that is folded":         length("X-A: b", " Transfer-Encoding: chunked"),
		"a bare CR":                               length("X-A: b\rTransfer-Encoding: chunked"),
		"a NUL in a head":                         length("X-A: b\x00c"),
	} {
		c := t.exchange(ctx, message, 2, true)
		if c[0].Err == nil && c[0].Status >= 500 {
			failed = errors.Join(failed, c[0].Taken(name))
		}
		both := strings.Contains(name, "and Content-Length") || strings.Contains(name, "and Transfer-Encoding") || strings.Contains(name, "two lengths")
		if both && c[0].Err == nil && c[0].Status < 400 {
			failed = errors.Join(failed, fmt.Errorf("%s: %d, want a refusal", name, c[0].Status))
		}
		if c[0].Err != nil || c[0].Status >= 400 {
			// The hidden request must not have run.
			r := t.Call(ctx, Alice, "DescribeTable", `{"TableName":"smuggled"}`)
			failed = errors.Join(failed, r.Is(name+": the hidden request", "ResourceNotFoundException"))
		}
		t.Call(ctx, Alice, "DeleteTable", `{"TableName":"smuggled"}`) // for messages with an unambiguous end
	}
	return failed
}

func strangeHTTP(ctx context.Context, t *Target) error {
	body := "{}"
	message := t.Message(Alice, "ListTables", body)
	lines, _, _ := strings.Cut(message, "\r\n\r\n")
	var failed error
	for _, m := range []string{
		strings.Replace(message, "HTTP/1.1", "HTTP/1.0", 1), strings.Replace(message, "HTTP/1.1", "HTTP/2.0", 1), strings.Replace(message, "HTTP/1.1", "HTTP/9.9", 1),
		strings.Replace(message, " HTTP/1.1", "", 1), strings.Replace(message, "POST / ", "POST http://"+t.Addr+"/ ", 1), strings.Replace(message, "POST / ", "POST http://evil.example/ ", 1),
		strings.ReplaceAll(message, "\r\n", "\n"), strings.ReplaceAll(message, "\r\n", "\r"), "\r\n\r\n" + message, strings.Repeat("\r\n", 100_000) + message,
		lines + "\r\nX-Folded: a\r\n b\r\n\tc\r\n\r\n" + body, lines + "\r\nNo colon\r\n\r\n" + body, lines + "\r\n: no name\r\n\r\n" + body, lines + "\r\nX-\x00: a\r\n\r\n" + body, lines + "\r\nX: \xff\xfe\r\n\r\n" + body,
		lines + "\r\nHost: other\r\n\r\n" + body, strings.Replace(message, "host: "+t.Addr, "host: ", 1), strings.Replace(message, "host: "+t.Addr+"\r\n", "", 1),
		lines + "\r\nExpect: something\r\n\r\n" + body, lines + "\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + body, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", strings.Repeat("\x00", 100_000), strings.Repeat("A", 100_000), "GET / HTTP/1.1\r\n\r\n", "\r\n", " ", "POST",
		t.signedHead(Alice, "ListTables", []byte(body), -1) + "\r\n2;a=b;c=\"d\"\r\n{}\r\n0;x\r\nTrailer: y\r\n\r\n", t.Head(Alice, "ListTables", -1) + "\r\n2" + strings.Repeat(";", 1<<20) + "\r\n{}\r\n0\r\n\r\n",
		t.Head(Alice, "ListTables", -1) + "\r\n" + strings.Repeat("1\r\n{\r\n", 100_000) + "0\r\n\r\n", t.Head(Alice, "ListTables", -1) + "\r\n2\r\n{}\r\n0\r\n" + strings.Repeat("A: b\r\n", 100_000) + "\r\n",
		t.Head(Alice, "ListTables", -1) + "\r\nffffffff\r\n{}", t.Head(Alice, "ListTables", -1) + "\r\n7fffffffffffffff\r\n{}",
	} {
		r := t.Strange(ctx, m)
		if r.Err == nil && r.Status >= 500 && r.Status != 505 && r.Status != 501 {
			failed = errors.Join(failed, r.Taken(fmt.Sprintf("%.80q", m)))
		}
	}
	return failed
}

func largeHeads(ctx context.Context, t *Target) error {
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, "X-%d: y\r\n", i)
	}
	var failed error
	for _, extra := range []string{
		"X-Large: " + strings.Repeat("x", 1<<20) + "\r\n", strings.Repeat("x", 1<<20) + ": y\r\n", many.String(), strings.Repeat("Cookie: a=b\r\n", 10_000), "Authorization: AWS4-HMAC-SHA256 " + strings.Repeat("Credential=a,", 100_000) + "\r\n",
		"X-Amz-Target: " + strings.Repeat("DynamoDB_20120810.", 60_000) + "\r\n",
	} {
		for range 20 {
			r := t.Strange(ctx, "POST / HTTP/1.1\r\nHost: "+t.Addr+"\r\n"+extra+"Content-Length: 2\r\n\r\n{}")
			failed = errors.Join(failed, r.Refused(extra[:20]))
		}
	}
	failed = errors.Join(failed, t.Strange(ctx, "GET /"+strings.Repeat("a", 1<<20)+" HTTP/1.1\r\nHost: "+t.Addr+"\r\n\r\n").Refused("a long path"))
	return failed
}

// strangePaths requests paths that don't exist, and files of the machine.
func strangePaths(ctx context.Context, t *Target) error {
	var failed error
	for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "x", strings.Repeat("M", 1000)} {
		for _, path := range []string{"/", "*", "//", "/../../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%5c..%5cetc/passwd", "/debug/pprof/", "/_stator/clock", "/metrics/../healthz", "/%00", "/%zz", "/?" + strings.Repeat("a=b&", 3000), "/service/GraniteServiceVersion20100801/operation/ListMetrics"} {
			r := t.Strange(ctx, method+" "+path+" HTTP/1.1\r\nHost: "+t.Addr+"\r\nConnection: close\r\n\r\n")
			if r.Err == nil && (r.Status >= 500 && r.Status != 501 || strings.Contains(string(r.Body), "root:")) {
				failed = errors.Join(failed, fmt.Errorf("%s %s: %d %.100s", method, path, r.Status, r.Body))
			}
		}
	}
	return failed
}
