// Package system tests the real binary as a process.
package system

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/statordb/stator/test/process"
)

// binary builds stator once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "stator-system")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "stator")
	out, err := exec.Command("go", "build", "-o", file, "../../cmd/stator").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// server is a running stator.
type server struct{ *process.Process }

func start(t *testing.T, args ...string) server {
	t.Helper()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p, err := process.Stator(file, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return server{p}
}

// call sends a request and returns the status and the answer.
func (p server) call(operation, body string) (int, []byte, error) {
	req, err := http.NewRequest("POST", "http://"+p.Addr, bytes.NewBufferString(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Amz-Target", "DynamoDB_20120810."+operation)
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res.StatusCode, raw, err
}

const createTable = `{"TableName":"crash","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"},{"AttributeName":"g","AttributeType":"N"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"GlobalSecondaryIndexes":[{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`

// TestKill kills the server in the middle of concurrent writes, several times over one data directory, and checks that every
// acknowledged write is there, that pairs written in one transaction are there together or not at all, and that the index and
// the count equal the table.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--data-dir", dir)
	if status, body, err := p.call("CreateTable", createTable); err != nil || status != 200 {
		t.Fatal(status, string(body), err)
	}
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for round := range 6 {
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				for i := 0; ; i++ {
					id := fmt.Sprintf("r%d-w%d-%d", round, w, i)
					var status int
					var err error
					if w%2 == 0 {
						status, _, err = p.call("PutItem", fmt.Sprintf(`{"TableName":"crash","Item":{"id":{"S":"%s"},"g":{"N":"%d"}}}`, id, i%5))
					} else {
						put := func(side string) string {
							return fmt.Sprintf(`{"Put":{"TableName":"crash","Item":{"id":{"S":"%s%s"},"g":{"N":"%d"}}}}`, id, side, i%5)
						}
						status, _, err = p.call("TransactWriteItems", `{"TransactItems":[`+put("-left")+`,`+put("-right")+`]}`)
					}
					if err != nil {
						return // killed
					}
					if status != 200 {
						t.Errorf("status %d", status)
						return
					}
					mu.Lock()
					acknowledged[id] = true
					mu.Unlock()
				}
			}()
		}
		time.Sleep(time.Duration(50+round*37) * time.Millisecond)
		p.Kill()
		wg.Wait()
		p = start(t, "--data-dir", dir)
		check(t, p, acknowledged)
	}
	if len(acknowledged) < 100 {
		t.Errorf("only %d writes were acknowledged", len(acknowledged))
	}
}

// scan returns the ids in the table or index.
func scan(t *testing.T, p server, index string) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	start := ""
	for {
		status, body, err := p.call("Scan", `{"TableName":"crash"`+index+start+`}`)
		if err != nil || status != 200 {
			t.Fatal(status, string(body), err)
		}
		var page struct {
			Items            []struct{ ID struct{ S string } }
			LastEvaluatedKey json.RawMessage
		}
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		for _, it := range page.Items {
			ids[it.ID.S] = true
		}
		if page.LastEvaluatedKey == nil {
			return ids
		}
		start = `,"ExclusiveStartKey":` + string(page.LastEvaluatedKey)
	}
}

func check(t *testing.T, p server, acknowledged map[string]bool) {
	t.Helper()
	items := scan(t, p, "")
	for id := range acknowledged {
		if !items[id] && !(items[id+"-left"] && items[id+"-right"]) {
			t.Fatalf("acknowledged write %s is lost", id)
		}
	}
	for id := range items {
		for side, other := range map[string]string{"-left": "-right", "-right": "-left"} {
			if base, ok := bytes.CutSuffix([]byte(id), []byte(side)); ok && !items[string(base)+other] {
				t.Fatalf("transaction %s is half there", base)
			}
		}
	}
	index := scan(t, p, `,"IndexName":"by-g"`)
	if len(index) != len(items) {
		t.Fatalf("the index has %d entries, the table %d items", len(index), len(items))
	}
	_, body, err := p.call("DescribeTable", `{"TableName":"crash"}`)
	if err != nil {
		t.Fatal(err)
	}
	var d struct{ Table struct{ ItemCount int } }
	if err := json.Unmarshal(body, &d); err != nil || d.Table.ItemCount != len(items) {
		t.Fatalf("ItemCount %d, %d items, %v", d.Table.ItemCount, len(items), err)
	}
}

func TestTerminate(t *testing.T) {
	p := start(t, "--in-memory")
	if err := p.Terminate(); err != nil {
		t.Fatalf("%v: %s", err, p.Output)
	}
}

func TestCommandLine(t *testing.T) {
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		env  string
		ok   bool
		want string
	}{
		{[]string{"version"}, "", true, "stator "},
		{[]string{"serve", "--help"}, "", true, "--durability"},
		{[]string{"serve", "--listen", "0.0.0.0:0"}, "", false, "--insecure"},
		{[]string{"serve", "--durability", "sometimes"}, "STATOR_IN_MEMORY=true", false, "must be sync"},
		{[]string{"serve"}, "STATOR_LISTEN=0.0.0.0:0", false, "--insecure"},
		{[]string{"nonsense"}, "", false, "--help"},
	} {
		cmd := exec.Command(file, c.args...)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), c.env)
		out, err := cmd.CombinedOutput()
		if (err == nil) != c.ok || !bytes.Contains(out, []byte(c.want)) {
			t.Errorf("%v %s: %v: %s", c.args, c.env, err, out)
		}
	}
}
