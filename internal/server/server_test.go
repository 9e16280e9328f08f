package server

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/test/request"
)

// db is a server under test with its clients.
type db struct {
	t *testing.T
	*Server
	storage string
}

func open(t *testing.T, opt Options) *db {
	t.Helper()
	opt.Listen = "127.0.0.1:0"
	if opt.DataDir == "" && opt.Storage == "" {
		opt.InMemory = true
		if testStorage != nil {
			opt.InMemory, opt.DataDir = false, t.TempDir()
			testStorage(t, &opt)
		}
	}
	wrap := opt.wrap
	opt.wrap = func(s kv.Store) kv.Store {
		if wrap != nil {
			s = wrap(s)
		}
		return kv.Checked(s)
	}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &db{t, s, opt.Storage}
}

// apiError is an error answer of the server.
type apiError struct {
	status        int
	kind, message string
	body          []byte
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s: %s", e.status, e.kind, e.message) }

// call sends a request. Input and answer are JSON values.
func (d *db) call(operation string, in any) (map[string]any, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	return d.raw(operation, body, nil)
}

// send sends a request and returns the raw answer.
func (d *db) send(operation string, body []byte, header map[string]string) (status int, answer []byte, err error) {
	return request.Send(d.URL(), operation, body, header)
}

func (d *db) raw(operation string, body []byte, header map[string]string) (map[string]any, error) {
	status, raw, err := d.send(operation, body, header)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if status == 200 && len(raw) == 0 { // TagResource
		return out, nil
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, fmt.Errorf("%d %q: %w", status, raw, err)
	}
	if status != 200 {
		e := &apiError{status: status, body: raw}
		e.kind, _ = out["__type"].(string)
		if _, kind, ok := strings.Cut(e.kind, "#"); ok {
			e.kind = kind
		}
		if e.message, _ = out["message"].(string); e.message == "" {
			e.message, _ = out["Message"].(string)
		}
		return nil, e
	}
	return out, nil
}

// must is call for requests that must succeed.
func (d *db) must(operation string, in any) map[string]any {
	d.t.Helper()
	out, err := d.call(operation, in)
	if err != nil {
		d.t.Fatalf("%s: %v", operation, err)
	}
	return out
}

type obj = map[string]any

func s(v string) obj { return obj{"S": v} }
func n(v int) obj    { return obj{"N": fmt.Sprint(v)} }

func attr(name, kind string) obj { return obj{"AttributeName": name, "AttributeType": kind} }

func keys(parts ...string) []obj {
	var out []obj
	for i, p := range parts {
		out = append(out, obj{"AttributeName": p, "KeyType": []string{"HASH", "RANGE"}[i]})
	}
	return out
}

// indexedTable describes a table with an LSI and two GSIs.
func indexedTable(name string) obj {
	return obj{
		"TableName": name, "BillingMode": "PAY_PER_REQUEST",
		"AttributeDefinitions":  []obj{attr("pk", "S"), attr("sk", "N"), attr("l", "N"), attr("g", "S"), attr("h", "N")},
		"KeySchema":             keys("pk", "sk"),
		"LocalSecondaryIndexes": []obj{{"IndexName": "by-l", "KeySchema": keys("pk", "l"), "Projection": obj{"ProjectionType": "ALL"}}},
		"GlobalSecondaryIndexes": []obj{
			{"IndexName": "by-g", "KeySchema": keys("g", "h"), "Projection": obj{"ProjectionType": "KEYS_ONLY"}},
			{"IndexName": "by-h", "KeySchema": keys("h"), "Projection": obj{"ProjectionType": "INCLUDE", "NonKeyAttributes": []string{"v"}}},
		},
	}
}

// all reads a whole table or index, page by page.
func (d *db) all(table, index string, limit int) []obj {
	d.t.Helper()
	in := obj{"TableName": table}
	if index != "" {
		in["IndexName"] = index
	}
	if limit > 0 {
		in["Limit"] = limit
	}
	var out []obj
	for {
		page := d.must("Scan", in)
		for _, it := range page["Items"].([]any) {
			out = append(out, it.(obj))
		}
		last, more := page["LastEvaluatedKey"]
		if !more {
			return out
		}
		in["ExclusiveStartKey"] = last
	}
}

func sorted(items []obj) []string {
	var out []string
	for _, it := range items {
		raw, err := json.Marshal(it)
		if err != nil {
			panic(err)
		}
		out = append(out, string(raw))
	}
	sort.Strings(out)
	return out
}

func project(it obj, names ...string) obj {
	out := obj{}
	for _, name := range names {
		if v, ok := it[name]; ok {
			out[name] = v
		}
	}
	return out
}

// checkIndexes compares the indexes of an indexedTable with the wanted items, and the description's counts with both.
func (d *db) checkIndexes(table string, want []obj) {
	d.t.Helper()
	d.checkConsistent()
	var byL, byG, byH []obj
	for _, it := range want {
		if it["l"] != nil {
			byL = append(byL, it)
		}
		if it["g"] != nil && it["h"] != nil {
			byG = append(byG, project(it, "pk", "sk", "g", "h"))
		}
		if it["h"] != nil {
			byH = append(byH, project(it, "pk", "sk", "h", "v"))
		}
	}
	description := d.must("DescribeTable", obj{"TableName": table})["Table"].(obj)
	count := func(what string, got any, want []obj) {
		if int(got.(float64)) != len(want) {
			d.t.Errorf("%s: ItemCount %v, want %d", what, got, len(want))
		}
	}
	count("table", description["ItemCount"], want)
	for _, c := range []struct {
		index string
		want  []obj
	}{{"", want}, {"by-l", byL}, {"by-g", byG}, {"by-h", byH}} {
		if got, want := sorted(d.all(table, c.index, 3)), sorted(c.want); !reflect.DeepEqual(got, want) {
			d.t.Fatalf("index %q has\n%s\nwant\n%s", c.index, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, kind := range []string{"LocalSecondaryIndexes", "GlobalSecondaryIndexes"} {
			for _, x := range description[kind].([]any) {
				if x.(obj)["IndexName"] == c.index {
					count(c.index, x.(obj)["ItemCount"], c.want)
				}
			}
		}
	}
}

// modelOptions are option sets under which the same operations must return the same answers. restart means that data survive a
// restart.
var modelOptions = []struct {
	name    string
	restart bool
	options func(t *testing.T) Options
}{
	{"in memory", false, func(*testing.T) Options { return Options{} }},
	{"sync", true, func(t *testing.T) Options { return Options{DataDir: t.TempDir()} }},
	{"interval", true, func(t *testing.T) Options { return Options{DataDir: t.TempDir(), Durability: "interval:1ms"} }},
	{"none", true, func(t *testing.T) Options { return Options{DataDir: t.TempDir(), Durability: "none"} }},
	{"smallest cache", true, func(t *testing.T) Options {
		return Options{DataDir: t.TempDir(), Durability: "none", Cache: 1 << 20, SharedNamespace: true}
	}},
	{"conflicts", true, func(t *testing.T) Options {
		return Options{DataDir: "data", fs: vfs.NewMem(), wrap: func(s kv.Store) kv.Store { return slowStore{s} }}
	}},
}

var modelSeeds = flag.Uint64("model-seeds", 2, "how many lists of operations TestModel runs")

// TestModel runs random operations of every kind under each option set, with restarts in between. It compares answers, table,
// indexes and counts with a map.
func TestModel(t *testing.T) {
	for _, c := range modelOptions {
		for seed := range *modelSeeds {
			t.Run(fmt.Sprintf("%s/%d", c.name, seed), func(t *testing.T) { runModel(t, c.options(t), c.restart, seed) })
		}
	}
}

func runModel(t *testing.T, opt Options, restart bool, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 9))
	d := open(t, opt)
	arn := d.createStreamed("model", "NEW_AND_OLD_IMAGES")
	if err := d.setTTL("model", "h", true); err != nil { // expired long ago
		t.Fatal(err)
	}
	// old checks the old item that a write returns.
	old := func(step int, answer obj, want obj) {
		t.Helper()
		got, _ := answer["Attributes"].(obj)
		if !reflect.DeepEqual(sorted([]obj{got}), sorted([]obj{want})) {
			t.Fatalf("step %d: the write replaced %v, want %v", step, got, want)
		}
	}
	state := map[string]obj{}
	key := func() obj { return obj{"pk": s(fmt.Sprint("p", r.IntN(4))), "sk": n(r.IntN(6))} }
	name := func(k obj) string { return fmt.Sprint(k["pk"], k["sk"]) }
	random := func(k obj) obj {
		it := obj{"pk": k["pk"], "sk": k["sk"]}
		if r.IntN(3) > 0 {
			it["l"] = n(r.IntN(5))
		}
		if r.IntN(3) > 0 {
			it["g"] = s(fmt.Sprint("g", r.IntN(3)))
		}
		if r.IntN(3) > 0 {
			it["h"] = n(r.IntN(3))
		}
		if r.IntN(2) > 0 {
			it["v"] = s(strings.Repeat("v", r.IntN(20)))
		}
		return it
	}
	for step := range 300 {
		k := key()
		switch r.IntN(6) {
		case 0, 1:
			it := random(k)
			old(step, d.must("PutItem", obj{"TableName": "model", "Item": it, "ReturnValues": "ALL_OLD"}), state[name(k)])
			state[name(k)] = it
		case 2:
			old(step, d.must("DeleteItem", obj{"TableName": "model", "Key": k, "ReturnValues": "ALL_OLD"}), state[name(k)])
			delete(state, name(k))
		case 3:
			d.must("UpdateItem", obj{"TableName": "model", "Key": k, "UpdateExpression": "SET h = :h REMOVE l",
				"ExpressionAttributeValues": obj{":h": n(step % 3)}})
			it := project(k, "pk", "sk")
			for a, v := range state[name(k)] {
				it[a] = v
			}
			it["h"] = n(step % 3)
			delete(it, "l")
			state[name(k)] = it
		case 4:
			var batch []obj
			for _, sk := range r.Perm(6)[:3] {
				k := obj{"pk": k["pk"], "sk": n(sk)}
				if r.IntN(2) == 0 {
					batch = append(batch, obj{"DeleteRequest": obj{"Key": k}})
					delete(state, name(k))
					continue
				}
				it := random(k)
				batch = append(batch, obj{"PutRequest": obj{"Item": it}})
				state[name(k)] = it
			}
			d.must("BatchWriteItem", obj{"RequestItems": obj{"model": batch}})
		default:
			other := obj{"pk": s("other"), "sk": n(r.IntN(3))}
			it := random(other)
			_, exists := state[name(k)]
			_, err := d.call("TransactWriteItems", obj{"TransactItems": []obj{
				{"Put": obj{"TableName": "model", "Item": it}},
				{"Delete": obj{"TableName": "model", "Key": k, "ConditionExpression": "attribute_exists(pk)"}},
			}})
			if exists != (err == nil) {
				t.Fatalf("step %d: item exists: %v, transaction: %v", step, exists, err)
			}
			if exists {
				delete(state, name(k))
				state[name(other)] = it
			}
		}
		if restart && r.IntN(100) == 0 {
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			d = open(t, opt)
		}
	}
	var want []obj
	for _, it := range state {
		want = append(want, it)
	}
	d.checkIndexes("model", want)
	// Replaying the stream leads to the same state.
	replayed := map[string]obj{}
	for _, record := range d.history(arn) {
		change := record["dynamodb"].(obj)
		id := name(change["Keys"].(obj))
		before, _ := change["OldImage"].(obj)
		if !reflect.DeepEqual(before, replayed[id]) {
			t.Fatalf("a record changes %v, the ones before it left %v", before, replayed[id])
		}
		delete(replayed, id)
		if after, ok := change["NewImage"].(obj); ok {
			replayed[id] = after
		}
	}
	if !reflect.DeepEqual(sorted(slices.Collect(maps.Values(replayed))), sorted(want)) {
		t.Fatalf("the stream leads to %v", replayed)
	}
	d.checkConsistent()
}

// TestConcurrentTransactions moves amounts between accounts from several goroutines. Every transactional read sees the same
// sum, and conflicts are reported as AWS reports them.
func TestConcurrentTransactions(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", obj{"TableName": "accounts", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "N")}, "KeySchema": keys("id")})
	const accounts, start, workers, transfers = 6, 100, 6, 60
	for i := range accounts {
		d.must("PutItem", obj{"TableName": "accounts", "Item": obj{"id": n(i), "balance": n(start)}})
	}
	var gets []obj
	for i := range accounts {
		gets = append(gets, obj{"Get": obj{"TableName": "accounts", "Key": obj{"id": n(i)}}})
	}
	sum := func() (int, error) {
		out, err := d.call("TransactGetItems", obj{"TransactItems": gets})
		if err != nil {
			return 0, err
		}
		total := 0
		for _, r := range out["Responses"].([]any) {
			var b int
			if _, err := fmt.Sscan(r.(obj)["Item"].(obj)["balance"].(obj)["N"].(string), &b); err != nil {
				return 0, err
			}
			total += b
		}
		return total, nil
	}
	var wg sync.WaitGroup
	errs := make(chan error, workers)
	for w := range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range transfers {
				from, to := r.IntN(accounts), r.IntN(accounts-1)
				if to >= from {
					to++
				}
				amount := 1 + r.IntN(20)
				move := func(id int, op string) obj {
					u := obj{"TableName": "accounts", "Key": obj{"id": n(id)}, "UpdateExpression": "SET balance = balance " + op + " :a",
						"ExpressionAttributeValues": obj{":a": n(amount)}}
					if op == "-" {
						u["ConditionExpression"] = "balance >= :a"
					}
					return obj{"Update": u}
				}
				_, err := d.call("TransactWriteItems", obj{"TransactItems": []obj{move(from, "-"), move(to, "+")}})
				var refused *apiError
				if err != nil && (!errors.As(err, &refused) || refused.kind != "TransactionCanceledException") {
					errs <- err
					return
				}
				total, err := sum()
				if err != nil || total != accounts*start {
					errs <- fmt.Errorf("sum %d, %w", total, err)
					return
				}
			}
		}()
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Fatal(err)
	}
}

// TestConcurrentCounter increments one item from several goroutines; no update may be lost.
func TestConcurrentCounter(t *testing.T) {
	d := open(t, Options{DataDir: t.TempDir()})
	d.must("CreateTable", obj{"TableName": "counters", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "S")}, "KeySchema": keys("id")})
	const workers, each = 8, 50
	var wg sync.WaitGroup
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range each {
				if _, err := d.call("UpdateItem", obj{"TableName": "counters", "Key": obj{"id": s("c")}, "UpdateExpression": "ADD hits :one", "ExpressionAttributeValues": obj{":one": n(1)}}); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	wg.Wait()
	got := d.must("GetItem", obj{"TableName": "counters", "Key": obj{"id": s("c")}})["Item"].(obj)["hits"].(obj)["N"]
	if got != fmt.Sprint(workers*each) {
		t.Fatalf("%s hits, want %d", got, workers*each)
	}
}

// TestParallelScan checks that segments are disjoint, complete and roughly equal in size.
func TestParallelScan(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", obj{"TableName": "wide", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "N")}, "KeySchema": keys("id")})
	const items, segments = 1000, 4
	for i := 0; i < items; i += 25 {
		var batch []obj
		for j := i; j < i+25; j++ {
			batch = append(batch, obj{"PutRequest": obj{"Item": obj{"id": n(j)}}})
		}
		d.must("BatchWriteItem", obj{"RequestItems": obj{"wide": batch}})
	}
	seen := map[string]bool{}
	for segment := range segments {
		in := obj{"TableName": "wide", "Segment": segment, "TotalSegments": segments, "Limit": 100}
		count := 0
		for {
			page := d.must("Scan", in)
			for _, it := range page["Items"].([]any) {
				id := it.(obj)["id"].(obj)["N"].(string)
				if seen[id] {
					t.Fatalf("item %s is in two segments", id)
				}
				seen[id] = true
				count++
			}
			last, more := page["LastEvaluatedKey"]
			if !more {
				break
			}
			in["ExclusiveStartKey"] = last
		}
		if count < items/segments*3/4 || count > items/segments*5/4 {
			t.Errorf("segment %d has %d items of %d", segment, count, items)
		}
	}
	if len(seen) != items {
		t.Errorf("%d items in all segments, want %d", len(seen), items)
	}
	d.must("Scan", obj{"TableName": "wide", "Segment": 999999, "TotalSegments": 1000000})
}

func TestTransientStatus(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	d := open(t, Options{TransientStatus: time.Minute, Now: clock})
	advance := func() { mu.Lock(); defer mu.Unlock(); now = now.Add(61 * time.Second) }
	status := func() string {
		t.Helper()
		return d.must("DescribeTable", obj{"TableName": "slow"})["Table"].(obj)["TableStatus"].(string)
	}
	fails := func(kind, operation string, in any) {
		t.Helper()
		var e *apiError
		if _, err := d.call(operation, in); !errors.As(err, &e) || e.kind != kind {
			t.Fatalf("%s: %v, want %s", operation, err, kind)
		}
	}
	create := obj{"TableName": "slow", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "S")}, "KeySchema": keys("id")}
	d.must("CreateTable", create)
	if got := status(); got != "CREATING" {
		t.Fatal(got)
	}
	fails("ResourceNotFoundException", "GetItem", obj{"TableName": "slow", "Key": obj{"id": s("x")}})
	fails("ResourceInUseException", "DeleteTable", obj{"TableName": "slow"})
	advance()
	if got := status(); got != "ACTIVE" {
		t.Fatal(got)
	}
	d.must("UpdateTable", obj{"TableName": "slow", "BillingMode": "PAY_PER_REQUEST"})
	if got := status(); got != "UPDATING" {
		t.Fatal(got)
	}
	d.must("PutItem", obj{"TableName": "slow", "Item": obj{"id": s("x")}})
	advance()
	d.must("DeleteTable", obj{"TableName": "slow"})
	if got := status(); got != "DELETING" {
		t.Fatal(got)
	}
	fails("ResourceNotFoundException", "GetItem", obj{"TableName": "slow", "Key": obj{"id": s("x")}})
	fails("ResourceInUseException", "CreateTable", create)
	advance()
	fails("ResourceNotFoundException", "DescribeTable", obj{"TableName": "slow"})
	d.must("CreateTable", create)
	advance()
	if got := len(d.all("slow", "", 0)); got != 0 {
		t.Fatalf("the new table has %d items of the old one", got)
	}
}

func TestNamespaces(t *testing.T) {
	for _, shared := range []bool{false, true} {
		d := open(t, Options{SharedNamespace: shared})
		create, err := json.Marshal(obj{"TableName": "here", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "S")}, "KeySchema": keys("id")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.raw("CreateTable", create, nil); err != nil {
			t.Fatal(err)
		}
		elsewhere := map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=OTHER/20260101/eu-west-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00"}
		out, err := d.raw("ListTables", []byte(`{}`), elsewhere)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(out["TableNames"].([]any)); got != map[bool]int{false: 0, true: 1}[shared] {
			t.Errorf("shared %v: %d tables in the other region", shared, got)
		}
	}
}

func TestDataDirectory(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{DataDir: dir})
	if _, err := Open(Options{DataDir: dir, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("second server on one directory: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "FORMAT"), []byte("99\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{DataDir: dir, Listen: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("directory of a newer format: %v", err)
	}
}

func TestRefusesOtherInterfaces(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0"} {
		if s, err := Open(Options{InMemory: true, Listen: listen}); !errors.Is(err, ErrInsecure) {
			t.Errorf("%s: %v", listen, err)
			if err == nil {
				s.Close()
			}
		}
	}
	s, err := Open(Options{InMemory: true, Listen: "0.0.0.0:0", Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// TestBadInput sends malformed bodies of every kind. Each gets a client error, and the server keeps working.
func TestBadInput(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", indexedTable("bad"))
	item := `{"TableName":"bad","Item":{"pk":{"S":"a"},"sk":{"N":"1"},"x":%s}}`
	nested := func(open, end string, depth int) string {
		return strings.Repeat(open, depth) + `{"S":"x"}` + strings.Repeat(end, depth)
	}
	bodies := map[string]string{
		"empty": "", "null": "null", "list": "[]", "string": `"x"`, "number": "5", "truncated": `{"TableName":"bad"`, "two values": `{}{}`,
		"trailing comma": `{"TableName":"bad",}`, "comment": `{/**/}`, "single quotes": `{'a':1}`, "invalid UTF-8": "{\"TableName\":\"\xff\xfe\"}",
		"NUL": "{\"TableName\":\"a\x00b\"}", "huge number": fmt.Sprintf(item, `{"N":"`+strings.Repeat("9", 100000)+`"}`),
		"huge exponent": fmt.Sprintf(item, `{"N":"1E99999999999999999999"}`), "NaN": fmt.Sprintf(item, `{"N":"NaN"}`),
		"deep lists": fmt.Sprintf(item, nested(`{"L":[`, `]}`, 5000)), "deep maps": fmt.Sprintf(item, nested(`{"M":{"a":`, `}}`, 100)),
		"33 levels": fmt.Sprintf(item, nested(`{"L":[`, `]}`, 32)), "deep JSON": strings.Repeat("[", 1<<20), "deep objects": strings.Repeat(`{"a":`, 1<<18),
		"wrong key": `{"TableName":"bad","Item":{"pk":{"N":"1"},"sk":{"N":"1"}}}`, "no types": fmt.Sprintf(item, `{}`), "unknown type": fmt.Sprintf(item, `{"X":"1"}`),
		"long name": `{"TableName":"` + strings.Repeat("x", 5000) + `"}`, "item too large": fmt.Sprintf(item, `{"S":"`+strings.Repeat("x", 410000)+`"}`),
		"bad base64": fmt.Sprintf(item, `{"B":"###"}`), "negative index": `{"TableName":"bad","Item":{"pk":{"S":"a"},"sk":{"N":"1"}},"ConditionExpression":"a[-1] = b"}`,
		"parentheses": `{"TableName":"bad","Item":{"pk":{"S":"a"},"sk":{"N":"1"}},"ConditionExpression":"` + strings.Repeat("(", 4000) + `"}`,
	}
	for name, body := range bodies {
		_, err := d.raw("PutItem", []byte(body), nil)
		var e *apiError
		if !errors.As(err, &e) || e.status != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := len(d.all("bad", "", 0)); got != 0 {
		t.Errorf("%d items got in", got)
	}
}

func TestSizeLimits(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", obj{"TableName": "sizes", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "S")}, "KeySchema": keys("id")})
	// The largest value that fits beside "id", a one-byte key and "v".
	fits := strings.Repeat("x", 400*1024-len("id")-1-len("v"))
	d.must("PutItem", obj{"TableName": "sizes", "Item": obj{"id": s("a"), "v": s(fits)}})
	if _, err := d.call("PutItem", obj{"TableName": "sizes", "Item": obj{"id": s("a"), "v": s(fits + "x")}}); err == nil || !strings.Contains(err.Error(), "Item size has exceeded") {
		t.Error(err)
	}
	if _, err := d.call("UpdateItem", obj{"TableName": "sizes", "Key": obj{"id": s("a")}, "UpdateExpression": "SET w = :w", "ExpressionAttributeValues": obj{":w": s("")}}); err == nil || !strings.Contains(err.Error(), "Item size to update has exceeded") {
		t.Error(err)
	}
	for size, ok := range map[int]bool{2048: true, 2049: false} {
		_, err := d.call("PutItem", obj{"TableName": "sizes", "Item": obj{"id": s(strings.Repeat("k", size))}})
		if (err == nil) != ok {
			t.Errorf("partition key of %d bytes: %v", size, err)
		}
	}
}

func TestHTTP(t *testing.T) {
	d := open(t, Options{})
	get := func(path string) (int, string) {
		res, err := http.Get(d.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(body)
	}
	if status, body := get("/"); status != 200 || !strings.HasPrefix(body, "healthy: ") {
		t.Errorf("/: %d %q", status, body)
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if status, body := get(path); status != 200 || body != want {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	var e *apiError
	if _, err := d.raw("NoSuchOperation", []byte(`{}`), nil); !errors.As(err, &e) || e.kind != "UnknownOperationException" {
		t.Error(err)
	}
	if _, err := d.raw("ListTables", []byte(`{}`), map[string]string{"Authorization": ""}); !errors.As(err, &e) || e.kind != "MissingAuthenticationTokenException" {
		t.Error(err)
	}
	if _, err := d.raw("ListTables", []byte(`{}`), map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=x"}); !errors.As(err, &e) || e.kind != "IncompleteSignatureException" {
		t.Error(err)
	}
	if _, err := d.raw("PutItem", make([]byte, 17<<20), nil); !errors.As(err, &e) || e.status != 413 {
		t.Errorf("body of 17 MB: %v", err)
	}
}

// TestCloseDrains checks that Close waits for running requests, and that nothing answers afterwards.
func TestCloseDrains(t *testing.T) {
	d := open(t, Options{DataDir: t.TempDir()})
	d.must("CreateTable", obj{"TableName": "drain", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "N")}, "KeySchema": keys("id")})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ctx.Err() == nil; i++ {
				_, err := d.call("PutItem", obj{"TableName": "drain", "Item": obj{"id": n(w*1000000 + i)}})
				var refused *apiError
				if errors.As(err, &refused) && refused.status == 500 {
					t.Error(err)
				}
				if err != nil {
					return
				}
			}
		}()
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	cancel()
	wg.Wait()
	if _, err := http.Get(d.URL()); err == nil {
		t.Error("answers after Close")
	}
}

// TestWait checks that every caller of Wait learns the end of the server, also those that come later.
func TestWait(t *testing.T) {
	d := open(t, Options{})
	ended := make(chan error)
	for range 2 {
		go func() { ended <- d.Wait() }()
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := d.Wait(); err != nil {
		t.Error(err)
	}
}

// TestDeletedTablesGo checks that a deleted table's items are removed, even if the server stops while the table is DELETING.
func TestDeletedTablesGo(t *testing.T) {
	clock := newMovedClock()
	dir := t.TempDir()
	start := func() *db {
		return open(t, Options{DataDir: dir, Durability: "none", TransientStatus: time.Minute, Now: clock.Now})
	}
	size := func(d *db) (n int64) {
		t.Helper()
		r, err := d.store.Latest(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		prefix := keyspace.TablePrefix(1)
		it, err := r.Scan(kv.Prefix(prefix), kv.ScanOpt{})
		if err != nil {
			t.Fatal(err)
		}
		for it.Next() {
			n++
		}
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	d := start()
	d.must("CreateTable", indexedTable("gone"))
	clock.Advance(2 * time.Minute)
	d.must("PutItem", obj{"TableName": "gone", "Item": obj{"pk": s("a"), "sk": n(1), "g": s("x"), "h": n(1)}})
	d.must("DeleteTable", obj{"TableName": "gone"})
	if got := size(d); got != 3 {
		t.Fatalf("%d keys, want an item and two index entries", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(2 * time.Minute)
	if got := size(start()); got != 0 {
		t.Errorf("%d keys of a deleted table are left", got)
	}
}

// TestBatchLimits checks that BatchGetItem returns at most 16 MB and lists the remaining keys as unprocessed.
func TestBatchLimits(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", obj{"TableName": "large", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "N")}, "KeySchema": keys("id")})
	const items = 45
	value := strings.Repeat("x", 400_000)
	var wanted []obj
	for i := range items {
		d.must("PutItem", obj{"TableName": "large", "Item": obj{"id": n(i), "v": s(value)}})
		wanted = append(wanted, obj{"id": n(i)})
	}
	out := d.must("BatchGetItem", obj{"RequestItems": obj{"large": obj{"Keys": wanted, "ConsistentRead": true}}})
	got := len(out["Responses"].(obj)["large"].([]any))
	rest := out["UnprocessedKeys"].(obj)["large"].(obj)
	left := len(rest["Keys"].([]any))
	if got != 41 || got+left != items || rest["ConsistentRead"] != true {
		t.Errorf("%d items and %d unprocessed keys", got, left)
	}
	page := d.must("Scan", obj{"TableName": "large"})
	if page["Count"].(float64) != 3 || page["LastEvaluatedKey"] == nil {
		t.Errorf("a page of 1 MB has %v items", page["Count"])
	}
}

// TestTransactionConflict holds an item as a running transaction does. Other writers get AWS's conflict error, and a batch
// leaves only that item unprocessed.
func TestTransactionConflict(t *testing.T) {
	d := open(t, Options{})
	d.must("CreateTable", obj{"TableName": "held", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "S")}, "KeySchema": keys("id")})
	held := keyspace.AppendPartition(nil, 1, 0, keyspace.AppendValue(nil, attribute.String("held")), keyspace.KeysBounded)
	txn, err := d.store.Begin(context.Background(), kv.TxnOpt{Hint: [][]byte{held}, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	var e *apiError
	if _, err := d.call("PutItem", obj{"TableName": "held", "Item": obj{"id": s("held")}}); !errors.As(err, &e) || e.kind != "TransactionConflictException" || e.message != "Transaction is ongoing for the item" {
		t.Error(err)
	}
	_, err = d.call("TransactWriteItems", obj{"TransactItems": []obj{
		{"Put": obj{"TableName": "held", "Item": obj{"id": s("free")}}}, {"Put": obj{"TableName": "held", "Item": obj{"id": s("held")}}},
	}})
	if !errors.As(err, &e) || e.kind != "TransactionCanceledException" || !strings.HasSuffix(e.message, "[None, TransactionConflict]") {
		t.Error(err)
	}
	put := func(id string) obj { return obj{"PutRequest": obj{"Item": obj{"id": s(id)}}} }
	out := d.must("BatchWriteItem", obj{"RequestItems": obj{"held": []obj{put("one"), put("held"), put("two")}}})
	if got, want := out["UnprocessedItems"], any(obj{"held": []any{put("held")}}); !reflect.DeepEqual(fmt.Sprint(got), fmt.Sprint(want)) {
		t.Errorf("unprocessed %v, want %v", got, want)
	}
	txn.Rollback()
	d.must("BatchWriteItem", obj{"RequestItems": out["UnprocessedItems"]})
	if got := len(d.all("held", "", 0)); got != 3 {
		t.Errorf("%d items", got)
	}
}

// TestTokenLifetime checks that a ClientRequestToken makes a transaction idempotent for ten minutes.
func TestTokenLifetime(t *testing.T) {
	now := time.Now()
	var mu sync.Mutex
	d := open(t, Options{Now: func() time.Time { mu.Lock(); defer mu.Unlock(); return now }})
	d.must("CreateTable", obj{"TableName": "tokens", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("id", "S")}, "KeySchema": keys("id")})
	count := func() string {
		t.Helper()
		d.must("TransactWriteItems", obj{"ClientRequestToken": "once", "TransactItems": []obj{{"Update": obj{"TableName": "tokens", "Key": obj{"id": s("a")},
			"UpdateExpression": "ADD hits :one", "ExpressionAttributeValues": obj{":one": n(1)}}}}})
		return d.must("GetItem", obj{"TableName": "tokens", "Key": obj{"id": s("a")}})["Item"].(obj)["hits"].(obj)["N"].(string)
	}
	for _, step := range []struct {
		after time.Duration
		want  string
	}{{0, "1"}, {0, "1"}, {9 * time.Minute, "1"}, {2 * time.Minute, "2"}, {time.Minute, "2"}} {
		mu.Lock()
		now = now.Add(step.after)
		mu.Unlock()
		if got := count(); got != step.want {
			t.Fatalf("%v later: %s hits, want %s", step.after, got, step.want)
		}
	}
}
