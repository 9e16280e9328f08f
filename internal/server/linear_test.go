package server

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/statordb/stator/internal/kv"
)

var histories = flag.Int("histories", 6, "how many histories TestLinearizable records of each kind")

// slowStore delays transactions and reads, and makes commits conflict, at random.
type slowStore struct{ kv.Store }

func pause() {
	if rand.IntN(3) == 0 {
		time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	}
}

func (s slowStore) Begin(ctx context.Context, opt kv.TxnOpt) (kv.Txn, error) {
	pause()
	txn, err := s.Store.Begin(ctx, opt)
	if err != nil {
		return nil, err
	}
	return slowTxn{txn}, nil
}

func (s slowStore) Latest(ctx context.Context) (kv.Snapshot, error) {
	r, err := s.Store.Latest(ctx)
	pause()
	return r, err
}

func (s slowStore) Snapshot(ctx context.Context, keys ...[]byte) (kv.Snapshot, error) {
	r, err := s.Store.Snapshot(ctx, keys...)
	pause()
	return r, err
}

type slowTxn struct{ kv.Txn }

func (t slowTxn) Get(key []byte) ([]byte, error) {
	pause()
	return t.Txn.Get(key)
}

func (t slowTxn) Commit(ctx context.Context) error {
	pause()
	if rand.IntN(20) == 0 {
		if err := t.Rollback(); err != nil {
			return err
		}
		return kv.ErrConflict
	}
	return t.Txn.Commit(ctx)
}

// slowSync returns a file system that syncs slowly, so that crashes hit commits that wait for it.
func slowSync(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo {
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		}
		return nil
	}))
}

const linearKeys = 3

// linearState holds the value of each item; 0 means no item.
type linearState [linearKeys]int

// linearOp is an operation on items a and b.
type linearOp struct {
	kind      string
	a, b      int
	old, next int
}

// linearResult is what a client learned from an operation.
type linearResult struct {
	unknown bool // whether the operation took effect
	refused bool // the condition failed
	x, y    int  // values read
}

// linearModel specifies the operations: they run one at a time on the state of all items.
var linearModel = porcupine.Model{
	Init: func() any { return linearState{} },
	Step: func(state, input, output any) (bool, any) {
		s, op, r := state.(linearState), input.(linearOp), output.(linearResult)
		next, want := s, linearResult{}
		switch op.kind {
		case "get":
			want.x = s[op.a]
		case "put":
			next[op.a] = op.next
			want.x = s[op.a]
		case "delete":
			next[op.a] = 0
			want.x = s[op.a]
		case "compare and set":
			want.refused = s[op.a] != op.old
			want.x = s[op.a]
			if !want.refused {
				next[op.a] = op.next
			}
		case "add":
			next[op.a] = s[op.a] + op.next
			want.x = next[op.a]
		case "move": // if a still has the value read, move 1 from a to b
			want.refused = s[op.a] != op.old
			if !want.refused {
				next[op.a], next[op.b] = s[op.a]-1, op.next
			}
		case "read both":
			want.x, want.y = s[op.a], s[op.b]
		}
		if r.unknown {
			// If it did not take effect, treat it as if it came after all others.
			return true, next
		}
		return r == want, next
	},
	Equal:             func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v -> %+v", in, out) },
}

// linearClient runs operations and records them.
type linearClient struct {
	d    *db
	id   int
	seq  *atomic.Int64 // source of unique values
	ops  []porcupine.Operation
	seen linearState
}

func linearKey(i int) obj { return obj{"id": s(fmt.Sprint("k", i))} }

func (c *linearClient) value(answer obj, name string) int {
	it, _ := answer[name].(obj)
	attribute, _ := it["v"].(obj)
	v, _ := attribute["N"].(string)
	n, _ := strconv.Atoi(v)
	return n
}

// do runs one operation. skip means that it certainly had no effect.
func (c *linearClient) do(op linearOp) (r linearResult, skip bool) {
	item := func(v int) obj { return obj{"id": linearKey(op.a)["id"], "v": n(v)} }
	equals := func(in obj, old int) obj {
		in["ConditionExpression"] = "attribute_not_exists(id)"
		if old != 0 {
			in["ConditionExpression"], in["ExpressionAttributeValues"] = "v = :old", obj{":old": n(old)}
		}
		return in
	}
	var answer obj
	var err error
	switch op.kind {
	case "get":
		answer, err = c.d.call("GetItem", obj{"TableName": "lin", "Key": linearKey(op.a), "ConsistentRead": true})
		r.x = c.value(answer, "Item")
	case "put":
		answer, err = c.d.call("PutItem", obj{"TableName": "lin", "Item": item(op.next), "ReturnValues": "ALL_OLD"})
		r.x = c.value(answer, "Attributes")
	case "delete":
		answer, err = c.d.call("DeleteItem", obj{"TableName": "lin", "Key": linearKey(op.a), "ReturnValues": "ALL_OLD"})
		r.x = c.value(answer, "Attributes")
	case "compare and set":
		in := equals(obj{"TableName": "lin", "Item": item(op.next), "ReturnValues": "ALL_OLD", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}, op.old)
		answer, err = c.d.call("PutItem", in)
		r.x = c.value(answer, "Attributes")
		var refused *apiError
		if errors.As(err, &refused) && refused.kind == "ConditionalCheckFailedException" {
			r.refused, err = true, nil
			var body obj
			_ = json.Unmarshal(refused.body, &body)
			r.x = c.value(body, "Item")
		}
	case "add":
		answer, err = c.d.call("UpdateItem", obj{"TableName": "lin", "Key": linearKey(op.a), "UpdateExpression": "ADD v :n",
			"ExpressionAttributeValues": obj{":n": n(op.next)}, "ReturnValues": "UPDATED_NEW"})
		r.x = c.value(answer, "Attributes")
	case "move":
		_, err = c.d.call("TransactWriteItems", obj{"TransactItems": []obj{
			{"Update": obj{"TableName": "lin", "Key": linearKey(op.a), "UpdateExpression": "SET v = v - :one", "ConditionExpression": "v = :old",
				"ExpressionAttributeValues": obj{":old": n(op.old), ":one": n(1)}}},
			{"Put": obj{"TableName": "lin", "Item": obj{"id": linearKey(op.b)["id"], "v": n(op.next)}}},
		}})
		var refused *apiError
		if errors.As(err, &refused) && refused.kind == "TransactionCanceledException" {
			var body struct{ CancellationReasons []struct{ Code string } }
			_ = json.Unmarshal(refused.body, &body)
			if len(body.CancellationReasons) == 2 && body.CancellationReasons[0].Code == "ConditionalCheckFailed" {
				r.refused, err = true, nil
			}
		}
	case "read both":
		answer, err = c.d.call("TransactGetItems", obj{"TransactItems": []obj{
			{"Get": obj{"TableName": "lin", "Key": linearKey(op.a)}}, {"Get": obj{"TableName": "lin", "Key": linearKey(op.b)}}}})
		if err == nil {
			list := answer["Responses"].([]any)
			r.x, r.y = c.value(list[0].(obj), "Item"), c.value(list[1].(obj), "Item")
		}
	}
	var refused *apiError
	switch {
	case err == nil:
		return r, false
	case errors.As(err, &refused) && refused.status == 400:
		return r, true // a conflict: it had no effect
	}
	return linearResult{unknown: true}, false
}

func (c *linearClient) random() linearOp {
	op := linearOp{a: rand.IntN(linearKeys), next: int(c.seq.Add(1)) * 1000}
	op.b = (op.a + 1 + rand.IntN(linearKeys-1)) % linearKeys
	op.old = c.seen[op.a]
	op.kind = []string{"get", "get", "put", "delete", "compare and set", "compare and set", "add", "move", "move", "read both"}[rand.IntN(10)]
	if op.kind == "move" && op.old == 0 {
		op.kind = "read both"
	}
	return op
}

// run runs operations until there are n of them or up returns false.
func (c *linearClient) run(start time.Time, n int, up func() bool) {
	for range n {
		op := c.random()
		call := time.Since(start)
		r, skip := c.do(op)
		if !up() {
			r, skip = linearResult{unknown: true}, false
		}
		if skip {
			continue
		}
		end := time.Since(start)
		if r.unknown {
			end = time.Hour
		} else if !r.refused || op.kind == "compare and set" {
			c.seen[op.a] = r.x
			if op.kind == "put" || op.kind == "compare and set" && !r.refused {
				c.seen[op.a] = op.next
			}
			if op.kind == "move" && !r.refused {
				c.seen[op.a] = op.old - 1
			}
		}
		c.ops = append(c.ops, porcupine.Operation{ClientId: c.id, Input: op, Call: call.Nanoseconds(), Output: r, Return: end.Nanoseconds()})
		if r.unknown {
			return
		}
	}
}

// TestLinearizable records what concurrent clients see of single items and transactions, and lets porcupine search for a
// sequential order that explains it: strict serializability. In half of the histories the machine crashes midway, and whatever
// was seen before must still hold afterwards.
func TestLinearizable(t *testing.T) {
	for _, kind := range []string{"in memory", "durable", "with a crash", "several servers"} {
		t.Run(kind, func(t *testing.T) {
			for range *histories {
				checkHistory(t, kind)
			}
		})
	}
}

func checkHistory(t *testing.T, kind string) {
	t.Helper()
	fs := vfs.NewCrashableMem()
	opt := Options{wrap: func(s kv.Store) kv.Store { return slowStore{s} }}
	if kind != "in memory" {
		opt.DataDir, opt.fs = "data", slowSync(fs)
	}
	var servers []*db
	if kind == "several servers" {
		opt = Options{wrap: opt.wrap}
		servers = openServers(t, 3, opt)
	} else {
		servers = []*db{open(t, opt)}
	}
	d := servers[0]
	d.must("CreateTable", obj{"TableName": "lin", "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys("id"), "AttributeDefinitions": []obj{attr("id", "S")}})
	const clients = 6
	var seq atomic.Int64
	var all []porcupine.Operation
	begin := time.Now()
	phase := func(first int, up func() bool) {
		var wg sync.WaitGroup
		var list []*linearClient
		for i := range clients {
			c := &linearClient{d: servers[i%len(servers)], id: first + i, seq: &seq}
			list = append(list, c)
			wg.Add(1)
			go func() {
				defer wg.Done()
				c.run(begin, 25, up)
			}()
		}
		wg.Wait()
		for _, c := range list {
			all = append(all, c.ops...)
		}
	}
	if kind == "with a crash" {
		var down atomic.Bool
		crashed := make(chan *vfs.MemFS)
		go func() {
			for seq.Load() < 60 {
				time.Sleep(100 * time.Microsecond)
			}
			down.Store(true)
			crashed <- fs.CrashClone(vfs.CrashCloneCfg{})
		}()
		phase(0, func() bool { return !down.Load() })
		opt.fs = slowSync(<-crashed)
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		servers[0] = open(t, opt)
	}
	phase(clients, func() bool { return true })
	for _, d := range servers {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if res, info := porcupine.CheckOperationsVerbose(linearModel, all, time.Minute); res != porcupine.Ok {
		file := t.TempDir() + "/history.html"
		err := porcupine.VisualizePath(linearModel, info, file)
		t.Fatalf("%d operations: %v (%s, %v)", len(all), res, file, err)
	}
}
