package audit

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/statordb/stator/internal/access/policy"
)

// everything takes all data events.
const everything = `[
	{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::DynamoDB::Table"]}]},
	{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::DynamoDB::Stream"]}]},
	{"FieldSelectors": [{"Field": "eventCategory", "Equals": ["Data"]}, {"Field": "resources.type", "Equals": ["AWS::CloudWatch::Metric"]}]}]`

// buffer is a file in memory.
type buffer struct{ bytes.Buffer }

func (*buffer) Close() error { return nil }

// music knows one table.
func music(account, region, given string) (arn string, key []string) {
	if strings.HasPrefix(given, "arn:") {
		arn, given = given, given[strings.LastIndexByte(given, '/')+1:]
	} else {
		arn = "arn:aws:dynamodb:" + region + ":" + account + ":table/" + given
	}
	if given == "Music" {
		key = []string{"Artist", "SongTitle"}
	}
	return arn, key
}

// recorded returns the lines that a log with the selectors writes for requests.
func recorded(t testing.TB, selectors string, requests ...*Request) string {
	t.Helper()
	var file buffer
	opt := Options{
		Table: music, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }, Logger: slog.New(slog.DiscardHandler),
		open: func() (io.WriteCloser, error) { return &file, nil },
	}
	if selectors != "" {
		s, err := ParseSelectors([]byte(selectors))
		if err != nil {
			t.Fatal(err)
		}
		opt.Selectors = s
	}
	l, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range requests {
		l.Record(r)
	}
	if err := l.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	return file.String()
}

// request makes a Request of the arguments of a test case.
func request(t *testing.T, d *datadriven.TestData, body string) *Request {
	t.Helper()
	body, answer, _ := strings.Cut(body, "\n=> ")
	r := &Request{Body: []byte(body), Answer: []byte(answer), Region: "us-west-2", Sender: Root("111122223333", "AKID"), ID: "ID", SourceIP: "192.0.2.0", UserAgent: "agent", Host: "h"}
	var sender string
	d.ScanArgs(t, "target", &r.Target)
	d.MaybeScanArgs(t, "error", &r.ErrorCode)
	d.MaybeScanArgs(t, "message", &r.ErrorMessage)
	d.MaybeScanArgs(t, "sender", &sender)
	switch {
	case sender == "stranger":
		r.Sender, r.Body = Unknown("", "AKID"), nil
	case sender != "":
		r.Sender.ARN = sender
	}
	if d.HasArg("tls") {
		r.TLS = func() *tls.ConnectionState {
			return &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}
		}
	}
	return r
}

// TestEvents runs the cases in testdata/events: requests, and what their events show. Without the argument whole, only the members that
// follow from the request are printed. The answer follows the request, behind an arrow.
func TestEvents(t *testing.T) {
	datadriven.RunTest(t, "testdata/events", func(t *testing.T, d *datadriven.TestData) string {
		if d.Cmd != "event" {
			t.Fatalf("unknown command %q", d.Cmd)
		}
		lines := recorded(t, everything, request(t, d, d.Input))
		var e map[string]any
		if err := json.Unmarshal([]byte(lines), &e); err != nil {
			t.Fatalf("%v: %q", err, lines)
		}
		if id, _ := e["eventID"].(string); len(id) != 36 {
			t.Errorf("the event id is %v", e["eventID"])
		}
		e["eventID"] = "UUID"
		if !d.HasArg("whole") {
			for name := range e {
				if !slices.Contains([]string{"requestParameters", "responseElements", "resources", "additionalEventData"}, name) || e[name] == nil {
					delete(e, name)
				}
			}
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(e); err != nil {
			t.Fatal(err)
		}
		return out.String()
	})
}

// TestSelectors runs the cases in testdata/selectors. The command selectors parses selectors; event then says whether they take an event.
func TestSelectors(t *testing.T) {
	selectors := ""
	datadriven.RunTest(t, "testdata/selectors", func(t *testing.T, d *datadriven.TestData) string {
		switch d.Cmd {
		case "selectors":
			selectors = d.Input
			if _, err := ParseSelectors([]byte(d.Input)); err != nil {
				return err.Error() + "\n"
			}
			return "ok\n"
		case "event":
			if recorded(t, selectors, request(t, d, d.Input)) != "" {
				return "recorded\n"
			}
			return "not recorded\n"
		}
		t.Fatalf("unknown command %q", d.Cmd)
		return ""
	})
}

func TestLoadSelectors(t *testing.T) {
	if _, err := LoadSelectors("nowhere.json"); err == nil || !strings.Contains(err.Error(), "nowhere.json") {
		t.Error(err)
	}
	if _, err := LoadSelectors("testdata/events"); err == nil || !strings.Contains(err.Error(), "event selectors testdata/events: it is not JSON at byte") {
		t.Error(err)
	}
}

// TestOperations: no operation shows a member that can hold data of items or a secret.
func TestOperations(t *testing.T) {
	never := []string{
		"ExpressionAttributeValues", "AttributeUpdates", "Expected", "KeyConditions", "QueryFilter", "ScanFilter", "ExclusiveStartKey", "Parameters",
		"NextToken", "ShardIterator", "Items", "Attributes", "Responses", "Records", "LastEvaluatedKey", "SearchVector", "Policy", "ResourcePolicy",
		"PolicyDocument", "SecretAccessKey", "SessionToken", "Token", "ClientToken", "ClientRequestToken", "MetricData", "StateReasonData",
	}
	forms := map[string]form{
		"Key": key, "Item": item, "Statement": statement, "Statements": statements, "TransactStatements": statements, "TransactItems": transact,
	}
	for target, op := range operations() {
		for name, m := range op.request {
			if want, ok := forms[name]; ok && m.form != want || name == "RequestItems" && m.form != gets && m.form != writes || slices.Contains(never, name) {
				t.Errorf("%s shows %s", target, name)
			}
		}
		for name, m := range op.answer {
			if m.form != whole && m.form != parts || m.form == whole && slices.Contains(never, name) {
				t.Errorf("%s shows %s of its answer", target, name)
			}
		}
		// STS's operations are read-only for CloudTrail, which shows whom they gave credentials.
		if op.resource != "" && len(op.answer) > 0 || !op.write && len(op.answer) > 0 && !strings.HasPrefix(target, "STS.") {
			t.Errorf("%s shows its answer, although it changes nothing that CloudTrail shows", target)
		}
	}
	for name, text := range map[string]string{
		"no class": "service S s 1\nGetItem", "another class": "service S s 1\nGetItem look", "another type": "service S s 1\nGetItem read:Shelf",
		"another form": "service S s 1\nGetItem read Key=values", "no end": "service S s 1\nGetItem read A{B C", "twice": "service S s 1\nA read\nA read",
	} {
		if _, err := parseOperations(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestIdentity(t *testing.T) {
	issued := time.Date(2026, 11, 3, 4, 5, 6, 7, time.UTC)
	for _, c := range []struct {
		id   policy.Identity
		want string
	}{
		{
			policy.Identity{Principal: policy.Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:root"}, Type: "Account"},
			`{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":"K"}`,
		},
		{
			policy.Identity{Principal: policy.Principal{Account: "111122223333", ARN: "arn:aws:iam::111122223333:user/ann"}, Type: "User", UserID: "AIDA1", UserName: "ann"},
			`{"type":"IAMUser","principalId":"AIDA1","arn":"arn:aws:iam::111122223333:user/ann","accountId":"111122223333","accessKeyId":"K","userName":"ann"}`,
		},
		{
			policy.Identity{
				Principal: policy.Principal{Account: "111122223333", ARN: "arn:aws:sts::111122223333:assumed-role/shop/s", Role: "arn:aws:iam::111122223333:role/web/shop", Federated: "issuer.example"},
				Type:      "AssumedRole", UserID: "AROA1:s", Issued: issued,
			},
			`{"type":"AssumedRole","principalId":"AROA1:s","arn":"arn:aws:sts::111122223333:assumed-role/shop/s","accountId":"111122223333","accessKeyId":"K",` +
				`"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA1","arn":"arn:aws:iam::111122223333:role/web/shop","accountId":"111122223333","userName":"shop"},` +
				`"webIdFederationData":{"federatedProvider":"issuer.example"},"attributes":{"creationDate":"2026-11-03T04:05:06Z","mfaAuthenticated":"false"}}}`,
		},
	} {
		if got, err := json.Marshal(Of(&c.id, "K")); err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%s, want\n%s", c.id.Type, err, got, c.want)
		}
	}
}

// TestTooMuch: an event stays small, whatever the request has, and says what it leaves out.
func TestTooMuch(t *testing.T) {
	many := func(element string) string { return "[" + strings.Repeat(element+",", 60_000) + element + "]" }
	for name, body := range map[string]string{
		"GetItem":      `{"TableName": "Music", "Key": {"Artist": {"S": "` + strings.Repeat("x", maxShown) + `"}}}`,
		"PutItem":      `{"TableName": "Music", "Item": {` + strings.Repeat(`"a": {"S": ""},`, 60_000) + `"b": {"S": ""}}}`,
		"Query":        `{"TableName": "Music", "KeyConditionExpression": "` + strings.Repeat("x", maxShown) + `"}`,
		"BatchGetItem": `{"RequestItems": {"Music": {"Keys": ` + many(`{}`) + `}}}`, "BatchWriteItem": `{"RequestItems": {"Music": ` + many(`{"PutRequest": {}}`) + `}}`,
		"TransactWriteItems": `{"TransactItems": ` + many(`{"Put": {}}`) + `}`, "BatchExecuteStatement": `{"Statements": ` + many(`{}`) + `}`,
		"ExecuteStatement": `{"Statement": "` + strings.Repeat("'", maxShown) + `"}`,
	} {
		line := recorded(t, everything, &Request{Target: "DynamoDB_20120810." + name, Body: []byte(body), UserAgent: strings.Repeat("u", 1<<20), ErrorMessage: strings.Repeat("ü", 1<<20)})
		if len(line) > 8<<10 || !strings.Contains(line, `"requestParameters":null`) || !strings.Contains(line, `"omitted":["requestParameters: the content exceeds 100 KB"]`) {
			t.Errorf("%s: an event of %d bytes: %.2000s", name, len(line), line)
		}
	}
}

// TestUnlisted: an operation that operations.txt lacks is recorded as a management event, without content.
func TestUnlisted(t *testing.T) {
	line := recorded(t, "", &Request{Target: "New_20300101.MakeSecret", Body: []byte(`{"Secret": "x"}`), Answer: []byte(`{"Secret": "x"}`)})
	if !strings.Contains(line, `"eventName":"MakeSecret"`) || !strings.Contains(line, `"managementEvent":true`) || strings.Contains(line, "Secret\":") {
		t.Error(line)
	}
}

// TestWants: what Wants rules out is never recorded, and nothing else.
func TestWants(t *testing.T) {
	for target, op := range operations() {
		line := recorded(t, "", &Request{Target: target})
		l := &Log{}
		if got := l.Wants(target); got != (op.resource == "") || got != (line != "") {
			t.Errorf("%s: wanted: %v, recorded: %v", target, got, line != "")
		}
	}
	if (*Log)(nil).Wants("DynamoDB_20120810.CreateTable") {
		t.Error("no log wants an event")
	}
}

func FuzzSelectors(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte(`{"AdvancedEventSelectors":[{"FieldSelectors":[{"Field":"eventName","NotEquals":["x"]}]}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseSelectors(raw)
		if err != nil {
			if err.Error() == "" || s != nil {
				t.Fatalf("%v, %v", s, err)
			}
			return
		}
		for i := range s.list {
			if s.list[i].resource == "" {
				t.Fatalf("a selector without a type: %s", raw)
			}
			for _, op := range operations() {
				if s.list[i].may(op) {
					s.list[i].takes("", nil)
				}
			}
		}
	})
}

// FuzzEvents: any body of any operation makes a bounded event that shows none of what must not be shown.
func FuzzEvents(f *testing.F) {
	targets := make([]string, 0, len(operations()))
	for target := range operations() {
		targets = append(targets, target)
	}
	slices.Sort(targets)
	for i := range targets {
		f.Add(i, []byte(`{"TableName":"Music","Item":{"Artist":{"S":"a"},"x":{"S":"b"}},"RequestItems":{"t":[{"PutRequest":{"Item":{}}}]},"TransactItems":[{"Put":{}}],"Statement":"a"}`))
		f.Add(i, []byte(`{"RequestItems":null,"TransactItems":[null,{"Put":null}],"Statements":[null],"Key":[],"ShardIterator":"|"}`))
	}
	f.Fuzz(func(t *testing.T, i int, body []byte) {
		r := &Request{Target: targets[uint(i)%uint(len(targets))], Body: body, Answer: body}
		line := recorded(t, everything, r)
		if !json.Valid([]byte(line)) || strings.Count(line, "\n") != 1 || len(line) > 16*maxShown {
			t.Fatalf("%s: %q makes %q", r.Target, body, line)
		}
	})
}

// TestRecordReadsOnly: a Request's memory may be reused as soon as Record returns.
func TestRecordReadsOnly(t *testing.T) {
	body := []byte(`{"TableName": "Music", "Key": {"Artist": {"S": "Nina"}}}`)
	r := Request{Target: "DynamoDB_20120810.GetItem", Body: bytes.Clone(body)}
	before := r
	line := recorded(t, everything, &r)
	if !reflect.DeepEqual(fmt.Sprint(before), fmt.Sprint(r)) || !bytes.Equal(r.Body, body) || !strings.Contains(line, "Nina") {
		t.Errorf("the request became %+v; %s", r, line)
	}
}
