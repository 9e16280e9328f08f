package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

var bodyAttacks = []Attack{
	{Point: 4, Name: "300 chunked bodies that break off, at every point", Run: brokenChunks},
	{Point: 4, Name: "300 bodies with a length that break off, at every point", Run: brokenBodies},
	{Point: 4, Name: "GET, HEAD, OPTIONS and others with bodies", Run: otherMethods},
	{Point: 4, Name: "bodies that are refused, or that nothing is done with", Run: refusedBodies},
}

// breakOff sends each message on a connection of its own, which is closed then.
func breakOff(ctx context.Context, t *Target, times int, messages []string) error {
	for i := range times {
		c, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		_, err = io.WriteString(c, messages[i%len(messages)])
		if i%3 == 0 {
			// Some wait until the server has read it; it says so to those that expect it.
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, _ = c.Read(make([]byte, 1)) // whatever comes
		}
		c.Close()
		if err != nil && ctx.Err() != nil {
			return err
		}
	}
	return goodBodies(ctx, t)
}

// goodBodies looks whether the budget of large bodies is whole: 20 bodies of 2 MB are taken.
func goodBodies(ctx context.Context, t *Target) error {
	t.Idle() // until the server has seen that its clients have gone
	body := `{"TableName":"light","Item":{"pk":{"S":"large"}},"Comment":"` + strings.Repeat("x", 2<<20) + `"}`
	for i := range 20 {
		r := t.Call(ctx, Alice, "PutItem", body)
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
	return breakOff(ctx, t, 300, []string{
		head, expect, head[:len(head)-1],
		head + "1", head + "10000", head + "10000\r", head + "10000\r\n", head + "10000;extension=x", // in the line of a size
		head + chunk[:100], head + chunk[:len(chunk)-2], head + chunk[:len(chunk)-1], head + chunk, // in a chunk
		head + many, head + many + "10", head + many + "0\r\n", head + many + "0", // before the trailers
		head + many + "0\r\nTrailer: x\r\n", head + chunk + "0\r\nTrai",
		head + "zz\r\n", head + "-1\r\n", head + "\r\n", head + "ffffffffffffffff\r\n", head + "10000\r\nshort\r\n0\r\n\r\n", head + chunk + "xx" + chunk,
	})
}

func brokenBodies(ctx context.Context, t *Target) error {
	const length = 3 << 20
	head := t.Head(Alice, "PutItem", length) + "\r\n"
	expect := t.Head(Alice, "PutItem", length, "Expect: 100-continue") + "\r\n"
	zip := t.Head(Alice, "PutItem", length, "Content-Encoding: gzip") + "\r\n"
	twice := t.Head(Alice, "PutItem", length, "Content-Length: 5") + "\r\n"
	body := strings.Repeat("x", length)
	return breakOff(ctx, t, 300, []string{
		head[:len(head)-1], head, expect, zip, twice, head + "{", expect + "{", zip + body[:100], head + body[:1<<20], head + body[:length-1], head + body,
		t.Message(Alice, "ListTables", "{}") + head, t.Message(Alice, "ListTables", "{}") + head + body[:1<<20],
		t.Head(Alice, "PutItem", 16<<20) + "\r\n" + body[:1<<20], t.Head(Alice, "Nothing", length) + "\r\n" + body[:1<<20],
	})
}

// otherMethods sends bodies where none is expected. Answers do not matter, only that nothing is kept.
func otherMethods(ctx context.Context, t *Target) error {
	body := strings.Repeat("x", 2<<20)
	chunked := strings.Repeat("10000\r\n"+body[:0x10000]+"\r\n", 20) + "0\r\n\r\n"
	var messages []string
	for _, line := range []string{"GET / ", "GET /healthz ", "GET /metrics ", "HEAD / ", "OPTIONS / ", "PUT / ", "DELETE / ", "PATCH /x ", "TRACE / ", "CONNECT / ", "POST /healthz ", "BREW / "} {
		head := line + "HTTP/1.1\r\nHost: " + t.Addr + "\r\n"
		messages = append(messages, fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body), head+"Transfer-Encoding: chunked\r\n\r\n"+chunked,
			head+"Content-Length: 2000000\r\n\r\n", head+"Transfer-Encoding: chunked\r\n\r\n", head+"Content-Length: 2000000\r\nExpect: 100-continue\r\n\r\n")
	}
	return breakOff(ctx, t, 300, messages)
}

func refusedBodies(ctx context.Context, t *Target) error {
	var failed error
	large := strings.Repeat("x", 20<<20)
	for range 15 {
		failed = errors.Join(failed,
			t.Raw(ctx, t.Head(Alice, "PutItem", len(large))+"\r\n"+large).Refused("a body of 20 MB"),
			t.Raw(ctx, t.Head(Alice, "PutItem", 1<<40)+"\r\n"+large[:100]).Refused("a body of 1 TB"),
			t.Raw(ctx, t.Head(Alice, "Nothing", 2<<20)+"\r\n"+large[:2<<20]).Refused("an operation that there is not"),
			t.Raw(ctx, t.Head(Alice, "PutItem", 2<<20, "Content-Encoding: gzip")+"\r\n"+large[:2<<20]).Refused("gzip that is none"),
			t.Raw(ctx, t.Head(Alice, "PutItem", 2<<20)+"\r\n"+large[:2<<20]).Refused("JSON that is none"),
		)
	}
	return errors.Join(failed, goodBodies(ctx, t))
}
