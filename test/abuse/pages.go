package abuse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

var pageAttacks = []Attack{
	{Point: 10, Name: "a page of any origin, by CORS", Run: originPages},
	{Point: 10, Name: "a page of any origin, by DNS rebinding", Run: reboundPages},
	{Point: 10, Name: "a page of any origin, by a plain form", Run: formPages},
	{Point: 10, Name: "pages on loopback go on working", Run: localPages},
	{Point: 10, Name: "GET of a page: /metrics and the root", Run: getPages},
}

// page returns a request as a browser sends it for a web page. host is the host in the page's address; lines are further headers.
func (t *Target) page(operation, body, host string, lines ...string) string {
	head, _, _ := strings.Cut(t.Message(Alice, operation, body, lines...), "\r\n\r\n")
	return strings.Replace(head, "host: "+t.Addr, "host: "+host, 1) + "\r\n\r\n" + body
}

// foreign are origins that a developer may have open in a tab.
var foreign = []string{"https://evil.example", "http://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost.evil.example", "https://localhost@evil.example", "http://evil.example:8000",
	"file://", "chrome-extension://abcdef", "http://10.0.0.1", "http://[::2]", "http://127.0.0.1:8000, https://evil.example", ""}

const dropTable = `{"TableName":"light"}`

// originPages: requests that name their page are refused unless the page is on loopback, and the page can't see the answer.
func originPages(ctx context.Context, t *Target) error {
	var failed error
	for _, origin := range foreign {
		for _, c := range []struct{ operation, body string }{{"DeleteTable", dropTable}, {"ListTables", "{}"}, {cloudWatch + "ListMetrics", "{}"}, {autoScaling + "DescribeScalableTargets", `{"ServiceNamespace":"dynamodb"}`}, {daxControl + "DescribeClusters", "{}"}} {
			what := fmt.Sprintf("%s of a page of %q", c.operation, origin)
			r := t.Raw(ctx, t.page(c.operation, c.body, t.Addr, "Origin: "+origin))
			if origin != "" {
				failed = errors.Join(failed, r.Refused(what))
			} else {
				continue // SDKs send no Origin header
			}
			failed = errors.Join(failed, unseen(r, what))
		}
		r := t.Raw(ctx, "OPTIONS / HTTP/1.1\r\nHost: "+t.Addr+"\r\nOrigin: "+origin+"\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-amz-target\r\nAccess-Control-Request-Private-Network: true\r\n\r\n")
		failed = errors.Join(failed, unseen(r, "the preflight of "+origin))
	}
	for _, site := range []string{"cross-site", "same-site"} {
		r := t.Raw(ctx, t.page("DeleteTable", dropTable, t.Addr, "Sec-Fetch-Site: "+site))
		failed = errors.Join(failed, r.Refused("Sec-Fetch-Site "+site+" without an Origin"))
	}
	return errors.Join(failed, t.Call(ctx, Alice, "DescribeTable", dropTable).Is("the table, afterwards", "ok"))
}

// unseen fails if a browser would show the answer to a page of another origin.
func unseen(r Reply, what string) error {
	if r.Err != nil {
		return nil
	}
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Private-Network"} {
		if v := r.Header.Get(name); v != "" {
			return fmt.Errorf("%s is answered with %s: %s", what, name, v)
		}
	}
	return nil
}

// reboundPages: the page's own host name now resolves to this machine (DNS rebinding), so its requests have no foreign origin.
func reboundPages(ctx context.Context, t *Target) error {
	_, port, err := net.SplitHostPort(t.Addr)
	if err != nil {
		return err
	}
	var failed error
	for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example.", "169.254.169.254.nip.io", "a.b", "svc.evil.example", "evil-localhost.example", "[::1].evil.example", "localhost:1@evil.example"} {
		for _, at := range []string{host, host + ":" + port} {
			for _, lines := range [][]string{nil, {"Origin: http://" + at}, {"Sec-Fetch-Site: same-origin"}, {"Origin: http://" + at, "Sec-Fetch-Site: same-origin"}} {
				r := t.Raw(ctx, t.page("DeleteTable", dropTable, at, lines...))
				what := fmt.Sprintf("Host %s %v", at, lines)
				failed = errors.Join(failed, r.Refused(what), unseen(r, what))
			}
		}
		r := t.Raw(ctx, "GET /metrics HTTP/1.1\r\nHost: "+host+"\r\n\r\n")
		failed = errors.Join(failed, r.Refused("/metrics for Host "+host))
	}
	for _, host := range []string{"127.0.0.1", "[::1]", "10.1.2.3", "localhost", "dynamodb", "stator.localhost", "stator.default.svc", "stator.default.svc.cluster.local", "host.docker.internal", "LOCALHOST"} {
		r := t.Raw(ctx, t.page("ListTables", "{}", host+":"+port))
		failed = errors.Join(failed, r.Is("Host "+host, "ok"))
	}
	return errors.Join(failed, t.Call(ctx, Alice, "DescribeTable", dropTable).Is("the table, afterwards", "ok"))
}

// formPages: a form needs neither a preflight nor a header of its own.
func formPages(ctx context.Context, t *Target) error {
	form := "Action=PutMetricAlarm&Version=2010-08-01&AlarmName=evil&Namespace=n&MetricName=m&Statistic=Sum&Period=60&EvaluationPeriods=1&Threshold=1&ComparisonOperator=GreaterThanThreshold"
	var failed error
	for _, contentType := range []string{"application/x-www-form-urlencoded", "application/x-www-form-urlencoded; charset=utf-8", "text/plain", "multipart/form-data; boundary=x"} {
		for _, lines := range []string{"", "Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: null\r\n", "Referer: https://evil.example/\r\n"} {
			for _, path := range []string{"/", "/?X-Amz-Target=DynamoDB_20120810.ListTables", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/20260101/us-east-1/monitoring/aws4_request&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00"} {
				r := t.Raw(ctx, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\n%sContent-Length: %d\r\n\r\n%s", path, t.Addr, contentType, lines, len(form), form))
				what := fmt.Sprintf("a form as %s, %s%s", contentType, lines, path)
				failed = errors.Join(failed, r.Refused(what), unseen(r, what))
			}
		}
	}
	r := t.Call(ctx, Alice, cloudWatch+"DescribeAlarms", "{}")
	if failed = errors.Join(failed, r.Is("DescribeAlarms", "ok")); strings.Contains(string(r.Body), "evil") {
		failed = errors.Join(failed, errors.New("the form has made an alarm"))
	}
	return failed
}

// localPages: a developer's own page works, with the headers that Chromium sends.
func localPages(ctx context.Context, t *Target) error {
	var failed error
	for _, origin := range []string{"http://localhost:3000", "http://127.0.0.1:5173", "http://[::1]:8080", "https://localhost", "http://app.localhost:3000"} {
		r := t.Raw(ctx, t.page("ListTables", "{}", t.Addr, "Origin: "+origin, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"))
		failed = errors.Join(failed, r.Is("a page of "+origin, "ok"))
		if v := r.Header.Get("Access-Control-Allow-Origin"); r.Err == nil && v != origin && v != "*" {
			failed = errors.Join(failed, fmt.Errorf("a page of %s may not see its answer: %q", origin, v))
		}
		r = t.Raw(ctx, "OPTIONS / HTTP/1.1\r\nHost: "+t.Addr+"\r\nOrigin: "+origin+"\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization,x-amz-target\r\n\r\n")
		failed = errors.Join(failed, r.Is("the preflight of "+origin, "ok", "204"))
	}
	return failed
}

func getPages(ctx context.Context, t *Target) error {
	var failed error
	for _, path := range []string{"/", "/metrics", "/readyz", "/healthz", "/debug/pprof/"} {
		r := t.Raw(ctx, "GET "+path+" HTTP/1.1\r\nHost: "+t.Addr+"\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n\r\n")
		failed = errors.Join(failed, unseen(r, "GET "+path))
	}
	return failed
}
