package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
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

// TestIAM checks what a form has, and how XML is read.
func TestIAM(t *testing.T) {
	var status int
	var answer string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil || r.PostForm.Encode() != "Action=ListUsers&MaxItems=1&Version=2010-05-08" {
			t.Errorf("the form is %v, %v", r.PostForm, err)
		}
		if got := r.Header.Get("Authorization"); !strings.Contains(got, "/eu-west-1/iam/aws4_request") || !strings.Contains(got, "x-amz-security-token") {
			t.Errorf("the signature is %q", got)
		}
		if got := r.Header.Get("X-Amz-Security-Token"); got != "token" {
			t.Errorf("the token is %q", got)
		}
		w.WriteHeader(status)
		fmt.Fprint(w, answer)
	}))
	defer s.Close()
	at := Server{Endpoint: s.URL, Region: "eu-west-1", AccessKey: "key", SecretKey: "secret", SessionToken: "token"}
	in := url.Values{"MaxItems": {"1"}}
	for _, c := range []struct {
		status       int
		answer, want string
	}{
		{200, `<ListUsersResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><ListUsersResult><Users><member><UserName>a&amp;b</UserName></member></Users></ListUsersResult></ListUsersResponse>`, "[a&b]"},
		{200, `<ListUsersResponse><ResponseMetadata/></ListUsersResponse>`, "EOF"},
		{200, `<html>`, "EOF"},
		{404, `<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>gone</Message></Error></ErrorResponse>`, "NoSuchEntity: gone"},
		{502, `<html></html>`, `status 502: "<html></html>"`},
		{500, ``, `status 500: ""`},
	} {
		status, answer = c.status, c.answer
		var out struct {
			Users []string `xml:"Users>member>UserName"`
		}
		err := at.IAM(t.Context(), "ListUsers", in, &out)
		got := fmt.Sprint(out.Users)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%d %s: %s, want %s", c.status, c.answer, got, c.want)
		}
	}
	status, answer = 200, `<ListUsersResponse><ResponseMetadata/></ListUsersResponse>`
	if err := at.IAM(t.Context(), "ListUsers", in, nil); err != nil {
		t.Errorf("an answer without output: %v", err)
	}
}
