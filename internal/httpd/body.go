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
	// freeBody is the part of each body's memory, in bytes, that isn't counted against Limits.Bodies: enough for most requests.
	freeBody = 8 << 10
	// promptBody is the largest Content-Length, in bytes, for which memory is allocated in advance. Beyond it a client has to
	// send bytes before it gets memory.
	promptBody = 64 << 10
	// maxServiceBody is the largest body, in bytes and also after decompression, of a request to an API other than DynamoDB's.
	// The largest of them is 1 MB ("CloudWatch service quotas", PutMetricData).
	maxServiceBody = 4 << 20
	// maxUnsigned is the largest form without a signature: a web identity's token has up to 20,000 characters ("AssumeRoleWithWebIdentity").
	maxUnsigned = 64 << 10
	// drained is how many bytes of a refused body are read and discarded. A client that is still sending would otherwise see a
	// connection reset instead of the answer.
	drained = MaxBody + readPast
	// inflateStep is the number of compressed bytes between two checks whether the client still waits.
	inflateStep = 4 << 10
)

var (
	errTooLarge = errors.New("the body is too large")
	errNoBudget = errors.New("too many large bodies at once")
)

// body is the memory of one body. It grows with the bytes that arrive, not with the announced length, so an announcement costs
// nothing. What it takes above freeBody counts against the budget until release.
type body struct {
	budget  *bodyBudget
	conn    net.Conn // the source of the bytes; nil if they don't come from a client
	bytes   []byte
	counted int64 // bytes taken from the budget
}

// readFrom reads all of r and fails with errTooLarge after limit bytes. hint is the expected length in bytes, 0 if unknown.
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

// grow doubles the memory, or allocates the hinted size at once if that is at most promptBody.
func (b *body) grow(hint, limit int) error {
	size := max(2*cap(b.bytes), freeBody)
	switch end := hint + 1; { // one spare byte detects the end without growing again
	case end <= cap(b.bytes):
	case end <= promptBody:
		size = max(size, end)
	default:
		size = min(size, end)
	}
	size = min(size, limit+1) // one byte over the limit tells a body of exactly that size from a longer one
	if !b.count(size) {
		return errNoBudget
	}
	b.bytes = append(make([]byte, 0, size), b.bytes...)
	return nil
}

// count takes from the budget what memory of size bytes needs beyond freeBody and what is counted already. It returns false if the
// budget has too little left.
func (b *body) count(size int) bool {
	more := int64(size) - freeBody - b.counted
	if more <= 0 {
		return true
	}
	return b.budget.take(b, more)
}

// release returns the body's share of the budget. It also drops the memory, unless that is small enough to keep for the next
// request.
func (b *body) release() {
	b.budget.give(b)
	b.conn = nil
	if cap(b.bytes) > promptBody+1 {
		b.bytes = nil
	}
}

// receive reads the request's body, still compressed, into w.sent.
func (s *Server) receive(c *fasthttp.RequestCtx, w *work, limit int) error {
	stream := c.RequestBodyStream()
	if stream == nil { // a benchmark has read the request already
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
	case err == nil && len(w.sent.bytes) >= length && (length >= 0 || !left(c.Conn())):
		// fasthttp mistakes a closed connection for the last chunk of a chunked body, so check that the client is still there.
		return nil
	case errors.Is(err, errTooLarge):
		w.sent.release() // give the memory back before waiting for the rest to be discarded
		return s.refuseBody(c, stream, tooLarge(limit))
	case errors.Is(err, errNoBudget):
		w.sent.release()
		return s.refuseBody(c, stream, overloaded())
	}
	// Without an error the client has closed its sending half too early: a truncated body may mean something else than the whole one.
	c.SetConnectionClose()
	return awserr.New(awserr.Serialization, "")
}

// refuseBody discards the rest of a refused body, up to drained bytes, and returns the refusal. A connection with more than that
// to come is closed.
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

// pausing reads a body in small steps, yielding the turn before each, and fails once the request's context has ended.
type pausing struct {
	*bytes.Reader
	ctx  context.Context
	turn *turns.Turn
}

// Read implements io.Reader.
func (p pausing) Read(b []byte) (int, error) {
	if err := p.turn.Yield(p.ctx); err != nil {
		return 0, err
	}
	return p.Reader.Read(b[:min(len(b), inflateStep)])
}

// ReadByte implements io.ByteReader. Decompressors wrap a reader without it in a buffer, which would defeat the small steps.
func (p pausing) ReadByte() (byte, error) {
	if p.Len()%inflateStep == 0 {
		if err := p.turn.Yield(p.ctx); err != nil {
			return 0, err
		}
	}
	return p.Reader.ReadByte()
}

// inflate returns the decompressed body. A client can craft compressed data whose blocks cost a microsecond per byte, so inflate
// takes turns with other requests and stops when the client has gone.
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
		r, err = newMembers(in)
	case "deflate":
		r, err = zlib.NewReader(in)
	default:
		return nil, undecodable()
	}
	if err == nil {
		err = w.inflated.readFrom(r, 0, limit)
		_ = r.Close() // returns memory to a pool; the reads have reported all errors
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
	return nil, undecodable()
}

// undecodable is AWS's error for a body that isn't in the encoding that Content-Encoding names, and for unknown encodings. SDKs retry
// it, because AWS takes the fault for its own.
func undecodable() *awserr.Error { return awserr.New(awserr.InternalFailure, "") }

// members reads gzip members one after the other. Like AWS, and unlike gzip.Reader, it ignores what follows the last one.
type members struct {
	*gzip.Reader
	in pausing
}

// newMembers returns a reader of one or more gzip members.
func newMembers(in pausing) (*members, error) {
	r, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	r.Multistream(false)
	return &members{r, in}, nil
}

// Read implements io.Reader.
func (m *members) Read(b []byte) (int, error) {
	for {
		n, err := m.Reader.Read(b)
		if err != io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil // the next call finds the end again
		}
		if err := m.Reader.Reset(m.in); err != nil {
			if m.in.ctx.Err() != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		m.Reader.Multistream(false)
	}
}
