package abuse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/statordb/stator/internal/dax/wire"
)

var daxAttacks = []Attack{
	{Point: 7, Name: "10,000 idle DAX connections", Needs: Needs{DAX: true}, Once: true, Run: daxHold(10_000, func() []byte { return nil })},
	{Point: 7, Name: "3,000 DAX connections with half a preamble", Needs: Needs{DAX: true}, Run: daxHold(3000, func() []byte { return daxPreamble()[:9] })},
	{Point: 7, Name: "3,000 DAX connections that do not authenticate", Needs: Needs{DAX: true, Credentials: true}, Run: daxHold(3000, daxPreamble)},
	{Point: 7, Name: "500 DAX connections that announce large requests", Needs: Needs{DAX: true}, Run: daxHold(500, func() []byte {
		return append(daxPreamble(), 0x01, 0x1a, 0x0f, 0xb1, 0x04, 0xea, 0x5b, 0, 0, 0, 0, 0x03, 0xff, 0xff, 0xff, 'x')
	})},
	{Point: 7, Name: "DAX connections that send anything", Needs: Needs{DAX: true}, Run: daxGarbage},
}

// daxPreamble returns the opening of a DAX connection.
func daxPreamble() []byte {
	out := wire.AppendText(nil, "J7yne5G")
	out = wire.AppendInt(out, 0)
	out = wire.AppendText(out, "0")
	out = wire.AppendText(wire.AppendText(wire.AppendMap(out, 1), "UserAgent"), "test")
	return wire.AppendInt(out, 0)
}

// Method ids of the DAX protocol.
const (
	daxAuthorize       = 1489122155
	daxEndpoints       = 455855874
	daxDefineKeySchema = -742646399
)

// daxClient behaves like a real client: it connects, authenticates, and asks for the endpoints.
func daxClient(ctx context.Context, t *Target, key Key) error {
	c, err := dial(ctx, t.DAX, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(ended / 2)); err != nil {
		return err
	}
	out := append(daxPreamble(), key.daxAuthorization(time.Now())...)
	if _, err := c.Write(wire.AppendInt(wire.AppendInt(out, 1), daxEndpoints)); err != nil {
		return err
	}
	var s wire.Skimmer
	var in []byte
	buf := make([]byte, 4096)
	for {
		if whole, err := s.Value(in); err != nil {
			return err
		} else if whole {
			break
		}
		n, err := c.Read(buf)
		if err != nil {
			return fmt.Errorf("a real DAX client: %w", err)
		}
		in = append(in, buf[:n]...)
	}
	r := wire.NewReader(in)
	if n := r.Array(); n != 0 {
		return fmt.Errorf("a real DAX client is refused: %q", in)
	}
	return r.Err()
}

// daxHold opens connections that start with begin's bytes and then stall. A real client must still be served.
func daxHold(n int, begin func() []byte) func(context.Context, *Target) error {
	return func(ctx context.Context, t *Target) error {
		var conns []net.Conn
		defer func() {
			for _, c := range conns {
				c.Close()
			}
		}()
		message := begin()
		for range n {
			c, err := net.DialTimeout("tcp", t.DAX, 5*time.Second)
			if err != nil {
				break // the server accepts no more
			}
			conns = append(conns, c)
			_, _ = c.Write(message) // it may be closed
		}
		var failed error
		for range 3 {
			failed = errors.Join(failed, daxClient(ctx, t, Alice))
		}
		t.hold(ctx)
		return failed
	}
}

// daxGarbage sends bytes that aren't DAX.
func daxGarbage(ctx context.Context, t *Target) error {
	deep, long := make([]byte, 1<<20), make([]byte, 0, 100)
	for i := range deep {
		deep[i] = 0x81
	}
	long = append(long, 0x01, 0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	for _, message := range [][]byte{
		{0}, {0xff}, []byte("GET / HTTP/1.1\r\n\r\n"), []byte("J7yne5G"), deep, append(daxPreamble(), deep...), append(daxPreamble(), long...), append(daxPreamble(), daxPreamble()...),
		wire.AppendInt(wire.AppendInt(daxPreamble(), 1), 1<<62), wire.AppendInt(daxPreamble(), -1), append(daxPreamble(), 0xbf), append(daxPreamble(), Mallory.daxAuthorization(time.Time{})...),
		append(daxPreamble(), 0x01, 0x1a, 0x0f, 0xb1, 0x04, 0xea, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		for range 5 {
			c, err := dial(ctx, t.DAX, nil)
			if err != nil {
				return err
			}
			_, _ = c.Write(message) // it may be closed
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
			_, _ = io.ReadAll(c) // any answer will do
			c.Close()
		}
	}
	return daxClient(ctx, t, Alice)
}

// daxAuthorization returns a client's authentication of a connection ("Create a signed AWS API request").
func (k Key) daxAuthorization(at time.Time) []byte {
	stamp := at.UTC().Format("20060102T150405Z")
	scope := stamp[:8] + "/us-east-1/dax/aws4_request"
	canonical := "POST\n/\n\nhost:dax.amazonaws.com\nx-amz-date:" + stamp + "\n\nhost;x-amz-date\n" + hashed("")
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hashed(canonical)
	out := wire.AppendInt(wire.AppendInt(nil, 1), daxAuthorize)
	out = wire.AppendText(out, k.ID)
	out = wire.AppendText(out, k.signature(text, stamp[:8], "us-east-1", "dax"))
	out = wire.AppendBytes(out, []byte(text))
	return wire.AppendText(wire.AppendNull(out), "test")
}

// daxKeySchema asks for the key schema of a table that the key may not see. It fails unless the server refuses.
func daxKeySchema(ctx context.Context, t *Target, key Key, table string) error {
	c, err := dial(ctx, t.DAX, nil)
	if err != nil {
		return err
	}
	defer c.Close()
	out := append(daxPreamble(), key.daxAuthorization(time.Now())...)
	out = wire.AppendBytes(wire.AppendInt(wire.AppendInt(out, 1), daxDefineKeySchema), []byte(table))
	if _, err := c.Write(out); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	if r := wire.NewReader(buf[:n]); r.Array() == 0 {
		return fmt.Errorf("DAX tells a stranger the keys of %s: %q", table, buf[:n])
	}
	return nil
}
