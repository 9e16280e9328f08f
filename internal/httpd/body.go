package httpd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/valyala/fasthttp"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/turns"
)

const (
	// freeBody is how many bytes of memory for a body are not counted: enough for most requests.
	freeBody = 8 << 10
	// promptBody is up to how many bytes the announced length of a body is believed.
	promptBody = 64 << 10
	// maxServiceBody is the largest body in bytes, also after decompression, of a request to another API than DynamoDB's. The
	// largest of them has 1 MB ("CloudWatch service quotas", PutMetricData).
	maxServiceBody = 4 << 20
	// drained is how many bytes of a body that is refused are still read, so that a client that is still sending gets the
	// answer and not a reset connection.
	drained = MaxBody + readPast
	// inflateStep is after how many bytes of a compressed body it is looked whether its client still waits.
	inflateStep = 4 << 10
)

var (
	errTooLarge = errors.New("the body is too large")
	errNoBudget = errors.New("too many large bodies at a time")
)

// body is the memory of a body. It grows with the bytes that arrive, not with those that are announced, and what it takes above
// freeBody counts against Limits.Bodies until release.
type body struct {
	budget  *bodyBudget
	conn    net.Conn // from which the bytes come; nil if not from a client
	bytes   []byte
	counted int64
}

// readFrom reads all of r, at most limit bytes. The hint is how many are expected; 0 if nothing is known.
func (b *body) readFrom(r io.Reader, hint, limit int) error {
	b.bytes = b.bytes[:0]
	if !b.count(cap(b.bytes)) {
		b.bytes = nil
	}
	defer b.budget.arrived(b)
	for {
		if len(b.bytes) == cap(b.bytes) {
			if err := b.grow(hint, limit); err != nil {
				return err
			}
		}
		n, err := r.Read(b.bytes[len(b.bytes):cap(b.bytes)])
		b.bytes = b.bytes[:len(b.bytes)+n]
		switch {
		case len(b.bytes) > limit:
			return errTooLarge
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// grow doubles the memory, or makes it what the hint says if that is little.
func (b *body) grow(hint, limit int) error {
	size := max(2*cap(b.bytes), freeBody)
	switch end := hint + 1; { // one more byte sees the end without growing again
	case end <= cap(b.bytes):
	case end <= promptBody:
		size = max(size, end)
	default:
		size = min(size, end)
	}
	size = min(size, limit+1) // one more byte tells a body of the limit from a longer one
	if !b.count(size) {
		return errNoBudget
	}
	b.bytes = append(make([]byte, 0, size), b.bytes...)
	return nil
}

// count takes what memory of size bytes needs from the budget; false if that is not there.
func (b *body) count(size int) bool {
	more := int64(size) - freeBody - b.counted
	if more <= 0 {
		return true
	}
	return b.budget.take(b, more)
}

// release gives back what the body took from the budget, and its memory unless that is little.
func (b *body) release() {
	b.budget.give(b)
	b.conn = nil
	if cap(b.bytes) > promptBody+1 {
		b.bytes = nil
	}
}

// receive reads the request's body as it was sent into w.sent.
func (s *Server) receive(c *fasthttp.RequestCtx, w *work, limit int) error {
	stream := c.RequestBodyStream()
	if stream == nil { // the request was read already: by a benchmark
		w.read.Reset(c.Request.Body())
		stream = &w.read
	}
	length := c.Request.Header.ContentLength()
	if length > limit {
		return s.refuseBody(c, stream, tooLarge(limit))
	}
	w.sent.conn = c.Conn()
	err := w.sent.readFrom(stream, max(0, length), limit)
	switch {
	case err == nil && len(w.sent.bytes) >= length && (length >= 0 || !gone(c.Conn())):
		// fasthttp takes the end of a connection for the last chunk.
		return nil
	case errors.Is(err, errTooLarge):
		w.sent.release() // not when the rest has come
		return s.refuseBody(c, stream, tooLarge(limit))
	case errors.Is(err, errNoBudget):
		w.sent.release()
		return s.refuseBody(c, stream, overloaded())
	}
	// Where there is no error the client has closed its half too early: what has come may say something else than the whole.
	c.SetConnectionClose()
	return awserr.New(awserr.Serialization, "")
}

// refuseBody reads and forgets the rest of a body that is refused, if that is not too much, and returns the refusal.
func (s *Server) refuseBody(c *fasthttp.RequestCtx, stream io.Reader, refusal *awserr.Error) error {
	if c.Request.Header.ContentLength() > drained {
		c.SetConnectionClose()
		return refusal
	}
	if n, err := io.CopyN(io.Discard, stream, drained); err != io.EOF || n == drained {
		c.SetConnectionClose()
	}
	return refusal
}

// pausing reads a body until its request ends, in turn with others.
type pausing struct {
	*bytes.Reader
	ctx  context.Context
	turn *turns.Turn
}

func (p pausing) Read(b []byte) (int, error) {
	if err := p.turn.Yield(p.ctx); err != nil {
		return 0, err
	}
	return p.Reader.Read(b[:min(len(b), inflateStep)])
}

// ReadByte implements io.ByteReader, so that no more is read than is needed.
func (p pausing) ReadByte() (byte, error) {
	if p.Len()%inflateStep == 0 {
		if err := p.turn.Yield(p.ctx); err != nil {
			return 0, err
		}
	}
	return p.Reader.ReadByte()
}

// inflate returns the request's body decompressed. Bytes that begin a block after the other take a microsecond each, so that it goes on
// only while the client waits.
func (s *Server) inflate(ctx context.Context, c *fasthttp.RequestCtx, w *work, limit int) ([]byte, error) {
	var r io.ReadCloser
	var err error
	encoding := string(c.Request.Header.ContentEncoding())
	if encoding == "" || encoding == "identity" {
		return w.sent.bytes, nil
	}
	in := pausing{bytes.NewReader(w.sent.bytes), ctx, &w.turn}
	switch encoding {
	case "gzip":
		r, err = gzip.NewReader(in)
	case "deflate":
		r, err = zlib.NewReader(in)
	default:
		return nil, awserr.New(awserr.Serialization, "")
	}
	if err == nil {
		err = w.inflated.readFrom(r, 0, limit)
		_ = r.Close() // it gives memory back; errors came with the reads
	}
	switch {
	case err == nil:
		w.sent.release()
		return w.inflated.bytes, nil
	case errors.Is(err, errTooLarge):
		return nil, tooLarge(limit)
	case errors.Is(err, errNoBudget), ctx.Err() != nil:
		return nil, overloaded()
	}
	return nil, awserr.New(awserr.Serialization, "")
}
