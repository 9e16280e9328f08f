package abuse

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/auth"
)

// Prefixes of the targets of services other than DynamoDB.
const (
	cloudWatch  = "GraniteServiceVersion20100801."
	autoScaling = "AnyScaleFrontendService."
	streams     = "DynamoDBStreams_20120810."
	daxControl  = "AmazonDAXV3."
)

// Key is an access key.
type Key struct{ ID, Secret, Account string }

// Reply is an answer, or the error in its place.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error
}

// Code returns the kind of an error, e.g. ValidationException; "ok" for a 200; the status for an answer without a kind; and
// "no answer".
func (r Reply) Code() string {
	if r.Err != nil {
		return "no answer"
	}
	if r.Status == http.StatusOK {
		return "ok"
	}
	var e struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal(r.Body, &e) // an answer of another kind has none
	if _, kind, ok := strings.Cut(e.Type, "#"); ok {
		return kind
	}
	if e.Type != "" {
		return e.Type
	}
	return strconv.Itoa(r.Status)
}

// Is returns an error unless the reply's code is among those wanted.
func (r Reply) Is(what string, codes ...string) error {
	if slices.Contains(codes, r.Code()) {
		return nil
	}
	return fmt.Errorf("%s: %s, want %s: %.300s %v", what, r.Code(), strings.Join(codes, " or "), r.Body, errOrNot(r.Err))
}

// Refused returns an error unless the reply is a client's error; no answer at all, from a connection that is closed, is one too.
func (r Reply) Refused(what string) error {
	if r.Err != nil || r.Status >= 400 && r.Status < 500 {
		return nil
	}
	return fmt.Errorf("%s: %d %.300s", what, r.Status, r.Body)
}

// Taken returns an error if there was no reply, or a server's error other than "too many at a time".
func (r Reply) Taken(what string) error {
	if r.Err != nil || r.Status >= 500 && r.Status != http.StatusServiceUnavailable {
		return fmt.Errorf("%s: %d %.300s %v", what, r.Status, r.Body, errOrNot(r.Err))
	}
	return nil
}

func errOrNot(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// target returns an operation as X-Amz-Target has it; one without a service is DynamoDB's.
func target(operation string) string {
	if strings.Contains(operation, ".") {
		return operation
	}
	return "DynamoDB_20120810." + operation
}

// service is what requests for the target are signed for.
func service(target string) string {
	switch {
	case strings.HasPrefix(target, cloudWatch):
		return "monitoring"
	case strings.HasPrefix(target, autoScaling):
		return "application-autoscaling"
	case strings.HasPrefix(target, daxControl):
		return "dax"
	}
	return "dynamodb"
}

// sign returns the headers of a request, all of them signed.
func (t *Target) sign(key Key, operation string, body []byte) map[string]string {
	operation = target(operation)
	h := map[string]string{"content-type": "application/x-amz-json-1.0", "host": t.Addr, "x-amz-target": operation}
	auth.Sign(h, "/", body, auth.SigningKey{AccessKey: key.ID, Secret: key.Secret, Region: "us-east-1", Service: service(operation)}, time.Now())
	return h
}

// Call sends a request as an SDK does.
func (t *Target) Call(ctx context.Context, key Key, operation, body string) Reply {
	return t.send(ctx, t.sign(key, operation, []byte(body)), []byte(body))
}

// Zip sends a request whose body is compressed: the body is given as it is sent.
func (t *Target) Zip(ctx context.Context, key Key, operation string, body []byte) Reply {
	h := t.sign(key, operation, body)
	h["content-encoding"] = "gzip"
	return t.send(ctx, h, body)
}

// send sends a POST with the headers.
func (t *Target) send(ctx context.Context, header map[string]string, body []byte) Reply {
	req, err := http.NewRequestWithContext(ctx, "POST", "http://"+t.Addr+"/", bytes.NewReader(body))
	if err != nil {
		return Reply{Err: err}
	}
	for k, v := range header {
		if k == "host" {
			req.Host = v
		} else {
			req.Header.Set(k, v)
		}
	}
	return reply(t.client.Do(req))
}

func reply(res *http.Response, err error) Reply {
	if err != nil {
		return Reply{Err: err}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return Reply{Status: res.StatusCode, Header: res.Header, Body: body, Err: err}
}

// Head is the head of a request for raw connections, without its last empty line. The body's length is announced as length, or as
// chunked if it is -1; further lines follow. The signature is that of an empty body: nothing that is sent so is meant to be executed.
func (t *Target) Head(key Key, operation string, length int, lines ...string) string {
	return t.signedHead(key, operation, nil, length, lines...)
}

func (t *Target) signedHead(key Key, operation string, body []byte, length int, lines ...string) string {
	var b strings.Builder
	b.WriteString("POST / HTTP/1.1\r\n")
	for k, v := range t.sign(key, operation, body) {
		b.WriteString(k + ": " + v + "\r\n")
	}
	if length >= 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", length)
	} else {
		b.WriteString("Transfer-Encoding: chunked\r\n")
	}
	for _, line := range lines {
		b.WriteString(line + "\r\n")
	}
	return b.String()
}

// Message is a whole request for raw connections.
func (t *Target) Message(key Key, operation, body string, lines ...string) string {
	return t.signedHead(key, operation, []byte(body), len(body), lines...) + "\r\n" + body
}

// Raw sends a whole request on a connection of its own and returns the answer. A server may answer and close while more is sent.
func (t *Target) Raw(ctx context.Context, bytes string) Reply {
	return t.exchange(ctx, bytes, 1, false)[0]
}

// Strange is Raw for bytes that may be no whole request: the client says that nothing else comes by ending its side.
func (t *Target) Strange(ctx context.Context, bytes string) Reply {
	return t.exchange(ctx, bytes, 1, true)[0]
}

// exchange sends bytes and reads so many answers. The last is an error where fewer come.
func (t *Target) exchange(ctx context.Context, bytes string, n int, half bool) []Reply {
	c, err := t.Dial(ctx)
	if err != nil {
		return []Reply{{Err: err}}
	}
	defer c.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, bytes)
		if tcp, ok := c.(*net.TCPConn); ok && half && err == nil {
			err = tcp.CloseWrite()
		}
		sent <- err
	}()
	in := bufio.NewReader(c)
	var out []Reply
	for range n {
		r := reply(http.ReadResponse(in, nil))
		out = append(out, r)
		if r.Err != nil {
			break
		}
	}
	c.Close()
	if err := <-sent; out[0].Err != nil {
		out[0].Err = errors.Join(out[0].Err, err)
	}
	return out
}

// quote returns a string as JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string is
	}
	return string(b)
}
