package tail

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/internal/cli/client"
)

// fake is a server whose stream has a shard that ends, and two children.
type fake struct {
	mu      sync.Mutex
	enabled bool
	asked   []string // iterators that were asked for
	fail    map[string][]string
}

// answer returns the answer to a request, or an error's type.
func (f *fake) answer(operation string, in map[string]string) (answer, refused string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if next := f.fail[operation]; len(next) > 0 {
		f.fail[operation] = next[1:]
		if next[0] != "" {
			return "", next[0]
		}
	}
	switch operation {
	case "DescribeTable":
		if !f.enabled {
			return `{"Table":{}}`, ""
		}
		return `{"Table":{"LatestStreamArn":"arn","StreamSpecification":{"StreamEnabled":true}}}`, ""
	case "DescribeStream":
		if in["ExclusiveStartShardId"] == "" {
			return `{"StreamDescription":{"Shards":[{"ShardId":"parent"}],"LastEvaluatedShardId":"parent"}}`, ""
		}
		return `{"StreamDescription":{"Shards":[{"ShardId":"left","ParentShardId":"parent"},{"ShardId":"right","ParentShardId":"parent"}]}}`, ""
	case "GetShardIterator":
		f.asked = append(f.asked, in["ShardId"]+" "+in["ShardIteratorType"]+in["SequenceNumber"])
		return fmt.Sprintf(`{"ShardIterator":"%s 0"}`, in["ShardId"]), ""
	}
	return map[string]string{
		"parent 0": `{"Records":[` + record("INSERT", 1) + `],"NextShardIterator":"parent 1"}`,
		"parent 1": `{"Records":[` + record("MODIFY", 2) + `]}`,
		"left 0":   `{"Records":[` + record("REMOVE", 3) + `],"NextShardIterator":"left 1"}`,
	}[in["ShardIterator"]], ""
}

func record(event string, n int) string {
	r := fmt.Sprintf(`{"eventName":"%s","dynamodb":{"ApproximateCreationDateTime":1.8e9,"Keys":{"pk":{"S":"k"}},"SequenceNumber":"%d"`, event, n)
	if event != "INSERT" {
		r += `,"OldImage":{"n":{"N":"1"}}`
	}
	if event != "REMOVE" {
		return r + `,"NewImage":{"n":{"N":"2"}}}}`
	}
	return r + `},"userIdentity":{"principalId":"dynamodb.amazonaws.com"}}`
}

// output collects what tail prints, and ends it after the last record.
type output struct {
	strings.Builder
	end context.CancelFunc
}

func (o *output) Write(p []byte) (int, error) {
	if strings.Contains(string(p), "REMOVE") {
		o.end()
	}
	return o.Builder.Write(p)
}

func follow(t *testing.T, f *fake, opt Options) (string, error) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in := map[string]string{}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
		answer, refused := f.answer(operation, in)
		if refused != "" {
			w.WriteHeader(400)
			answer = `{"__type":"x#` + refused + `","message":"refused"}`
		} else if answer == "" {
			answer = `{"Records":[],"NextShardIterator":"` + in["ShardIterator"] + `"}`
		}
		fmt.Fprint(w, answer)
	}))
	defer s.Close()
	ctx, end := context.WithCancel(t.Context())
	defer end()
	out := &output{end: end}
	opt.Server, opt.Table = client.Server{Endpoint: s.URL, Region: "us-east-1", AccessKey: "a", SecretKey: "s"}, "Users"
	opt.Interval, opt.Out = time.Millisecond, out
	err := Run(ctx, opt)
	return out.String(), err
}

// TestFollow reads a shard to its end, then its children.
func TestFollow(t *testing.T) {
	const want = `2027-01-15T08:00:00Z INSERT {"pk":{"S":"k"}}
  + {"n":{"N":"2"}}
2027-01-15T08:00:00Z MODIFY {"pk":{"S":"k"}}
  - {"n":{"N":"1"}}
  + {"n":{"N":"2"}}
2027-01-15T08:00:00Z REMOVE {"pk":{"S":"k"}} by dynamodb.amazonaws.com
  - {"n":{"N":"1"}}
`
	f := &fake{enabled: true}
	got, err := follow(t, f, Options{FromStart: true})
	if err != nil || got != want {
		t.Errorf("%v, got\n%s", err, got)
	}
	if asked := strings.Join(f.asked, ", "); asked != "parent TRIM_HORIZON, left TRIM_HORIZON, right TRIM_HORIZON" {
		t.Errorf("iterators: %s", asked)
	}
}

// TestLatest begins at the end of every shard; JSON prints records as they are.
func TestLatest(t *testing.T) {
	f := &fake{enabled: true}
	got, err := follow(t, f, Options{JSON: true})
	if err != nil || got != record("INSERT", 1)+"\n"+record("MODIFY", 2)+"\n"+record("REMOVE", 3)+"\n" {
		t.Errorf("%v, got\n%s", err, got)
	}
	if f.asked[0] != "parent LATEST" {
		t.Errorf("iterators: %v", f.asked)
	}
}

// TestExpired goes on after the last record seen when an iterator has expired.
func TestExpired(t *testing.T) {
	f := &fake{enabled: true, fail: map[string][]string{"GetRecords": {"", "ExpiredIteratorException"}}}
	if _, err := follow(t, f, Options{FromStart: true}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(strings.Join(f.asked, ","), "parent AFTER_SEQUENCE_NUMBER1") {
		t.Errorf("iterators: %v", f.asked)
	}
}

// TestRefused ends with errors that waiting does not mend.
func TestRefused(t *testing.T) {
	if _, err := follow(t, &fake{}, Options{}); err == nil || !strings.Contains(err.Error(), "table Users has no stream; enable one with") {
		t.Errorf("a table without a stream: %v", err)
	}
	f := &fake{enabled: true, fail: map[string][]string{"GetRecords": {"TrimmedDataAccessException"}}}
	if _, err := follow(t, f, Options{}); err == nil || !strings.Contains(err.Error(), "TrimmedDataAccessException") {
		t.Errorf("trimmed records: %v", err)
	}
}
