package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCall checks what a request has, and how answers are read.
func TestCall(t *testing.T) {
	answers := map[string]func(w http.ResponseWriter){
		"ok": func(w http.ResponseWriter) { fmt.Fprint(w, `{"TableNames":["a"]}`) },
		"error": func(w http.ResponseWriter) {
			w.WriteHeader(400)
			fmt.Fprint(w, `{"__type":"com.amazon#NotFound","message":"gone"}`)
		},
		"bare":     func(w http.ResponseWriter) { w.WriteHeader(500); fmt.Fprint(w, `{"__type":"Internal"}`) },
		"proxy":    func(w http.ResponseWriter) { w.WriteHeader(502); fmt.Fprint(w, `<html>`) },
		"not JSON": func(w http.ResponseWriter) { fmt.Fprint(w, `<html>`) },
	}
	var which string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || string(body) != `{"Limit":1}` {
			t.Errorf("the body is %q, %v", body, err)
		}
		if got := r.Header.Get("X-Amz-Target"); got != "DynamoDB_20120810.ListTables" {
			t.Errorf("the target is %q", got)
		}
		if got := r.Header.Get("Authorization"); !strings.Contains(got, "Credential=key/") || !strings.Contains(got, "/eu-west-1/dynamodb/aws4_request") || !strings.Contains(got, "host") {
			t.Errorf("the signature is %q", got)
		}
		answers[which](w)
	}))
	defer s.Close()
	at := Server{Endpoint: s.URL, Region: "eu-west-1", AccessKey: "key", SecretKey: "secret"}
	for name, want := range map[string]string{
		"ok": "[a]", "error": "400 NotFound gone", "bare": "500 Internal ", "proxy": `status 502: "<html>"`, "not JSON": "invalid character",
	} {
		which = name
		var out struct{ TableNames []string }
		err := at.Call(t.Context(), "DynamoDB_20120810.ListTables", map[string]int{"Limit": 1}, &out)
		got := fmt.Sprint(out.TableNames)
		var refused *Error
		switch {
		case errors.As(err, &refused):
			got = fmt.Sprint(refused.Status, " ", refused.Kind, " ", refused.Message)
		case err != nil:
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	s.Close()
	if err := at.Call(t.Context(), "DynamoDB_20120810.ListTables", map[string]int{"Limit": 1}, nil); err == nil {
		t.Error("a server that is down answers")
	}
}
