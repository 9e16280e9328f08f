package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

var bodyAttacks = []Attack{
	{Point: 4, Name: "chunked bodies that break off, at every point", Run: brokenChunks},
	{Point: 4, Name: "bodies with a length that break off, at every point", Run: brokenBodies},
	{Point: 4, Name: "GET, HEAD, OPTIONS and others with bodies", Run: otherMethods},
	{Point: 4, Name: "bodies that are refused, or that nothing is done with", Run: refusedBodies},
	{Point: 4, Name: "20 chunked bodies of 16 MB and a byte, which are refused and drip on", Run: refusedDrips},
	{Point: 4, Name: "bodies that end too early and are a request by themselves", Run: truncatedBodies},
}

// breakOff sends each message on several connections, and closes them once the server has read everything. Each message announces a body
// of the maximal size, so a few leaks would exhaust the budget. After each message the server collects garbage: otherwise a reused buffer
// could return what the server had forgotten, and hide a leak.
func breakOff(ctx context.Context, t *Target, messages []string) error {
	const each = 25
	for _, message := range messages {
		var conns []net.Conn
		for range each {
			c, err := t.Dial(ctx)
			if err != nil {
				return err
			}
			conns = append(conns, c)
			if _, err := io.WriteString(c, message); err != nil && ctx.Err() != nil {
				return err // any other error means that the server has answered and closed
			}
		}
		err := t.asleep(3)
		for _, c := range conns {
			c.Close()
		}
		if err != nil {
			return err
		}
		t.Collect()
		r := t.Call(ctx, Alice, "PutItem", goodBody)
		if err := r.Is(fmt.Sprintf("a good body after %d of %.2000q", each, message[max(0, len(message)-100):]), "ok"); err != nil {
			return err
		}
	}
	return goodBodies(ctx, t)
}

// goodBody is a valid body of 2 MB.
var goodBody = `{"TableName":"light","Item":{"pk":{"S":"large"}},"Comment":"` + strings.Repeat("x", 2<<20) + `"}`

// goodBodies checks that the whole budget of large bodies is available.
func goodBodies(ctx context.Context, t *Target) error {
	if err := t.Idle(); err != nil { // until the server has noticed that its clients have gone
		return err
	}
	for i := range 20 {
		r := t.Call(ctx, Alice, "PutItem", goodBody)
		if err := r.Is(fmt.Sprintf("good body %d", i+1), "ok"); err != nil {
			return err
		}
	}
	return nil
}

func brokenChunks(ctx context.Context, t *Target) error {
	head := t.Head(Alice, "PutItem", -1) + "\r\n"
	expect := t.Head(Alice, "PutItem", -1, "Expect: 100-continue") + "\r\n"
	chunk := "10000\r\n" + strings.Repeat("x", 0x10000) + "\r\n"
	many := strings.Repeat(chunk, 20)
	return breakOff(ctx, t, []string{
		head, expect, head[:len(head)-1],
		head + "1", head + "10000", head + "10000\r", head + "10000\r\n", head + "10000;extension=x", // in the line with the size
		head + chunk[:100], head + chunk[:len(chunk)-2], head + chunk[:len(chunk)-1], head + chunk, // in a chunk
		head + many, head + many + "10", head + many + "0\r\n", head + many + "0", // before the trailers
		head + many + "0\r\nTrailer: x\r\n", head + chunk + "0\r\nTrai",
		head + "zz\r\n", head + "-1\r\n", head + "\r\n", head + "ffffffffffffffff\r\n", head + "10000\r\nshort\r\n0\r\n\r\n", head + chunk + "xx" + chunk,
	})
}

func brokenBodies(ctx context.Context, t *Target) error {
	const length = 16 << 20
	head := t.Head(Alice, "PutItem", length) + "\r\n"
	expect := t.Head(Alice, "PutItem", length, "Expect: 100-continue") + "\r\n"
	zip := t.Head(Alice, "PutItem", length, "Content-Encoding: gzip") + "\r\n"
	twice := t.Head(Alice, "PutItem", length, "Content-Length: 5") + "\r\n"
	body := strings.Repeat("x", 3<<20)
	return breakOff(ctx, t, []string{
		head[:len(head)-1], head, expect, zip, twice, head + "{", expect + "{", zip + body[:100], head + body[:1<<20], head + body[:3<<20],
		t.Message(Alice, "ListTables", "{}") + head, t.Message(Alice, "ListTables", "{}") + head + body[:1<<20],
		t.Head(Alice, "Nothing", length) + "\r\n" + body[:1<<20],
	})
}

// otherMethods sends bodies with methods that expect none. The answers don't matter, but nothing may be kept.
func otherMethods(ctx context.Context, t *Target) error {
	body := strings.Repeat("x", 2<<20)
	chunked := strings.Repeat("10000\r\n"+body[:0x10000]+"\r\n", 20) + "0\r\n\r\n"
	var messages []string
	for _, line := range []string{"GET / ", "GET /healthz ", "GET /metrics ", "HEAD / ", "OPTIONS / ", "PUT / ", "DELETE / ", "PATCH /x ", "TRACE / ", "CONNECT / ", "POST /healthz ", "BREW / "} {
		head := line + "HTTP/1.1\r\nHost: " + t.Addr + "\r\n"
		messages = append(messages, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body), head+"Transfer-Encoding: chunked\r\n\r\n"+chunked,
			head+"Content-Length: 16000000\r\n\r\n", head+"Transfer-Encoding: chunked\r\n\r\n", head+"Content-Length: 16000000\r\nExpect: 100-continue\r\n\r\n")
	}
	return breakOff(ctx, t, messages)
}

func refusedBodies(ctx context.Context, t *Target) error {
	var failed error
	large := strings.Repeat("x", 20<<20)
	for range 15 {
		failed = errors.Join(failed,
			t.Raw(ctx, t.Head(Alice, "PutItem", len(large))+"\r\n"+large).Refused("a body of 20 MB"),
			t.Strange(ctx, t.Head(Alice, "PutItem", 1<<40)+"\r\n"+large[:100]).Refused("a body of 1 TB"),
			t.Raw(ctx, t.Head(Alice, "Nothing", 2<<20)+"\r\n"+large[:2<<20]).Refused("an operation that there is not"),
			t.Raw(ctx, t.Head(Alice, "PutItem", 2<<20, "Content-Encoding: gzip")+"\r\n"+large[:2<<20]).Undecoded("a body that is not gzip"),
			t.Raw(ctx, t.Head(Alice, "PutItem", 2<<20)+"\r\n"+large[:2<<20]).Refused("a body that is not JSON"),
		)
	}
	return errors.Join(failed, goodBodies(ctx, t))
}

// refusedDrips keeps sending bodies after their refusal. They must hold nothing of the budget, which could not hold them all.
func refusedDrips(ctx context.Context, t *Target) error {
	const largest = 16 << 20
	message := t.Head(Alice, "PutItem", -1) + fmt.Sprintf("\r\n%x\r\n%s\r\n", largest+1, strings.Repeat("x", largest+1))
	var conns []net.Conn
	for i := range 20 {
		c, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		conns = append(conns, c)
		if _, err := io.WriteString(c, message); err != nil {
			return fmt.Errorf("body %d: %w", i, err)
		}
		for _, c := range conns {
			if _, err := io.WriteString(c, "1\r\nx\r\n"); err != nil {
				return fmt.Errorf("a body that drips, of %d: %w", i+1, err)
			}
		}
	}
	return goodBodies(ctx, t)
}

// truncatedBodies ends each body after 10 KB of the announced length. The part received is a valid, signed request; it must not be
// executed.
func truncatedBodies(ctx context.Context, t *Target) error {
	body := `{"TableName":"light","Item":{"pk":{"S":"truncated"},"v":{"S":"` + strings.Repeat("x", 10<<10) + `"}}}`
	head := func(length int) string { return t.signedHead(Alice, "PutItem", []byte(body), length) + "\r\n" }
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(body), body)
	for name, message := range map[string]string{
		"a length of one byte more":      head(len(body)+1) + body,
		"a length of 10 KB more":         head(len(body)+10<<10) + body,
		"a length of 16 MB":              head(16<<20) + body,
		"a chunk that does not go on":    head(-1) + chunk + "100\r\n",
		"a chunk of a byte more":         head(-1) + fmt.Sprintf("%x\r\n%s", len(body)+1, body),
		"a chunk without its line's end": head(-1) + chunk[:len(chunk)-2],
		"chunks without the last":        head(-1) + chunk,
		"half of the last chunk":         head(-1) + chunk + "0\r\n",
	} {
		r := t.Strange(ctx, message)
		item := t.Call(ctx, Alice, "GetItem", `{"TableName":"light","ConsistentRead":true,"Key":{"pk":{"S":"truncated"}}}`)
		failed := errors.Join(r.Refused(name), item.Is("GetItem", "ok"))
		if strings.Contains(string(item.Body), "truncated") {
			failed = errors.Join(failed, fmt.Errorf("%s: the request was executed: %d %.200s", name, r.Status, r.Body))
		}
		if failed != nil {
			return failed
		}
	}
	return errors.Join(t.Raw(ctx, head(len(body))+body).Is("the whole body", "ok"),
		t.Call(ctx, Alice, "DeleteItem", `{"TableName":"light","Key":{"pk":{"S":"truncated"}}}`).Is("DeleteItem", "ok"))
}
