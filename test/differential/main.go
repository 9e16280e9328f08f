// Command differential sends the same random requests to Stator and to DynamoDB Local, and compares bodies and messages.
//
//	make differential
//
// deviations.txt lists known differences where Stator follows AWS: each line is a pattern of Local's message and one of ours, with the
// reason above it. Remove a deviation that no longer occurs.
package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/statordb/stator/test/process"
	"github.com/statordb/stator/test/request"
)

var (
	statorBinary = flag.String("stator", "bin/stator", "Stator's binary")
	localJars    = flag.String("local-classpath", "", "class path of DynamoDB Local")
	requests     = flag.Int("n", 20000, "number of requests")
	seed         = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random requests")
)

//go:embed deviations.txt
var deviationsText string

// deviation is a known difference in messages.
type deviation struct {
	local, ours *regexp.Regexp
	seen        int
}

func readDeviations() []*deviation {
	var out []*deviation
	for _, line := range strings.Split(deviationsText, "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		local, ours, ok := strings.Cut(line, " => ")
		if !ok {
			log.Fatalf("deviations.txt: %q", line)
		}
		out = append(out, &deviation{local: regexp.MustCompile("^(?:" + local + ")$"), ours: regexp.MustCompile("^(?:" + ours + ")$")})
	}
	return out
}

func call(addr, operation string, body []byte) (int, map[string]any) {
	status, raw, err := request.Send("http://"+addr, operation, body, nil)
	if err != nil {
		log.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		log.Fatalf("%s: %q: %v", operation, raw, err)
	}
	return status, out
}

// answer returns an answer in a comparable form: errors by type and message, bodies with sorted sets and with the items of scans sorted.
func answer(operation string, status int, body map[string]any) (text, message string) {
	if status != 200 {
		kind, _ := body["__type"].(string)
		_, kind, _ = strings.Cut(kind, "#")
		message, ok := body["message"].(string)
		if !ok {
			message, _ = body["Message"].(string)
		}
		if reasons, ok := body["CancellationReasons"]; ok {
			raw, _ := json.Marshal(normal(reasons, false))
			return kind + " " + string(raw), ""
		}
		return kind, message
	}
	delete(body, "ConsumedCapacity") // Local returns it from DeleteItem without being asked
	raw, err := json.Marshal(normal(body, operation == "Scan" || operation == "BatchGetItem"))
	if err != nil {
		log.Fatal(err)
	}
	return string(raw), ""
}

func normal(v any, unordered bool) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			e = normal(e, unordered)
			if list, ok := e.([]any); ok && (k == "SS" || k == "NS" || k == "BS" || unordered) {
				sort.Slice(list, func(i, j int) bool { return fmt.Sprint(list[i]) < fmt.Sprint(list[j]) })
			}
			v[k] = e
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i], unordered)
		}
	}
	return v
}

type obj = map[string]any

// generator generates random requests on the table "diff".
type generator struct{ *rand.Rand }

func (g generator) one(list ...string) string { return list[g.IntN(len(list))] }

func (g generator) key() obj {
	return obj{"pk": obj{"S": g.one("a", "b", "c")}, "sk": obj{"N": g.one("1", "2", "3", "-1.5", "10")}}
}

func (g generator) value(depth int) any {
	n := 12
	if depth > 2 {
		n = 6
	}
	switch g.IntN(n) {
	case 0, 1:
		return obj{"S": g.one("", "x", "abc", "abd", "é")}
	case 2, 3:
		return obj{"N": g.one("0", "1", "2.5", "-3", "1000", "100", "0.0001")}
	case 4:
		return obj{"BOOL": g.IntN(2) == 0}
	case 5:
		return obj{"NULL": true}
	case 6:
		return obj{"B": g.one("AQ==", "AQI=")}
	case 7:
		return obj{"SS": [][]string{{"a"}, {"b", "a"}, {"x", "y", "z"}}[g.IntN(3)]}
	case 8:
		return obj{"NS": [][]string{{"1"}, {"2", "10"}}[g.IntN(2)]}
	case 9, 10:
		list := []any{}
		for range g.IntN(3) {
			list = append(list, g.value(depth+1))
		}
		return obj{"L": list}
	}
	m := obj{}
	for range g.IntN(3) {
		m[g.one("x", "y", "z")] = g.value(depth + 1)
	}
	return obj{"M": m}
}

func (g generator) item() obj {
	it := g.key()
	for range g.IntN(5) {
		it[g.one("v", "w", "x", "y")] = g.value(0)
	}
	if g.IntN(2) == 0 {
		it["g"] = obj{"S": g.one("g1", "g2")}
	}
	if g.IntN(2) == 0 {
		it["l"] = it["sk"] // distinct within a partition, because the order of equal keys is undefined
	}
	return it
}

// expression collects the placeholders that it uses.
type expression struct {
	generator
	names, values obj
}

func (e *expression) val() string {
	name := fmt.Sprintf(":v%d", len(e.values))
	e.values[name] = e.value(0)
	return name
}

func (e *expression) path() string {
	p := e.one("v", "w", "x", "y", "gone")
	if e.IntN(8) == 0 {
		e.names["#n"] = p
		p = "#n"
	}
	for e.IntN(3) == 0 {
		p += e.one(".x", ".y", "[0]", "[1]")
	}
	return p
}

func (e *expression) operand() string {
	switch e.IntN(5) {
	case 0:
		return "size(" + e.path() + ")"
	case 1, 2:
		return e.path()
	}
	return e.val()
}

func (e *expression) condition(depth int) string {
	n := 12
	if depth > 2 {
		n = 8
	}
	switch e.IntN(n) {
	case 0:
		return "attribute_exists(" + e.path() + ")"
	case 1:
		return "attribute_not_exists(" + e.path() + ")"
	case 2:
		return "contains(" + e.path() + ", " + e.val() + ")"
	case 3:
		return "begins_with(" + e.path() + ", " + e.val() + ")"
	case 4:
		return e.operand() + " BETWEEN " + e.operand() + " AND " + e.operand()
	case 5:
		return e.operand() + " IN (" + e.operand() + ", " + e.operand() + ")"
	case 6, 7:
		return e.operand() + " " + e.one("=", "<>", "<", "<=", ">", ">=") + " " + e.operand()
	case 8:
		return "NOT " + e.condition(depth+1)
	case 9:
		return "(" + e.condition(depth+1) + ")"
	}
	return e.condition(depth+1) + " " + e.one("AND", "OR", "and") + " " + e.condition(depth+1)
}

func (e *expression) update() string {
	var parts []string
	for _, section := range []string{"SET", "REMOVE", "ADD", "DELETE"} {
		if e.IntN(3) > 0 {
			continue
		}
		switch section {
		case "SET":
			right := e.val()
			switch e.IntN(6) {
			case 0:
				right = e.path()
			case 1:
				right = e.path() + e.one(" + ", " - ") + e.val()
			case 2:
				right = "if_not_exists(" + e.path() + ", " + e.val() + ")"
			case 3:
				right = "list_append(" + e.path() + ", " + e.val() + ")"
			}
			parts = append(parts, "SET "+e.path()+" = "+right)
		case "REMOVE":
			parts = append(parts, "REMOVE "+e.path())
		default:
			parts = append(parts, section+" "+e.path()+" "+e.val())
		}
	}
	if parts == nil {
		return "SET v = " + e.val()
	}
	return strings.Join(parts, " ")
}

func (e *expression) addTo(in obj) {
	if len(e.names) > 0 {
		in["ExpressionAttributeNames"] = e.names
	}
	if len(e.values) > 0 {
		in["ExpressionAttributeValues"] = e.values
	}
}

func (g generator) request() (string, obj) {
	e := &expression{g, obj{}, obj{}}
	in := obj{"TableName": "diff"}
	op := g.one("PutItem", "PutItem", "UpdateItem", "UpdateItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "Query", "Scan", "TransactWriteItems", "BatchGetItem")
	switch op {
	case "PutItem", "DeleteItem", "UpdateItem":
		in["Key"] = g.key()
		if op == "PutItem" {
			delete(in, "Key")
			in["Item"] = g.item()
		}
		if op == "UpdateItem" {
			in["UpdateExpression"] = e.update()
			in["ReturnValues"] = g.one("NONE", "ALL_OLD", "ALL_NEW")
		} else {
			in["ReturnValues"] = g.one("NONE", "ALL_OLD")
		}
		if g.IntN(3) == 0 {
			in["ConditionExpression"] = e.condition(0)
		}
	case "GetItem":
		in["Key"] = g.key()
		if g.IntN(2) == 0 {
			in["ProjectionExpression"] = e.path() + ", " + e.path()
		}
	case "Query":
		in["KeyConditionExpression"] = "pk = :pk"
		e.values[":pk"] = obj{"S": g.one("a", "b", "c")}
		switch g.IntN(4) {
		case 0:
			in["KeyConditionExpression"] = "pk = :pk AND sk " + g.one("=", "<", "<=", ">", ">=") + " :sk"
			e.values[":sk"] = obj{"N": g.one("1", "2", "-5")}
		case 1:
			in["IndexName"] = "by-l"
		case 2:
			in["KeyConditionExpression"] = "pk = :pk AND sk BETWEEN :a AND :b"
			e.values[":a"], e.values[":b"] = obj{"N": g.one("-2", "1")}, obj{"N": g.one("2", "10")}
		}
		in["ScanIndexForward"] = g.IntN(2) == 0
		if g.IntN(3) == 0 {
			in["Limit"] = 1 + g.IntN(3)
		}
		if g.IntN(3) == 0 {
			in["FilterExpression"] = e.condition(0)
		}
	case "Scan":
		if g.IntN(2) == 0 {
			in["FilterExpression"] = e.condition(0)
		}
		if g.IntN(3) == 0 {
			in["IndexName"] = "by-g"
		}
	case "BatchGetItem":
		return op, obj{"RequestItems": obj{"diff": obj{"Keys": []any{g.key(), g.key()}}}}
	case "TransactWriteItems":
		put := obj{"TableName": "diff", "Item": g.item()}
		if g.IntN(2) == 0 {
			put["ConditionExpression"] = e.condition(1)
			e.addTo(put)
		}
		return op, obj{"TransactItems": []any{obj{"Put": put}, obj{"Delete": obj{"TableName": "diff", "Key": g.key()}}}}
	}
	e.addTo(in)
	return op, in
}

const table = `{"TableName":"diff","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"},{"AttributeName":"g","AttributeType":"S"},{"AttributeName":"l","AttributeType":"N"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"LocalSecondaryIndexes":[{"IndexName":"by-l","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}}],"GlobalSecondaryIndexes":[{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`

func main() {
	flag.Parse()
	log.SetFlags(0)
	different, err := run()
	if err != nil {
		log.Fatal(err)
	}
	if different > 0 {
		os.Exit(1)
	}
}

func run() (different int, err error) {
	stator, err := process.Stator(*statorBinary, "--in-memory")
	if err != nil {
		return 0, err
	}
	defer stator.Kill()
	local, err := process.DynamoDBLocal(*localJars, "-inMemory", "-sharedDb")
	if err != nil {
		return 0, err
	}
	defer local.Kill()
	return compare(stator.Addr, local.Addr), nil
}

func compare(statorAddr, localAddr string) (different int) {
	for _, addr := range []string{statorAddr, localAddr} {
		if status, body := call(addr, "CreateTable", []byte(table)); status != 200 {
			log.Fatalf("CreateTable: %v", body)
		}
	}
	deviations := readDeviations()
	g := generator{rand.New(rand.NewPCG(*seed, 0))}
	known, refused := 0, 0
	w := bufio.NewWriter(os.Stdout)
	defer w.Flush()
	for i := range *requests {
		op, in := g.request()
		body, err := json.Marshal(in)
		if err != nil {
			log.Fatal(err)
		}
		localStatus, localBody := call(localAddr, op, body)
		ourStatus, ourBody := call(statorAddr, op, body)
		local, localMessage := answer(op, localStatus, localBody)
		ours, ourMessage := answer(op, ourStatus, ourBody)
		if localStatus != 200 { // reported, because a generator whose requests are mostly refused tests little
			refused++
		}
		if local == ours && localMessage == ourMessage {
			continue
		}
		if deviates(deviations, local+" "+localMessage, ours+" "+ourMessage) {
			known++
			// If only one of the two wrote, their states differ from here on. Make them equal again.
			if localStatus != ourStatus {
				realign(statorAddr, localAddr)
			}
			continue
		}
		different++
		fmt.Fprintf(w, "request %d (seed %d): %s %s\n  Local:  %d %s %s\n  Stator: %d %s %s\n", i, *seed, op, body, localStatus, local, localMessage, ourStatus, ours, ourMessage)
		if different == 20 { // enough to find the cause; more would bury it
			break
		}
		realign(statorAddr, localAddr)
	}
	for _, d := range deviations {
		if d.seen == 0 {
			fmt.Fprintf(w, "deviation that did not occur: %s\n", d.local)
		}
	}
	fmt.Fprintf(w, "%d requests, %d of them refused; seed %d; %d known deviations; %d passed, %d failed\n", *requests, refused, *seed, known, *requests-different, different)
	return different
}

func deviates(list []*deviation, local, ours string) bool {
	for _, d := range list {
		if d.local.MatchString(local) && d.ours.MatchString(ours) {
			d.seen++
			return true
		}
	}
	return false
}

// realign empties both tables.
func realign(addrs ...string) {
	for _, addr := range addrs {
		_, page := call(addr, "Scan", []byte(`{"TableName":"diff"}`))
		items, _ := page["Items"].([]any)
		for _, it := range items {
			key, err := json.Marshal(obj{"TableName": "diff", "Key": obj{"pk": it.(obj)["pk"], "sk": it.(obj)["sk"]}})
			if err != nil {
				log.Fatal(err)
			}
			call(addr, "DeleteItem", key)
		}
	}
}
