package system

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// advance advances the server's clock.
func advance(t *testing.T, endpoint, duration string) {
	t.Helper()
	res, err := http.Post(endpoint+"/_stator/clock", "application/json", strings.NewReader(`{"advance":"`+duration+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
}

// TestTail follows a table with `stator tail` while its shards rotate.
func TestTail(t *testing.T) {
	p := start(t, "--in-memory", "--test-clock")
	must := func(operation, body string) {
		t.Helper()
		if status, answer, err := p.call(operation, body); err != nil || status != 200 {
			t.Fatalf("%s: %d %s %v", operation, status, answer, err)
		}
	}
	endpoint := "http://" + p.Addr
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(file, "tail", "music", "--endpoint-url", endpoint).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "ResourceNotFoundException") {
		t.Fatalf("tail of a table that is not there: %s %v", out, err)
	}
	must("CreateTable", `{"TableName":"music","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"N"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`)
	out, err = exec.Command(file, "tail", "music", "--endpoint-url", endpoint).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "has no stream") {
		t.Fatalf("tail of a table without a stream: %s %v", out, err)
	}
	must("UpdateTable", `{"TableName":"music","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_AND_OLD_IMAGES"}}`)
	put := func(i int) {
		t.Helper()
		must("PutItem", fmt.Sprintf(`{"TableName":"music","Item":{"id":{"N":"%d"}}}`, i))
	}
	put(0)
	cmd := exec.Command(file, "tail", "music", "--endpoint-url", endpoint, "--from-start", "--json")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := make(chan string)
	go func() {
		for s := bufio.NewScanner(stdout); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	for i := range 30 {
		if i > 0 {
			put(i)
		}
		if i%10 == 5 {
			advance(t, endpoint, "4h")
		}
		select {
		case line := <-lines:
			var r struct {
				EventName string
				Dynamodb  struct {
					Keys struct{ Id struct{ N string } }
				}
			}
			if err := json.Unmarshal([]byte(line), &r); err != nil || r.EventName != "INSERT" || r.Dynamodb.Keys.Id.N != fmt.Sprint(i) {
				t.Fatalf("line %d is %s, %v", i, line, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("line %d does not come", i)
		}
	}
	// The format for people: a line per record, and one for each image.
	cmd2 := exec.Command(file, "tail", "music", "--endpoint-url", endpoint, "--from-start")
	people, err := cmd2.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd2.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd2.Process.Kill(); _ = cmd2.Wait() }()
	s := bufio.NewScanner(people)
	for i := range 60 {
		want := `  + {"id":{"N":"` + fmt.Sprint(i/2) + `"}}`
		if i%2 == 0 {
			want = ` INSERT {"id":{"N":"` + fmt.Sprint(i/2) + `"}}`
		}
		if !s.Scan() || !strings.HasSuffix(s.Text(), want) {
			t.Fatalf("line %d is %q, want %q", i, s.Text(), want)
		}
	}
}
