package system

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestHot shows a table's hot key and partitions with `stator hot`.
func TestHot(t *testing.T) {
	p := start(t, "--in-memory")
	must := func(operation, body string) {
		t.Helper()
		if status, answer, err := p.call(operation, body); err != nil || status != 200 {
			t.Fatalf("%s: %d %s %v", operation, status, answer, err)
		}
	}
	must("CreateTable", `{"TableName":"music","ProvisionedThroughput":{"ReadCapacityUnits":9000,"WriteCapacityUnits":100},"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`)
	must("UpdateContributorInsights", `{"TableName":"music","ContributorInsightsAction":"ENABLE"}`) // makes the server count every key
	for i := range 60 {
		id := "hot"
		if i%3 == 0 {
			id = fmt.Sprint("cold", i)
		}
		must("PutItem", `{"TableName":"music","Item":{"id":{"S":"`+id+`"}}}`)
	}
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := exec.Command(file, "hot", "music", "--endpoint-url", "http://"+p.Addr, "--once", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Resources []struct {
			Partitions []struct{ WriteUnits float64 }
			Accessed   []struct {
				Key   map[string]map[string]string
				Count float64
			}
		}
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	r := got.Resources[0]
	if len(r.Partitions) != 4 || len(r.Accessed) != 10 || r.Accessed[0].Key["id"]["S"] != "hot" || r.Accessed[0].Count != 40 {
		t.Errorf("hot: %s", raw)
	}
	units := 0.0
	for _, p := range r.Partitions {
		units += p.WriteUnits
	}
	if units == 0 {
		t.Errorf("no partition was written: %s", raw)
	}
	text, err := exec.Command(file, "hot", "music", "--endpoint-url", "http://"+p.Addr, "--once").CombinedOutput()
	if err != nil || !strings.Contains(string(text), `40.0 units      {"id":{"S":"hot"}}`) {
		t.Errorf("hot: %s %v", text, err)
	}
	if out, err := exec.Command(file, "hot", "nothing", "--endpoint-url", "http://"+p.Addr, "--once").CombinedOutput(); err == nil || !strings.Contains(string(out), "ResourceNotFoundException") {
		t.Errorf("hot of a table that is not there: %s %v", out, err)
	}
}

// TestTestMode: the first line of output says that faults are injected.
func TestTestMode(t *testing.T) {
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(file, "serve", "--in-memory", "--listen", "127.0.0.1:0", "--inject", "nothing=1").CombinedOutput(); err == nil || !strings.Contains(string(out), `there is no effect "nothing"`) {
		t.Errorf("an unknown effect: %s %v", out, err)
	}
	p := start(t, "--in-memory", "--inject", "PutItem:throttle=1", "--inject", "GetItem/music:latency=1ms@0.5,error=0.1")
	if said := p.Output.String(); !strings.Contains(said, "TEST MODE, injecting PutItem:throttle=1 GetItem/music:latency=1ms@0.5,error=0.1") {
		t.Errorf("it prints %s", said)
	}
}
