// Command differential sends the same random requests to Stator and to another server, and compares bodies and messages.
//
//	make differential
//
// The other servers are DynamoDB Local and dynoxide. A disagreement is either our fault, or settled by a record of AWS: then it is in
// deviations-local.txt or deviations-dynoxide.txt. Each line there is a pattern of the other's answer and one of ours, with the record or
// reason above it. Remove a deviation that no longer occurs.
package main

import (
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/statordb/stator/test/process"
	"github.com/statordb/stator/test/request"
)

var (
	statorBinary = flag.String("stator", "bin/stator", "Stator's binary")
	localJars    = flag.String("local-classpath", "", "class path of DynamoDB Local; without it, Local is left out")
	dynoxide     = flag.String("dynoxide", "", "dynoxide's binary; without it, dynoxide is left out")
	requests     = flag.Int("n", 20000, "number of requests")
	kinds        = flag.Int("kinds", 40, "kinds of disagreement after which to stop")
	seed         = flag.Uint64("seed", uint64(time.Now().UnixNano()), "seed of the random requests")
)

//go:embed deviations-local.txt
var localDeviations string

//go:embed deviations-dynoxide.txt
var dynoxideDeviations string

// peer is a server to compare with.
type peer struct {
	name       string
	deviations string
	// older means that its sentences are AWS's of before 2026: without awsPrefix, and for many faults in other words. It gets valid
	// requests, because that is what it is good for.
	older bool
	start func() (*process.Process, error)
}

// awsPrefix begins most of AWS's sentences about requests since 2026.
const awsPrefix = "1 validation error detected: "

// peers returns the servers that the flags name.
func peers() (out []peer) {
	if *localJars != "" {
		out = append(out, peer{"Local", localDeviations, true, func() (*process.Process, error) {
			return process.DynamoDBLocal(*localJars, "-inMemory", "-sharedDb")
		}})
	}
	if *dynoxide != "" {
		out = append(out, peer{"dynoxide", dynoxideDeviations, false, func() (*process.Process, error) {
			addr, err := process.FreeAddr()
			if err != nil {
				return nil, err
			}
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return process.Start(addr, nil, *dynoxide, "serve", "--port", port, "--log", "quiet")
		}})
	}
	return out
}

// deviation is a known difference.
type deviation struct {
	theirs, ours *regexp.Regexp
	seen         int
}

// readDeviations reads a list of them.
func readDeviations(text string) (out []*deviation, err error) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		theirs, ours, ok := strings.Cut(line, " => ")
		if !ok {
			return nil, fmt.Errorf("no deviation: %q", line)
		}
		d := &deviation{}
		if d.theirs, err = regexp.Compile("^(?:" + theirs + ")$"); err != nil {
			return nil, err
		}
		if d.ours, err = regexp.Compile("^(?:" + ours + ")$"); err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// call sends a request. An answer without a body is an empty object.
func call(addr, operation string, body []byte) (status int, out map[string]any, err error) {
	status, raw, err := request.Send("http://"+addr, operation, body, nil)
	if err != nil {
		return 0, nil, err
	}
	if err := json.Unmarshal(raw, &out); err != nil && len(raw) > 0 {
		return 0, nil, fmt.Errorf("%s: %q: %w", operation, raw, err)
	}
	return status, out, nil
}

// answer returns an answer in a comparable form: errors by type and message, bodies with sorted sets and with the items of scans sorted.
func answer(operation string, status int, body map[string]any) string {
	if status != 200 {
		kind, _ := body["__type"].(string)
		if _, name, ok := strings.Cut(kind, "#"); ok {
			kind = name
		}
		if reasons, ok := body["CancellationReasons"]; ok {
			return kind + " " + encode(normal(reasons, false))
		}
		message, ok := body["message"].(string)
		if !ok {
			message, _ = body["Message"].(string)
		}
		return strings.TrimSpace(kind + " " + message)
	}
	delete(body, "ConsumedCapacity") // Local returns it from DeleteItem without being asked
	if body["NextToken"] != nil {
		body["NextToken"] = "…" // each server has its own form
	}
	return encode(normal(body, operation == "Scan" || operation == "BatchGetItem" || strings.HasSuffix(operation, "Statement")))
}

// encode renders what was decoded from JSON, or makes a request's body.
func encode(v any) string {
	var out strings.Builder
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false) // for people to read
	if err := e.Encode(v); err != nil {
		panic(err) // it has no other types than those of JSON
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func normal(v any, unordered bool) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			e = normal(e, unordered)
			if list, ok := e.([]any); ok && (k == "SS" || k == "NS" || k == "BS" || unordered && k == "Items" || unordered && k == "diff") {
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

const table = `{"TableName":"diff","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"pk","AttributeType":"S"},{"AttributeName":"sk","AttributeType":"N"},{"AttributeName":"g","AttributeType":"S"},{"AttributeName":"l","AttributeType":"N"}],"KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"sk","KeyType":"RANGE"}],"LocalSecondaryIndexes":[{"IndexName":"by-l","KeySchema":[{"AttributeName":"pk","KeyType":"HASH"},{"AttributeName":"l","KeyType":"RANGE"}],"Projection":{"ProjectionType":"ALL"}}],"GlobalSecondaryIndexes":[{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`

func main() {
	flag.Parse()
	log.SetFlags(0)
	failed := false
	for _, p := range peers() {
		c, err := run(p)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(c.report())
		failed = failed || len(c.found) > 0
	}
	if failed {
		os.Exit(1)
	}
}

// run compares with a server.
func run(p peer) (*comparison, error) {
	c := &comparison{peer: p, found: map[string]*disagreement{}}
	var err error
	if c.deviations, err = readDeviations(p.deviations); err != nil {
		return nil, err
	}
	stator, err := process.Stator(*statorBinary, "--in-memory")
	if err != nil {
		return nil, err
	}
	defer stator.Kill()
	other, err := p.start()
	if err != nil {
		return nil, err
	}
	defer other.Kill()
	c.ours, c.theirs = stator.Addr, other.Addr
	return c, c.run()
}

// comparison is of Stator and a peer.
type comparison struct {
	peer
	ours, theirs   string // addresses
	deviations     []*deviation
	found          map[string]*disagreement // by kind
	sent           int
	refused, known int
}

// disagreement is one kind of difference that is not a known deviation.
type disagreement struct {
	times   int
	example string
}

// run sends the requests.
func (c *comparison) run() error {
	for _, addr := range []string{c.ours, c.theirs} {
		status, body, err := call(addr, "CreateTable", []byte(table))
		if err != nil || status != 200 {
			return fmt.Errorf("CreateTable: %v %w", body, err)
		}
	}
	g := generator{rand.New(rand.NewPCG(*seed, 0)), c.older}
	for c.sent < *requests && len(c.found) < *kinds {
		op, in := g.request()
		same, err := c.compare(op, in)
		switch {
		case err != nil:
		case !same:
			err = realign(c.ours, c.theirs) // perhaps only one of them wrote
		case writes.MatchString(op):
			err = c.compareTables(op, in)
		}
		if err != nil {
			return err
		}
		c.sent++
	}
	return nil
}

// compare sends one request to both, and reports whether the answers are the same.
func (c *comparison) compare(op string, in obj) (same bool, err error) {
	body := encode(in)
	theirStatus, theirBody, err := call(c.theirs, op, []byte(body))
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", c.name, body, err)
	}
	ourStatus, ourBody, err := call(c.ours, op, []byte(body))
	if err != nil {
		return false, fmt.Errorf("our server, %s: %w", body, err)
	}
	theirs, ours := answer(op, theirStatus, theirBody), answer(op, ourStatus, ourBody)
	if ourStatus != 200 { // reported, because a generator whose requests are mostly refused tests little
		c.refused++
	}
	if ourStatus == theirStatus && (ours == theirs || c.older && strings.Replace(ours, awsPrefix, "", 1) == theirs) {
		return true, nil
	}
	c.differ(op, body, fmt.Sprint(theirStatus, " ", theirs), fmt.Sprint(ourStatus, " ", ours))
	return false, nil
}

// differ records a difference, unless it is a known one.
func (c *comparison) differ(op, body, theirs, ours string) {
	for _, d := range c.deviations {
		if d.theirs.MatchString(theirs) && d.ours.MatchString(ours) {
			d.seen++
			c.known++
			return
		}
	}
	kind := op + " | " + general(theirs) + " | " + general(ours)
	if c.found[kind] == nil {
		c.found[kind] = &disagreement{example: fmt.Sprintf("request %d: %s %s\n  %s: %s\n  Stator: %s\n", c.sent, op, body, c.name, theirs, ours)}
	}
	c.found[kind].times++
}

// writes matches operations after which the tables are compared.
var writes = regexp.MustCompile("Put|Update|Delete|Write|Statement|ExecuteTransaction")

// compareTables compares what the tables contain after a request, and makes them equal again.
func (c *comparison) compareTables(op string, in obj) error {
	theirs, err := contents(c.theirs)
	if err != nil {
		return err
	}
	ours, err := contents(c.ours)
	if err != nil {
		return err
	}
	if slices.Equal(theirs, ours) {
		return nil
	}
	theirs, ours = slices.DeleteFunc(theirs, keyAlone), slices.DeleteFunc(ours, keyAlone)
	if !slices.Equal(theirs, ours) {
		c.differ(op, encode(in), "table "+strings.Join(theirs, " "), "table "+strings.Join(ours, " "))
	}
	return realign(c.ours, c.theirs)
}

// keyAlone reports whether an item has no attributes but those of its key. The other servers create such items when an update only
// removes; AWS does not (paritysuite tests/tier1/updateItem/basic.test.ts, autumn 2026).
func keyAlone(item string) bool { return keyItem.MatchString(item) }

var keyItem = regexp.MustCompile(`^\{"pk":\{"S":"[a-z]*"\},"sk":\{"N":"[-0-9.]*"\}\}$`)

// contents returns the items of a server's table, sorted.
func contents(addr string) (items []string, err error) {
	_, page, err := call(addr, "Scan", []byte(`{"TableName":"diff"}`))
	if err != nil {
		return nil, err
	}
	list, _ := page["Items"].([]any)
	for _, it := range list {
		items = append(items, encode(normal(it, false)))
	}
	slices.Sort(items)
	return items, nil
}

var particular = regexp.MustCompile(`'[^']*'|"[^"]*"|\{[^}]*\}|\[[^\]]*\]|[-0-9.]+|: [^ ;]+;`)

// general returns an answer without what is particular to the request. All successful answers are of one kind.
func general(answer string) string {
	if strings.HasPrefix(answer, "200 ") || strings.HasPrefix(answer, "table ") {
		return answer[:5]
	}
	return particular.ReplaceAllString(answer, "…")
}

// report renders what was found.
func (c *comparison) report() string {
	var out strings.Builder
	var list []*disagreement
	for _, d := range c.found {
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b *disagreement) int { return b.times - a.times })
	for _, d := range list {
		fmt.Fprintf(&out, "%d times, such as %s", d.times, d.example)
	}
	for _, d := range c.deviations {
		if d.seen == 0 {
			fmt.Fprintf(&out, "deviation that did not occur: %s => %s\n", d.theirs, d.ours)
		}
	}
	fmt.Fprintf(&out, "%s: %d requests, %d of them refused; seed %d; %d known deviations; %d kinds of disagreement\n", c.name, c.sent, c.refused, *seed, c.known, len(c.found))
	return out.String()
}

// realign empties both tables.
func realign(addrs ...string) error {
	for _, addr := range addrs {
		_, page, err := call(addr, "Scan", []byte(`{"TableName":"diff"}`))
		if err != nil {
			return err
		}
		items, _ := page["Items"].([]any)
		for _, it := range items {
			key := encode(obj{"TableName": "diff", "Key": obj{"pk": it.(obj)["pk"], "sk": it.(obj)["sk"]}})
			if _, _, err := call(addr, "DeleteItem", []byte(key)); err != nil {
				return err
			}
		}
	}
	return nil
}
