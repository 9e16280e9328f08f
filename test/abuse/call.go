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
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/statordb/stator/test/request"
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

// Reply is an answer, or the error instead of one.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
	Err    error
}

// Code returns the kind of an error, e.g. ValidationException; "ok" for status 200; the status of an answer without a kind; or "no answer".
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
	_ = json.Unmarshal(r.Body, &e) // other kinds of answers have none
	if _, kind, ok := strings.Cut(e.Type, "#"); ok {
		return kind
	}
	if e.Type != "" {
		return e.Type
	}
	return strconv.Itoa(r.Status)
}

// Is returns an error unless the reply's code is among the given ones.
func (r Reply) Is(what string, codes ...string) error {
	if slices.Contains(codes, r.Code()) {
		return nil
	}
	return fmt.Errorf("%s: %s, want %s: %.300s %v", what, r.Code(), strings.Join(codes, " or "), r.Body, errOrNot(r.Err))
}

// Refused returns an error unless the reply is a client error, or the server closed the connection without one.
func (r Reply) Refused(what string) error {
	if r.Err != nil || r.Status >= 400 && r.Status < 500 {
		return nil
	}
	return fmt.Errorf("%s: %d %.300s", what, r.Status, r.Body)
}

// Undecoded returns an error unless the reply refuses a body that isn't in its Content-Encoding: as AWS does, by an InternalFailure.
func (r Reply) Undecoded(what string) error {
	if r.Status == http.StatusInternalServerError && strings.Contains(string(r.Body), "#InternalFailure") {
		return nil
	}
	return r.Refused(what)
}

// Taken returns an error if there was no reply, or a server error other than "too many at a time".
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

// target returns an operation in the form of X-Amz-Target. The default service is DynamoDB.
func target(operation string) string {
	if strings.Contains(operation, ".") {
		return operation
	}
	return "DynamoDB_20120810." + operation
}

// service returns the signing name for a target.
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

// sign returns the headers of a request. All of them are signed.
func (t *Target) sign(key Key, operation string, body []byte) map[string]string {
	operation = target(operation)
	req := &http.Request{
		Method: "POST", URL: &url.URL{Scheme: "http", Host: t.Addr, Path: "/"}, Host: t.Addr,
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "X-Amz-Target": {operation}},
	}
	if err := request.Sign(req, body, key.ID, key.Secret, service(operation)); err != nil {
		panic(err) // only for a request that it can't parse
	}
	h := map[string]string{"host": t.Addr}
	for name, values := range req.Header {
		h[strings.ToLower(name)] = values[0]
	}
	return h
}

// Call sends a request like an SDK.
func (t *Target) Call(ctx context.Context, key Key, operation, body string) Reply {
	return t.send(ctx, t.sign(key, operation, []byte(body)), []byte(body))
}

// Zip sends a request with a compressed body.
func (t *Target) Zip(ctx context.Context, key Key, operation string, body []byte) Reply {
	h := t.sign(key, operation, body)
	h["content-encoding"] = "gzip"
	return t.send(ctx, h, body)
}

// send sends a POST with the given headers.
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

// Head returns the head of a request for raw connections, without the final empty line. It announces the given length, or a chunked body if
// length is -1, followed by further lines. The signature is for an empty body: requests made with Head are not meant to be executed.
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

// Message returns a whole request for raw connections.
func (t *Target) Message(key Key, operation, body string, lines ...string) string {
	return t.signedHead(key, operation, []byte(body), len(body), lines...) + "\r\n" + body
}

// Raw sends a whole request on a new connection and returns the answer. The server may answer and close before it has read everything.
func (t *Target) Raw(ctx context.Context, bytes string) Reply {
	return t.exchange(ctx, bytes, 1, false)[0]
}

// Strange is Raw for bytes that may not be a whole request: it closes its sending half, so that the server doesn't wait for more.
func (t *Target) Strange(ctx context.Context, bytes string) Reply {
	return t.exchange(ctx, bytes, 1, true)[0]
}

// exchange sends bytes and reads n answers. If fewer arrive, the last element is an error.
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

// quote returns a string in JSON.
func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings can be encoded
	}
	return string(b)
}
