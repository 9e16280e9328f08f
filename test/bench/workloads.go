package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	items     = 1000    // 1 KB items in the table "bench", 20 per partition key
	scanItems = 100_000 // items in the table "scan"
	ycsbItems = 10_000  // 1 KB items in the table "ycsb", 100 per partition key
	prepared  = 4096    // requests rendered before a measurement
)

// workload is a kind of load.
type workload struct {
	name string
	op   string // the operation, if it is a single one
	// segments is the number of connections of a scan, regardless of the flags; its rate is in items per second. 0 for other workloads.
	segments int
	// worker returns the worker of connection i of n.
	worker func(i, n int) worker
	// requests returns the requests of a workload of one operation, in their wire form; nil for other workloads.
	requests func() [][]byte
}

const (
	getWorkload = "GetItem 1 KB"
	putWorkload = "PutItem 1 KB"
)

// reads reports whether almost all requests are GetItems.
func (w *workload) reads() bool {
	return w.op == "GetItem" || slices.Contains([]string{"B:", "C:", "D:"}, w.name[:2])
}

// simple returns a workload of one operation. body returns the i-th request, which concerns count items.
func simple(name, op string, count int, body func(i int) string) workload {
	requests := sync.OnceValue(func() [][]byte {
		reqs := make([][]byte, prepared)
		for i := range reqs {
			reqs[i] = request(op, body(i*7919))
		}
		return reqs
	})
	return workload{name: name, op: op, requests: requests, worker: func(i, n int) worker {
		own := requests()[i*prepared/n : (i+1)*prepared/n]
		return func(c *conn, k int) (int, error) {
			status, answer, err := c.do(own[k%len(own)])
			if err == nil && status != 200 {
				err = fmt.Errorf("status %d: %.300s", status, answer)
			}
			return count, err
		}
	}}
}

var value1K = strings.Repeat("x", 960)

func itemJSON(i int) string {
	return fmt.Sprintf(`{"pk":{"S":"user-%d"},"sk":{"N":"%d"},"n":{"N":"%d"},"g":{"S":"g%d"},"data":{"S":"%s"}}`, i%items/20, i%20, i, i%100, value1K)
}

func keyJSON(i int) string {
	return fmt.Sprintf(`{"pk":{"S":"user-%d"},"sk":{"N":"%d"}}`, i%items/20, i%20)
}

func list(n int, f func(j int) string) string {
	parts := make([]string, n)
	for j := range parts {
		parts[j] = f(j)
	}
	return strings.Join(parts, ",")
}

func batchWrite(table string) func(i int) string {
	return func(i int) string {
		return `{"RequestItems":{"` + table + `":[` + list(25, func(j int) string { return `{"PutRequest":{"Item":` + itemJSON(i*25+j) + `}}` }) + `]}}`
	}
}

func put(table string) func(i int) string {
	return func(i int) string { return `{"TableName":"` + table + `","Item":` + itemJSON(i) + `}` }
}

func transact(table string) func(i int) string {
	return func(i int) string {
		return `{"TransactItems":[` + list(4, func(j int) string {
			return fmt.Sprintf(`{"Update":{"TableName":"%s","Key":{"pk":{"S":"t%d-%d"},"sk":{"N":"1"}},"UpdateExpression":"ADD n :one SET g = :g","ExpressionAttributeValues":{":one":{"N":"1"},":g":{"S":"g%d"}}}}`, table, i, j, i%100)
		}) + `]}`
	}
}

func counter(table string) func(i int) string {
	return func(i int) string {
		return fmt.Sprintf(`{"TableName":"%s","Key":{"pk":{"S":"c%d"},"sk":{"N":"1"}},"UpdateExpression":"SET n = if_not_exists(n, :zero) + :one, g = :g","ExpressionAttributeValues":{":zero":{"N":"0"},":one":{"N":"1"},":g":{"S":"g%d"}}}`, table, i%items, i%100)
	}
}

var workloads = []workload{
	simple(getWorkload, "GetItem", 1, func(i int) string { return `{"TableName":"bench","Key":` + keyJSON(i) + `}` }),
	simple("GetItem 1 KB, consistent", "GetItem", 1, func(i int) string { return `{"TableName":"bench","ConsistentRead":true,"Key":` + keyJSON(i) + `}` }),
	simple(putWorkload, "PutItem", 1, put("bench")),
	simple("PutItem 1 KB with a condition", "PutItem", 1, func(i int) string {
		return `{"TableName":"bench","Item":` + itemJSON(i) + `,"ConditionExpression":"attribute_not_exists(pk) OR n >= :n","ExpressionAttributeValues":{":n":{"N":"-1"}}}`
	}),
	simple("UpdateItem counter", "UpdateItem", 1, counter("plain")),
	simple("Query 20 items", "Query", 20, func(i int) string {
		return `{"TableName":"bench","KeyConditionExpression":"pk = :pk","ExpressionAttributeValues":{":pk":{"S":"user-` + strconv.Itoa(i%items/20) + `"}}}`
	}),
	simple("BatchGetItem 100", "BatchGetItem", 100, func(i int) string {
		return `{"RequestItems":{"bench":{"Keys":[` + list(100, func(j int) string { return keyJSON(i + j) }) + `]}}}`
	}),
	simple("BatchWriteItem 25", "BatchWriteItem", 25, batchWrite("bench")),
	simple("TransactWriteItems 4", "TransactWriteItems", 4, transact("plain")),
	scan("Scan 100,000 items", 1),
	scan("Scan 100,000 items, 4 segments", 4),
	simple("PutItem 1 KB, a GSI", "PutItem", 1, put("indexed")),
	simple("UpdateItem counter, a GSI", "UpdateItem", 1, counter("indexed")),
	simple("BatchWriteItem 25, a GSI", "BatchWriteItem", 25, batchWrite("indexed")),
	simple("TransactWriteItems 4, a GSI", "TransactWriteItems", 4, transact("indexed")),
	simple("PutItem 1 KB, a stream", "PutItem", 1, put("streamed")),
	simple("UpdateItem counter, a stream", "UpdateItem", 1, counter("streamed")),
	simple("BatchWriteItem 25, a stream", "BatchWriteItem", 25, batchWrite("streamed")),
	simple("TransactWriteItems 4, a stream", "TransactWriteItems", 4, transact("streamed")),
}

// scan reads the whole table "scan" again and again.
func scan(name string, segments int) workload {
	return workload{name: name, segments: segments, worker: func(i, n int) worker {
		base := `{"TableName":"scan"`
		if n > 1 {
			base += fmt.Sprintf(`,"Segment":%d,"TotalSegments":%d`, i, n)
		}
		start := ""
		return func(c *conn, _ int) (int, error) {
			answer, err := c.call("Scan", base+start+"}")
			if err != nil {
				return 0, err
			}
			// The end of the answer is enough. Parsing the items would measure the load generator.
			tail := string(answer[max(0, len(answer)-400):])
			head := string(answer[:min(len(answer), 400)])
			start = ""
			if key, ok := object(tail, head, `"LastEvaluatedKey":`); ok {
				start = `,"ExclusiveStartKey":` + key
			}
			count, ok := number(tail, head, `"Count":`)
			if !ok {
				return 0, fmt.Errorf("no Count in %.300s", answer)
			}
			return count, nil
		}
	}}
}

// object returns the JSON object behind a member's name in one of two texts.
func object(tail, head, name string) (string, bool) {
	for _, text := range []string{tail, head} {
		if i := strings.Index(text, name); i >= 0 {
			var raw json.RawMessage
			if json.NewDecoder(strings.NewReader(text[i+len(name):])).Decode(&raw) == nil {
				return string(raw), true
			}
		}
	}
	return "", false
}

func number(tail, head, name string) (int, bool) {
	raw, ok := object(tail, head, name)
	n, err := strconv.Atoi(raw)
	return n, ok && err == nil
}

// tables are the tables that load creates.
var tables = []string{
	createTable("bench", false), createTable("plain", false), createTable("indexed", true), createTable("scan", false), createTable("ycsb", false),
}

func createTable(name string, indexed bool) string {
	attributes, index := "", ""
	if indexed {
		attributes = `,{"AttributeName":"g","AttributeType":"S"}`
		index = `,"GlobalSecondaryIndexes":[{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]`
	}
	return `{"TableName":"` + name + `","BillingMode":"PAY_PER_REQUEST","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],` +
		`"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"}` + attributes + `]` + index + `}`
}

// simpleTable is the request for a table with a partition key alone. more are further members, in place of the billing mode on demand.
func simpleTable(name, more string) string {
	if more == "" {
		more = `"BillingMode":"PAY_PER_REQUEST"`
	}
	return `{"TableName":"` + name + `",` + more + `,"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"}]}`
}

// loadTimeout bounds the loading of a server.
const loadTimeout = 2 * time.Minute

// load creates the tables and their items.
func load(s *server) error {
	deadline := time.Now().Add(loadTimeout)
	late := func() error {
		if time.Now().After(deadline) {
			return fmt.Errorf("not loaded within %v", loadTimeout)
		}
		return nil
	}
	c, err := dial(s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	for _, body := range tables {
		if _, err := c.call("CreateTable", body); err != nil {
			return err
		}
	}
	// Not every peer has streams. Those without fail in the workloads that need them.
	streamed := strings.TrimSuffix(createTable("streamed", false), "}") + `,"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_AND_OLD_IMAGES"}}`
	if _, err := c.call("CreateTable", streamed); err == nil {
		if err := waitActive(c, "streamed"); err != nil {
			return err
		}
	}
	if err := waitActive(c, "bench", "plain", "indexed", "scan", "ycsb"); err != nil {
		return err
	}
	for i := 0; i < items; i += 25 {
		for _, table := range []string{"bench", "indexed"} {
			if _, err := c.call("BatchWriteItem", `{"RequestItems":{"`+table+`":[`+list(25, func(j int) string { return `{"PutRequest":{"Item":` + itemJSON(i+j) + `}}` })+`]}}`); err != nil {
				return err
			}
		}
	}
	for i := 0; i < scanItems; i += 25 {
		if err := late(); err != nil {
			return err
		}
		if _, err := c.call("BatchWriteItem", `{"RequestItems":{"scan":[`+list(25, func(j int) string {
			return fmt.Sprintf(`{"PutRequest":{"Item":{"pk":{"S":"p%d"},"sk":{"N":"%d"},"name":{"S":"item %d"},"tags":{"SS":["a","b"]},"data":{"S":"%s"}}}}`, (i+j)/10, (i+j)%10, i+j, value1K[:100])
		})+`]}}`); err != nil {
			return err
		}
	}
	for i := 0; i < ycsbItems; i += 25 {
		if _, err := c.call("BatchWriteItem", `{"RequestItems":{"ycsb":[`+list(25, func(j int) string { return `{"PutRequest":{"Item":` + ycsbItem(i+j) + `}}` })+`]}}`); err != nil {
			return err
		}
	}
	return nil
}

func waitActive(c *conn, names ...string) error {
	for _, name := range names {
		for {
			answer, err := c.call("DescribeTable", `{"TableName":"`+name+`"}`)
			if err != nil {
				return err
			}
			if strings.Contains(string(answer), `"ACTIVE"`) {
				break
			}
		}
	}
	return nil
}

// The mixes of the Yahoo! Cloud Serving Benchmark (Cooper et al., "Benchmarking Cloud Serving Systems with YCSB"), with the
// zipfian choice of the Go library, whose exponent must be above 1: 1.01 for YCSB's 0.99.

func ycsbKey(i int) string {
	return fmt.Sprintf(`{"pk":{"S":"u%d"},"sk":{"N":"%d"}}`, i/100, i%100)
}

func ycsbItem(i int) string {
	return fmt.Sprintf(`{"pk":{"S":"u%d"},"sk":{"N":"%d"},"f0":{"S":"%s"}}`, i/100, i%100, value1K)
}

func ycsbWorkloads() []workload {
	get := func(i int) []byte { return request("GetItem", `{"TableName":"ycsb","Key":`+ycsbKey(i)+`}`) }
	put := func(i int) []byte { return request("PutItem", `{"TableName":"ycsb","Item":`+ycsbItem(i)+`}`) }
	update := func(i int) []byte {
		return request("UpdateItem", `{"TableName":"ycsb","Key":`+ycsbKey(i)+`,"UpdateExpression":"SET f0 = :v","ExpressionAttributeValues":{":v":{"S":"`+value1K+`"}}}`)
	}
	query := func(i int) []byte {
		return request("Query", fmt.Sprintf(`{"TableName":"ycsb","KeyConditionExpression":"pk = :pk AND sk >= :sk","Limit":%d,"ExpressionAttributeValues":{":pk":{"S":"u%d"},":sk":{"N":"%d"}}}`, i%20+1, i/100, i%100))
	}
	var inserted atomic.Int64
	inserted.Store(ycsbItems)
	insert := func() []byte { return put(int(inserted.Add(1) - 1)) }
	type choose func(r *rand.Rand, zipf func() int) [][]byte
	one := func(req []byte) [][]byte { return [][]byte{req} }
	mix := func(name string, f choose) workload {
		return workload{name: name, worker: func(i, n int) worker {
			r := rand.New(rand.NewSource(int64(i) + 1))
			z := rand.NewZipf(r, 1.01, 1, ycsbItems-1)
			// Scatter the popular items, so that they aren't neighbors.
			zipf := func() int { return int(z.Uint64() * 2654435761 % ycsbItems) }
			var pool [][][]byte
			for range prepared / n * 4 {
				pool = append(pool, f(r, zipf))
			}
			return func(c *conn, k int) (int, error) {
				for _, req := range pool[k%len(pool)] {
					status, answer, err := c.do(req)
					if err != nil {
						return 0, err
					}
					if status != 200 {
						return 0, fmt.Errorf("status %d: %.300s", status, answer)
					}
				}
				return 1, nil
			}
		}}
	}
	return []workload{
		mix("A: 50 % read, 50 % update", func(r *rand.Rand, zipf func() int) [][]byte {
			if r.Intn(2) == 0 {
				return one(get(zipf()))
			}
			return one(update(zipf()))
		}),
		mix("B: 95 % read, 5 % update", func(r *rand.Rand, zipf func() int) [][]byte {
			if r.Intn(20) > 0 {
				return one(get(zipf()))
			}
			return one(update(zipf()))
		}),
		mix("C: read", func(_ *rand.Rand, zipf func() int) [][]byte { return one(get(zipf())) }),
		mix("D: 95 % read of the latest, 5 % insert", func(r *rand.Rand, zipf func() int) [][]byte {
			if r.Intn(20) > 0 {
				return one(get(max(0, int(inserted.Load())-1-zipf()/10)))
			}
			return one(insert())
		}),
		mix("E: 95 % short query, 5 % insert", func(r *rand.Rand, zipf func() int) [][]byte {
			if r.Intn(20) > 0 {
				return one(query(zipf()))
			}
			return one(insert())
		}),
		mix("F: 50 % read, 50 % read-modify-write", func(r *rand.Rand, zipf func() int) [][]byte {
			if i := zipf(); r.Intn(2) == 0 {
				return one(get(i))
			} else {
				return [][]byte{get(i), put(i)}
			}
		}),
	}
}
