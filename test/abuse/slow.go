package abuse

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

var slowAttacks = []Attack{
	{Point: 5, Name: "800 connections that announce 1 MB and send one byte", Run: holdOpen(800, "announced", func(t *Target) string { return t.Head(Alice, "PutItem", 1<<20) + "\r\n{" })},
	{Point: 5, Name: "800 connections that announce 900 KB and send one byte", Run: holdOpen(800, "announced", func(t *Target) string { return t.Head(Alice, "PutItem", 900<<10) + "\r\n{" })},
	{Point: 5, Name: "800 connections with a chunked body of one byte", Run: holdOpen(800, "chunked", func(t *Target) string { return t.Head(Alice, "PutItem", -1) + "\r\n100000\r\n{" })},
	{Point: 5, Name: "800 connections that announce 1 MB of gzip", Run: holdOpen(800, "gzip", func(t *Target) string {
		return t.Head(Alice, "PutItem", 1<<20, "Content-Encoding: gzip") + "\r\n\x1f\x8b"
	})},
	{Point: 5, Name: "800 connections with half a head", Run: holdOpen(800, "half a head", func(t *Target) string { return "POST / HTTP/1.1\r\nHost: " + t.Addr + "\r\nX-Slow: " })},
	{Point: 5, Name: "2,000 connections that send nothing", Run: holdOpen(2000, "nothing", func(*Target) string { return "" })},
	{Point: 5, Name: "100 clients that ask for large answers and do not read them", Run: slowReaders},
	{Point: 5, Name: "10,000 requests at once on a connection", Run: pipelined},
	{Point: 5, Name: "a byte at a time", Run: drip},
}

// heldMemory is how many bytes a connection may cost beyond the bytes received.
const heldMemory = 128 << 10

// holdOpen opens connections that begin a request and then stall, and checks how much memory they take.
func holdOpen(n int, what string, begin func(*Target) string) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		message := begin(t)
		before := t.RSS()
		var conns []net.Conn
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		for range n {
			c, err := t.Dial(ctx)
			if err != nil {
				return err
			}
			conns = append(conns, c)
			if _, err := io.WriteString(c, message); err != nil {
				return err
			}
		}
		if err := t.Idle(); err != nil {
			return err
		}
		failed := t.Call(ctx, Alice, "ListTables", "{}").Is("beside them", "ok")
		if took := t.RSS() - before; took > int64(n*heldMemory)+32<<20 {
			failed = errors.Join(failed, fmt.Errorf("%d connections (%s) take %d MiB", n, what, took>>20))
		}
		t.hold(ctx)
		return failed
	}
}

// hold prolongs an attack of the long form.
func (t *Target) hold(ctx context.Context) {
	if t.Long {
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
}

// slowReaders request pages of a megabyte, 20 at a time, and read none of them.
func slowReaders(ctx context.Context, t *Target) error {
	if err := costlyItems(ctx, t); err != nil {
		return err
	}
	before := t.RSS()
	message := strings.Repeat(t.Message(Alice, "Scan", `{"TableName":"costly"}`), 20)
	for range 100 {
		c, err := t.Dial(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, message); err != nil {
			return err
		}
	}
	if err := t.Idle(); err != nil {
		return err
	}
	failed := t.Call(ctx, Alice, "ListTables", "{}").Is("beside them", "ok")
	if took := t.RSS() - before; took > 700<<20 {
		failed = errors.Join(failed, fmt.Errorf("100 clients that do not read take %d MiB", took>>20))
	}
	t.hold(ctx)
	return failed
}

// pipelined sends 10,000 requests before it reads an answer. All answers must arrive in order.
func pipelined(ctx context.Context, t *Target) error {
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	const n = 10_000
	message := t.Message(Alice, "GetItem", `{"TableName":"light","Key":{"pk":{"S":"item-0"}}}`)
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, strings.Repeat(message, n))
		sent <- err
	}()
	in := bufio.NewReader(c)
	for i := range n {
		r := reply(http.ReadResponse(in, nil))
		if err := r.Is(fmt.Sprint("answer ", i), "ok"); err != nil {
			return err
		}
	}
	return <-sent
}

// drip sends a request byte by byte.
func drip(ctx context.Context, t *Target) error {
	message := t.Message(Alice, "ListTables", "{}")
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for i := range len(message) {
		if _, err := io.WriteString(c, message[i:i+1]); err != nil {
			return err
		}
	}
	return reply(http.ReadResponse(bufio.NewReader(c), nil)).Is("a request that came slowly", "ok")
}
