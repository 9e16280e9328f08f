// Package workload writes to a server such that the outcome can be verified after a crash: acknowledged writes must be there, and
// unacknowledged ones must be there completely or not at all.
package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Call sends a request. The error means that the outcome is unknown: the connection broke, or the server answered with 5xx.
type Call func(operation, body string) (status int, answer []byte, err error)

// Load is a set of writers. Each writes its own items, and all increment one counter.
type Load struct {
	writers []*writer
	follower

	mu          sync.Mutex
	added, sent int // increments of the counter: acknowledged, and sent
	total       int // number of acknowledged writes
}

// writer knows what each of its items must hold.
type writer struct {
	load  *Load
	name  string
	i     int
	items map[string]*item
}

// item is the last acknowledged value, 0 meaning no item, and a sent value whose outcome is unknown.
type item struct {
	acknowledged, sent int
	unknown            bool
}

const table = "crash"

const createTable = `{"TableName":"` + table + `","BillingMode":"PAY_PER_REQUEST",` +
	`"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"g","AttributeType":"N"},{"AttributeName":"v","AttributeType":"N"}],` +
	`"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"GlobalSecondaryIndexes":[` +
	`{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"},{"AttributeName":"v","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}},` +
	`{"IndexName":"by-v","KeySchema":[{"AttributeName":"v","KeyType":"HASH"}],"Projection":{"ProjectionType":"KEYS_ONLY"}}],` +
	`"StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_AND_OLD_IMAGES"}}`

// enableTTL makes v, a time long ago, the expiry time: items have entries in the TTL index, and stay because they expired too long ago.
const enableTTL = `{"TableName":"` + table + `","TimeToLiveSpecification":{"Enabled":true,"AttributeName":"v"}}`

// New returns a load of n writers.
func New(n int) *Load {
	l := &Load{}
	for i := range n {
		l.writers = append(l.writers, &writer{load: l, name: fmt.Sprintf("w%d", i), items: map[string]*item{}})
	}
	return l
}

// Setup creates the table.
func (l *Load) Setup(call Call) error {
	for _, r := range [][2]string{{"CreateTable", createTable}, {"UpdateTimeToLive", enableTTL}} {
		status, answer, err := call(r[0], r[1])
		if err := answered(r[0], status, answer, err); err != nil {
			return err
		}
	}
	return nil
}

// Acknowledged returns the number of acknowledged writes so far.
func (l *Load) Acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// Run lets all writers write until the outcome of a write is unknown, or until stop is closed. It returns an error if the server refuses a
// write that must succeed.
func (l *Load) Run(call Call, stop <-chan struct{}) error {
	errs := make(chan error, len(l.writers))
	for _, w := range l.writers {
		go func() { errs <- w.run(call, stop) }()
	}
	var err error
	for range l.writers {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return err
}

func (w *writer) run(call Call, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		w.i++
		known, err := w.step(call)
		if err != nil || !known {
			return err
		}
	}
}

// step does one write.
func (w *writer) step(call Call) (known bool, err error) {
	i := w.i
	row := func(id string) string {
		return fmt.Sprintf(`{"id":{"S":"%s"},"v":{"N":"%d"},"g":{"N":"%d"},"pad":{"S":"%s"}}`, id, i, i%5, strings.Repeat("x", i*37%900))
	}
	id := func(kind string) string { return kind + "-" + w.name }
	switch i % 6 {
	case 0:
		return w.write(call, "PutItem", fmt.Sprintf(`{"TableName":"%s","Item":%s}`, table, row(id("put"))), i, id("put"))
	case 1:
		put := func(id string) string {
			return fmt.Sprintf(`{"Put":{"TableName":"%s","Item":%s}}`, table, row(id))
		}
		return w.write(call, "TransactWriteItems", `{"TransactItems":[`+put(id("left"))+`,`+put(id("right"))+`]}`, i, id("left"), id("right"))
	case 2:
		return w.count(call)
	case 3:
		// Optimistic locking. The condition holds, because no one else writes the item and its value is known.
		condition := `attribute_not_exists(id)`
		if old := w.item(id("lock")).acknowledged; old != 0 {
			condition = `v = :old`
		}
		body := fmt.Sprintf(`{"TableName":"%s","Key":{"id":{"S":"%s"}},"UpdateExpression":"SET v = :v, g = :g","ConditionExpression":"%s","ExpressionAttributeValues":{":v":{"N":"%d"},":g":{"N":"%d"}`,
			table, id("lock"), condition, i, i%5)
		if strings.Contains(condition, ":old") {
			body += fmt.Sprintf(`,":old":{"N":"%d"}`, w.item(id("lock")).acknowledged)
		}
		return w.write(call, "UpdateItem", body+`}}`, i, id("lock"))
	case 4:
		var puts []string
		var ids []string
		for n := range 5 {
			ids = append(ids, id(fmt.Sprint("batch", n)))
			puts = append(puts, `{"PutRequest":{"Item":`+row(ids[n])+`}}`)
		}
		// Each item of a batch is an independent write.
		return w.write(call, "BatchWriteItem", `{"RequestItems":{"`+table+`":[`+strings.Join(puts, ",")+`]}}`, i, ids...)
	default:
		return w.write(call, "DeleteItem", fmt.Sprintf(`{"TableName":"%s","Key":{"id":{"S":"%s"}}}`, table, id("batch0")), 0, id("batch0"))
	}
}

func (w *writer) item(id string) *item {
	it := w.items[id]
	if it == nil {
		it = &item{}
		w.items[id] = it
	}
	return it
}

// write sends a write that sets the items to a value.
func (w *writer) write(call Call, operation, body string, value int, ids ...string) (known bool, err error) {
	status, answer, err := call(operation, body)
	if err != nil {
		for _, id := range ids {
			it := w.item(id)
			it.sent, it.unknown = value, true
		}
		return false, nil
	}
	if status != 200 {
		return true, fmt.Errorf("%s: %d %s", operation, status, answer)
	}
	for _, id := range ids {
		w.item(id).acknowledged = value
	}
	w.load.mu.Lock()
	w.load.total++
	w.load.mu.Unlock()
	return true, nil
}

// count increments the shared counter.
func (w *writer) count(call Call) (known bool, err error) {
	l := w.load
	l.mu.Lock()
	l.sent++
	l.mu.Unlock()
	status, answer, err := call("UpdateItem", `{"TableName":"`+table+`","Key":{"id":{"S":"counter"}},"UpdateExpression":"ADD n :one","ExpressionAttributeValues":{":one":{"N":"1"}}}`)
	switch {
	case err != nil:
		return false, nil
	case status != 200:
		return true, fmt.Errorf("UpdateItem: %d %s", status, answer)
	}
	l.mu.Lock()
	l.added++
	l.total++
	l.mu.Unlock()
	return true, nil
}

// answered returns an error unless a call was answered with status 200.
func answered(operation string, status int, answer []byte, err error) error {
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d: %s", status, answer)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// Check compares the server's data, and its stream, with what they must be. The data become the new expected state.
func (l *Load) Check(call Call) error {
	have := map[string]map[string]struct{ S, N string }{}
	whole := map[string]any{}
	start := ""
	for {
		status, answer, err := call("Scan", `{"TableName":"`+table+`","ConsistentRead":true`+start+`}`)
		if err := answered("Scan", status, answer, err); err != nil {
			return err
		}
		var page struct {
			Items            []json.RawMessage
			LastEvaluatedKey json.RawMessage
		}
		if err := json.Unmarshal(answer, &page); err != nil {
			return err
		}
		for _, raw := range page.Items {
			var it map[string]struct{ S, N string }
			var all any
			if err := errors.Join(json.Unmarshal(raw, &it), json.Unmarshal(raw, &all)); err != nil {
				return err
			}
			have[it["id"].S], whole[it["id"].S] = it, all
		}
		if page.LastEvaluatedKey == nil {
			break
		}
		start = `,"ExclusiveStartKey":` + string(page.LastEvaluatedKey)
	}
	if err := l.catchUp(call, whole); err != nil {
		return err
	}
	value := func(id, attribute string) int {
		n, _ := strconv.Atoi(have[id][attribute].N) // 0 if there is none
		return n
	}
	if n := value("counter", "n"); n < l.added || n > l.sent { // an addition that wasn't acknowledged may or may not have happened
		return fmt.Errorf("the counter is %d; %d additions were acknowledged, %d sent", n, l.added, l.sent)
	}
	l.added, l.sent = value("counter", "n"), value("counter", "n")
	known := map[string]bool{"counter": true}
	for _, w := range l.writers {
		if left, right := value("left-"+w.name, "v"), value("right-"+w.name, "v"); left != right {
			return fmt.Errorf("a transaction of %s is half there: %d and %d", w.name, left, right)
		}
		for id, it := range w.items {
			known[id] = true
			v := value(id, "v")
			// Acknowledged writes must be there. A write without an answer may be there, but nothing else.
			if v != it.acknowledged && !(it.unknown && v == it.sent) {
				return fmt.Errorf("%s is %d; %d was acknowledged, %d sent and not acknowledged (%v)", id, v, it.acknowledged, it.sent, it.unknown)
			}
			*it = item{acknowledged: v}
		}
	}
	for id := range have {
		if !known[id] {
			return fmt.Errorf("item %s was never written", id)
		}
	}
	return nil
}
