package server

import (
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestTenants reaches each limit of an account, beside one without limits.
func TestTenants(t *testing.T) {
	var moved atomic.Int64 // the clock stands still unless the test moves it
	began := time.Now()
	a, b := strangers(t, Options{Now: func() time.Time { return began.Add(time.Duration(moved.Load())) }})
	limit := func(limits string) {
		t.Helper()
		text := `[{"accessKeyId":"A","secretAccessKey":"` + secretA + `","account":"` + accountA + `","limits":` + limits + `},
			{"accessKeyId":"B","secretAccessKey":"` + secretB + `","account":"` + accountB + `"},
			{"accessKeyId":"OPERATOR","secretAccessKey":"` + secretB + `","account":"` + accountB + `","operator":true}]`
		if err := os.WriteFile(a.credentials, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.server.ReloadCredentials(); err != nil {
			t.Fatal(err)
		}
		if err := a.server.measureAccounts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	check := func(who account, operation string, in any, want string) {
		t.Helper()
		_, code, message := who.send(who.request("DynamoDB_20120810."+operation, in))
		if code != want {
			t.Errorf("%s: %q: %s, want %q", operation, code, message, want)
		}
	}
	table := func(name string) obj {
		return obj{"TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("pk"), "AttributeDefinitions": []obj{attr("pk", "S")}}
	}
	put := obj{"TableName": "One", "Item": obj{"pk": s("a"), "text": s(strings.Repeat("x", 1000))}}

	limit(`{"tables":1}`)
	check(a, "CreateTable", table("One"), "")
	check(a, "CreateTable", table("Two"), "LimitExceededException")
	check(b, "CreateTable", table("One"), "")
	check(b, "CreateTable", table("Two"), "")

	limit(`{"bytes":1000}`)
	check(a, "PutItem", put, "")
	limit(`{"bytes":1000}`)
	check(a, "PutItem", put, "RequestLimitExceeded")
	check(a, "ExecuteStatement", obj{"Statement": `INSERT INTO "One" VALUE {'pk': 'b'}`}, "RequestLimitExceeded")
	check(a, "GetItem", obj{"TableName": "One", "Key": obj{"pk": s("a")}}, "")
	check(b, "PutItem", put, "")
	check(a, "DeleteItem", obj{"TableName": "One", "Key": obj{"pk": s("a")}}, "")
	limit(`{"bytes":1000}`)
	check(a, "PutItem", put, "")

	limit(`{"requestsPerSecond":2}`)
	for range 2 {
		check(a, "ListTables", obj{}, "")
	}
	check(a, "ListTables", obj{}, "RequestLimitExceeded")
	_, code, _ := a.send(a.request("GraniteServiceVersion20100801.ListMetrics", obj{}))
	if code != "Throttling" && code != "ThrottlingException" {
		t.Errorf("CloudWatch answers %s", code)
	}
	check(b, "ListTables", obj{}, "")
	moved.Store(int64(time.Second))
	check(a, "ListTables", obj{}, "")

	text, err := a.server.metrics.Prometheus(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`stator_account_refused_total{account="` + accountA + `",limit="bytes"} 2`,
		`stator_account_refused_total{account="` + accountA + `",limit="requestsPerSecond"} 2`,
	} {
		if !strings.Contains(string(text), line) {
			t.Errorf("/metrics has no %s", line)
		}
	}
}
