package server

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/certs/certstest"
	"github.com/statordb/stator/test/request"
)

// TestAuditLists: the audit log knows what it may show of each operation. A new operation needs a line in internal/audit/operations.txt.
func TestAuditLists(t *testing.T) {
	d := open(t, Options{})
	for _, h := range d.handlers {
		if !audit.Listed(h.Target) {
			t.Errorf("internal/audit/operations.txt lacks %s", h.Target)
		}
	}
}

// auditor is a server with an audit log, and its clients.
type auditor struct {
	account
	client *http.Client
	file   string
}

// audited opens a server whose audit log takes the data events of the selectors.
func audited(t *testing.T, selectors string, opt Options) *auditor {
	t.Helper()
	dir := t.TempDir()
	opt.Listen, opt.InMemory, opt.CredentialsFile = "127.0.0.1:0", true, credentials(t)
	opt.AuditLog = filepath.Join(dir, "audit.log")
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if selectors != "" {
		opt.AuditSelectors = filepath.Join(dir, "selectors.json")
		if err := os.WriteFile(opt.AuditSelectors, []byte(selectors), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &auditor{account: account{t, s, "A", secretA, accountA, opt.CredentialsFile}, client: http.DefaultClient, file: opt.AuditLog}
}

// do sends a request and returns its request id.
func (a *auditor) do(req *http.Request) (id string) {
	a.t.Helper()
	req.Header.Set("User-Agent", "test agent")
	res, err := a.client.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		a.t.Fatal(err)
	}
	return res.Header.Get("X-Amzn-Requestid")
}

// events closes the server and returns what its log has, and the log's text.
func (a *auditor) events(file string) (list []audit.Event, text string) {
	a.t.Helper()
	if err := a.server.Close(); err != nil {
		a.t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		a.t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var e audit.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			a.t.Fatalf("%v: %q", err, line)
		}
		list = append(list, e)
	}
	return list, string(raw)
}

// TestAudit makes requests of every kind and outcome, and compares their events.
func TestAudit(t *testing.T) {
	ca := certstest.NewCA(t, "authority")
	files := ca.Server("server")
	a := audited(t, `[{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::DynamoDB::Table"]},
		{"Field": "eventName", "NotEquals": ["Scan"]}]}]`, Options{TLS: TLSOptions{Certificate: files.Certificate, Key: files.Key}})
	a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Trusting()}}
	defer a.client.CloseIdleConnections()
	table := "arn:aws:dynamodb:us-east-1:" + accountA + ":table/Tab"
	foreign := "arn:aws:dynamodb:us-east-1:" + accountB + ":table/Tab"
	stranger := a.account
	stranger.key = "NOBODY"
	forger := a.account
	forger.secret = "guessed"
	item := obj{"pk": obj{"S": "a"}, "x": obj{"S": "SECRET-VALUE"}}
	var want []audit.Event
	send := func(req *http.Request, e audit.Event) {
		t.Helper()
		e.RequestID = a.do(req)
		want = append(want, e)
	}
	management := audit.Event{EventCategory: "Management", ManagementEvent: true}
	call := func(a account, operation string, in any, e audit.Event) {
		t.Helper()
		e.EventName, e.EventSource = operation, "dynamodb.amazonaws.com"
		send(a.request("DynamoDB_20120810."+operation, in), e)
	}
	call(a.account, "CreateTable", obj{
		"TableName": "Tab", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"), "ResourcePolicy": "SECRET-POLICY",
	}, audit.Event{EventCategory: "Management", ManagementEvent: true, ErrorCode: "ValidationException"})
	call(a.account, "CreateTable", obj{
		"TableName": "Tab", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk"),
	}, management)
	data := audit.Event{EventCategory: "Data", Resources: []audit.Resource{{AccountID: accountA, Type: "AWS::DynamoDB::Table", ARN: table}}}
	call(a.account, "PutItem", obj{"TableName": "Tab", "Item": item}, data)
	a.do(a.request("DynamoDB_20120810.Scan", obj{"TableName": "Tab"})) // no selector takes it
	read := data
	read.ReadOnly = true
	call(a.account, "GetItem", obj{"TableName": table, "Key": obj{"pk": obj{"S": "a"}}}, read)
	failed := data
	failed.ErrorCode = "ConditionalCheckFailedException"
	call(a.account, "PutItem", obj{
		"TableName": "Tab", "Item": item, "ConditionExpression": "x = :x", "ExpressionAttributeValues": obj{":x": obj{"S": "SECRET-CONDITION"}},
	}, failed)
	denied := read
	denied.ErrorCode, denied.Resources = "AccessDeniedException", []audit.Resource{{AccountID: accountB, Type: "AWS::DynamoDB::Table", ARN: foreign}}
	call(a.account, "GetItem", obj{"TableName": foreign, "Key": obj{"pk": obj{"S": "a"}}}, denied)
	invalid := data
	invalid.ErrorCode = "ValidationException"
	call(a.account, "PutItem", obj{"TableName": "Tab", "Item": obj{"pk": obj{"S": "a"}, "n": obj{"N": "SECRET-NUMBER"}}}, invalid)
	call(stranger, "PutItem", obj{"TableName": "Tab", "Item": item}, audit.Event{EventCategory: "Data", ErrorCode: "UnrecognizedClientException"})
	call(forger, "DeleteTable", obj{"TableName": "Tab"}, audit.Event{EventCategory: "Management", ManagementEvent: true, ErrorCode: "InvalidSignatureException"})
	// AWS Query, in which only the body names the operation; and JSON of another API.
	form := func(key, secret string) *http.Request {
		t.Helper()
		body := url.Values{"Action": {"DescribeAlarms"}, "Version": {"2010-08-01"}, "MaxRecords": {"7"}}.Encode()
		req, err := http.NewRequest("POST", a.server.URL()+"/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := request.Sign(req, []byte(body), key, secret, "monitoring"); err != nil {
			t.Fatal(err)
		}
		return req
	}
	alarms := audit.Event{EventName: "DescribeAlarms", EventSource: "monitoring.amazonaws.com", EventCategory: "Management", ManagementEvent: true, ReadOnly: true}
	send(form("A", secretA), alarms)
	alarms.ErrorCode = "UnrecognizedClientException"
	send(form("NOBODY", secretA), alarms)
	send(a.request("AmazonDAXV3.DescribeClusters", obj{}), audit.Event{
		EventName: "DescribeClusters", EventSource: "dax.amazonaws.com", EventCategory: "Management", ManagementEvent: true, ReadOnly: true,
	})

	got, text := a.events(a.file)
	if strings.Contains(text, "SECRET-") || strings.Contains(text, secretA) {
		t.Errorf("the log has a secret: %s", text)
	}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d: %s", len(got), len(want), text)
	}
	for i, e := range got {
		w := want[i]
		same := e.EventName == w.EventName && e.EventSource == w.EventSource && e.EventCategory == w.EventCategory && e.ManagementEvent == w.ManagementEvent &&
			e.ReadOnly == w.ReadOnly && e.ErrorCode == w.ErrorCode && (e.ErrorMessage != "") == (w.ErrorCode != "") && e.RequestID == w.RequestID && len(e.RequestID) > 30
		if len(e.Resources) != len(w.Resources) || len(w.Resources) > 0 && e.Resources[0] != w.Resources[0] {
			same = false
		}
		if !same || e.EventVersion != "1.11" || e.AWSRegion != "us-east-1" || e.SourceIPAddress != "127.0.0.1" || e.UserAgent != "test agent" || e.EventType != "AwsApiCall" {
			t.Errorf("event %d: %+v, want %+v", i, e, w)
		}
		if e.TLSDetails == nil || e.TLSDetails.Version != "TLSv1.3" || "https://"+e.TLSDetails.Host != a.server.URL() {
			t.Errorf("event %d: TLS %+v", i, e.TLSDetails)
		}
		identity := audit.Root(accountA, "A")
		if e.ErrorCode == "UnrecognizedClientException" {
			identity = audit.Unknown("", "NOBODY")
		} else if e.ErrorCode == "InvalidSignatureException" {
			identity = audit.Unknown("", "A")
		}
		if e.UserIdentity != identity || e.RecipientAccountID != identity.AccountID || identity.Type == "Unknown" && e.RequestParameters != nil {
			t.Errorf("event %d: %+v, %v", i, e.UserIdentity, e.RequestParameters)
		}
	}
	if created := got[1].ResponseElements["tableDescription"]; created == nil || created.(map[string]any)["tableName"] != "Tab" {
		t.Errorf("the answer of CreateTable is shown as %v", created)
	}
	if put := got[2].RequestParameters; put["key"].(map[string]any)["pk"] != "a" || len(put["item"].([]any)) != 2 {
		t.Errorf("PutItem is shown as %v", put)
	}
}

// TestAuditDAX: requests through DAX are events too, also those that a cache answers, with their tables and nothing else.
func TestAuditDAX(t *testing.T) {
	dir := t.TempDir()
	file, selectors := filepath.Join(dir, "audit.log"), filepath.Join(dir, "selectors.json")
	text := `[{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::DynamoDB::Table"]}]}]`
	if err := os.WriteFile(selectors, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, addr := openDAXServer(t, Options{AuditLog: file, AuditSelectors: selectors})
	d.createDAXTable()
	c := dialDAX(t, addr, 0)
	c.put("SECRET-KEY", "SECRET-VALUE")
	for range 2 {
		c.get("SECRET-KEY")
	}
	a := &auditor{account: account{t: t, server: d.Server}}
	events, log := a.events(file)
	names := ""
	for _, e := range events {
		names += e.EventName + " "
		if e.EventName == "CreateTable" {
			continue
		}
		if len(e.Resources) != 1 || !strings.HasSuffix(e.Resources[0].ARN, ":table/"+daxTable) || e.AdditionalEventData["protocol"] != "DAX" ||
			e.RequestParameters["tableName"] != daxTable || e.SourceIPAddress != "127.0.0.1" || e.UserIdentity.AccountID != "000000000000" {
			t.Errorf("%+v", e)
		}
	}
	if names != "CreateTable PutItem GetItem GetItem " || strings.Contains(log, "SECRET") {
		t.Errorf("events %s: %s", names, log)
	}
}

// TestAuditRotates: after Reload, events go to a new file of the same name.
func TestAuditRotates(t *testing.T) {
	a := audited(t, "", Options{})
	a.must("ListTables", obj{})
	old := a.file + ".1"
	if err := os.Rename(a.file, old); err != nil {
		t.Fatal(err)
	}
	if err := a.server.Reload(); err != nil {
		t.Fatal(err)
	}
	a.must("DescribeLimits", obj{})
	before, _ := a.events(old)
	after, _ := a.events(a.file)
	// The first event may have waited in the queue until the file had moved.
	if n := len(before) + len(after); n != 2 || len(after) == 0 || after[len(after)-1].EventName != "DescribeLimits" {
		t.Errorf("%d events, after the move %v", n, after)
	}
}

// TestAuditOpenMode: without credentials, a sender has proved nothing. Without selectors there are no data events.
func TestAuditOpenMode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	d := open(t, Options{AuditLog: file})
	d.must("CreateTable", indexedTable("Tab"))
	d.must("GetItem", obj{"TableName": "Tab", "Key": obj{"pk": s("a"), "sk": n(1)}})
	metrics, err := http.Get(d.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer metrics.Body.Close()
	body, err := io.ReadAll(metrics.Body)
	if err != nil || !strings.Contains(string(body), "\nstator_audit_events_total 1\n") {
		t.Errorf("%v: metrics without the count of events", err)
	}
	a := &auditor{account: account{t: t, server: d.Server}}
	events, text := a.events(file)
	if len(events) != 1 || events[0].UserIdentity.Type != "Unknown" || events[0].UserIdentity.AccountID != "000000000000" || events[0].TLSDetails != nil {
		t.Error(text)
	}
}

// TestAuditOptions: options that can't be met fail the start.
func TestAuditOptions(t *testing.T) {
	dir := t.TempDir()
	wrong := filepath.Join(dir, "wrong.json")
	if err := os.WriteFile(wrong, []byte(`[{"FieldSelectors": []}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, opt := range map[string]Options{
		"no such file or directory":       {AuditLog: filepath.Join(dir, "nowhere", "audit.log")},
		"wrong.json: selector 1: it has":  {AuditLog: filepath.Join(dir, "audit.log"), AuditSelectors: wrong},
		"no effect without an audit log":  {AuditSelectors: wrong},
		`"explode" is neither drop nor`:   {AuditLog: filepath.Join(dir, "audit.log"), AuditOverflow: "explode"},
		"nowhere.json: no such file or d": {AuditLog: filepath.Join(dir, "audit.log"), AuditSelectors: filepath.Join(dir, "nowhere.json")},
	} {
		opt.InMemory, opt.Listen = true, "127.0.0.1:0"
		s, err := Open(opt)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if err == nil {
			s.Close()
		}
	}
}
