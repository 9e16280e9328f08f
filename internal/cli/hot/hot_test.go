package hot

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/cli/client"
)

const report = `{"TableName":"Users","Resources":[
	{"Partitions":[{"Start":"00000000","ReadUnits":12.5,"WriteUnits":3,"Throttled":7}],
	 "Accessed":[{"Key":{"pk":{"S":"hot"}},"Count":15.5}],"Throttled":[{"Key":{"pk":{"S":"hot"}},"Count":7}]},
	{"IndexName":"by-city","Partitions":[],"Accessed":[],"Throttled":[]}]}`

func serve(t *testing.T, answer func(n int, w http.ResponseWriter)) client.Server {
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { n++; answer(n, w) }))
	t.Cleanup(s.Close)
	return client.Server{Endpoint: s.URL, Region: "us-east-1", AccessKey: "a", SecretKey: "s"}
}

func TestReport(t *testing.T) {
	at := serve(t, func(_ int, w http.ResponseWriter) { fmt.Fprint(w, report) })
	var out bytes.Buffer
	if err := Run(t.Context(), Options{Server: at, Table: "Users", Once: true, Out: &out}); err != nil {
		t.Fatal(err)
	}
	want := "Users\n" +
		"  part from hash       reads/s     writes/s  throttled\n" +
		"  0    00000000           12.5          3.0          7\n" +
		"          15.5 units      {\"pk\":{\"S\":\"hot\"}}\n" +
		"           7.0 throttled  {\"pk\":{\"S\":\"hot\"}}\n" +
		"Users / by-city\n" +
		"  no limits, so no partitions\n\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestMany prints as many partitions as fit a screen, and the number of the others.
func TestMany(t *testing.T) {
	partitions := strings.TrimSuffix(strings.Repeat(`{"Start":"0","ReadUnits":0,"WriteUnits":0,"Throttled":0},`, 25), ",")
	at := serve(t, func(_ int, w http.ResponseWriter) {
		fmt.Fprintf(w, `{"TableName":"Users","Resources":[{"Partitions":[%s]}]}`, partitions)
	})
	var out bytes.Buffer
	if err := Run(t.Context(), Options{Server: at, Table: "Users", Once: true, Out: &out}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "  … 15 more\n") || strings.Count(out.String(), "\n") != 14 {
		t.Errorf("got\n%s", out.String())
	}
}

// TestRepeats: reports follow each other until one fails.
func TestRepeats(t *testing.T) {
	at := serve(t, func(n int, w http.ResponseWriter) {
		if n == 3 {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"__type":"x#ResourceNotFoundException","message":"Requested resource not found"}`)
			return
		}
		fmt.Fprint(w, `{"TableName":"Users"}`)
	})
	var out bytes.Buffer
	err := Run(t.Context(), Options{Server: at, Table: "Users", JSON: true, Interval: time.Millisecond, Out: &out})
	if err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") || out.String() != strings.Repeat("{\"TableName\":\"Users\"}\n", 2) {
		t.Errorf("%v after %q", err, out.String())
	}
}
