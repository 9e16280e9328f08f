package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/httpd"
	"github.com/statordb/stator/internal/kv"
)

// heldStore blocks transactions until release is closed, and signals on entered when one arrives.
type heldStore struct {
	kv.Store
	entered chan struct{}
	release chan struct{}
}

func (s heldStore) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	if opt.Hint != nil && strings.Contains(string(opt.Hint[0]), "held") {
		s.entered <- struct{}{}
		<-s.release
	}
	return s.Store.Begin(ctx, opt)
}

func smallTable(name string) obj {
	return obj{"TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S")}}
}

// TestTooManyRequests checks that requests beyond the limit fail at once, with an error that SDKs retry.
func TestTooManyRequests(t *testing.T) {
	held := heldStore{entered: make(chan struct{}, 2), release: make(chan struct{})}
	d := open(t, Options{limits: httpd.Limits{InFlight: 2}, wrap: func(s kv.Store) kv.Store { held.Store = s; return held }})
	d.must("CreateTable", smallTable("load"))
	put := func(i int) error {
		_, err := d.call("PutItem", obj{"TableName": "load", "Item": obj{"id": s(fmt.Sprint("held", i))}})
		return err
	}
	done := make(chan error, 2)
	for i := range 2 {
		go func() { done <- put(i) }()
		<-held.entered
	}
	var refused *apiError
	if err := put(3); !errors.As(err, &refused) || refused.status != 503 {
		t.Errorf("a third request: %v", err)
	}
	close(held.release)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	d.must("ListTables", obj{})
}

func dial(t *testing.T, d *db) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(d.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestTooManyConnections checks that a connection beyond the limit is answered and closed, and that a slot that is freed is
// used.
func TestTooManyConnections(t *testing.T) {
	d := open(t, Options{limits: httpd.Limits{Connections: 2}})
	ask := func(c net.Conn) int {
		fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode
	}
	first, second := dial(t, d), dial(t, d)
	if a, b := ask(first), ask(second); a != 200 || b != 200 {
		t.Fatal(a, b)
	}
	if status := ask(dial(t, d)); status != 503 && status != 0 {
		t.Errorf("a third connection: %d", status)
	}
	first.Close()
	eventually(t, "a place that became free", func() bool { return ask(dial(t, d)) == 200 })
}

// TestSlowClients checks that clients that stall in a request, or send nothing at all, are disconnected.
func TestSlowClients(t *testing.T) {
	d := open(t, Options{limits: httpd.Limits{Idle: 50 * time.Millisecond}})
	for _, begin := range []string{"", "POST / HTTP/1.1\r\nHost: h\r\nX-Slow: ", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc"} {
		c := dial(t, d)
		if _, err := io.WriteString(c, begin); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := io.ReadAll(c)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("%q: still connected", begin)
		}
	}
}

// TestHugeHeaders checks the limit on headers.
func TestHugeHeaders(t *testing.T) {
	d := open(t, Options{})
	status, _, err := d.send("ListTables", []byte("{}"), map[string]string{"X-Large": strings.Repeat("x", 1<<20)})
	if err == nil && status != 400 {
		t.Errorf("1 MB of headers: %d", status)
	}
	d.must("ListTables", obj{})
}

// TestLargeReadsAreCounted checks that every operation that reads items accounts for their memory, and is refused if there is
// no room.
func TestLargeReadsAreCounted(t *testing.T) {
	dir := t.TempDir()
	table := smallTable("large")
	table["StreamSpecification"] = obj{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}
	d := open(t, Options{DataDir: dir})
	d.must("CreateTable", table)
	var keys, gets, statements, selects []obj
	for i := range 3 {
		id := fmt.Sprint("i", i)
		d.must("PutItem", obj{"TableName": "large", "Item": obj{"id": s(id), "x": s(strings.Repeat("x", 100_000))}})
		keys = append(keys, obj{"id": s(id)})
		gets = append(gets, obj{"Get": obj{"TableName": "large", "Key": obj{"id": s(id)}}})
		selects = append(selects, obj{"Statement": "SELECT * FROM large WHERE id = '" + id + "'"})
		statements = append(statements, obj{"Statement": "SELECT * FROM large WHERE id = '" + id + "'"})
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, Options{DataDir: dir, limits: httpd.Limits{Answers: 1}})
	refused := func(what string, err error) {
		t.Helper()
		var e *apiError
		if !errors.As(err, &e) || e.status != 503 {
			t.Errorf("%s: %v", what, err)
		}
	}
	for name, in := range map[string]obj{
		"Scan":                  {"TableName": "large"},
		"Query":                 {"TableName": "large", "KeyConditionExpression": "id = :i", "ExpressionAttributeValues": obj{":i": s("i1")}},
		"BatchGetItem":          {"RequestItems": obj{"large": obj{"Keys": keys}}},
		"TransactGetItems":      {"TransactItems": gets},
		"ExecuteStatement":      {"Statement": "SELECT * FROM large"},
		"BatchExecuteStatement": {"Statements": selects},
		"ExecuteTransaction":    {"TransactStatements": statements},
	} {
		_, err := d.call(name, in)
		refused(name, err)
	}
	arn := field(d.must("DescribeTable", obj{"TableName": "large"}), "Table.LatestStreamArn").(string)
	for _, shard := range d.shards(arn) {
		if _, err := d.streams("GetRecords", obj{"ShardIterator": d.iterator(arn, shard, "TRIM_HORIZON", nil)}); err != nil {
			refused("GetRecords", err)
			return
		}
	}
	t.Error("GetRecords is not refused")
}

// TestTooManyTables checks the limit on an account's tables per region, and over all regions.
func TestTooManyTables(t *testing.T) {
	const limit = 2
	d := open(t, Options{tables: limit})
	create := func(region, name string) error {
		body, err := json.Marshal(smallTable(name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.raw("CreateTable", body, map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/" + region + "/dynamodb/aws4_request, SignedHeaders=host, Signature=00"})
		return err
	}
	for region := range 4 {
		for i := range limit {
			if err := create(fmt.Sprint("region-", region), fmt.Sprint("table", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for region, want := range map[string]string{"region-0": "2", "region-9": "8"} {
		err := create(region, "more")
		if want := "Subscriber limit exceeded: There is a limit of " + want + " tables per subscriber"; err == nil || kindOf(err) != "LimitExceededException" || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", region, err, want)
		}
	}
	if err := create("region-0", "table0"); kindOf(err) != "ResourceInUseException" {
		t.Errorf("a table that is there: %v", err)
	}
}
