package node

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/access"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/turns"
)

const (
	// magic opens every connection.
	magic = "J7yne5G"

	// layeringPlain and layeringFramed say whether answers are framed. A frame is a header of 8 bytes and one whole answer.
	layeringPlain  = 0
	layeringFramed = 1
	// lastFrame marks the last frame of an answer. Answers have a single frame.
	lastFrame = 1
)

// Sizes in bytes.
const (
	// firstBuffer is the read buffer of a new connection: enough for the messages with which clients begin.
	firstBuffer = 512
	// smallBuffer is the largest buffer kept for the next request. It also bounds how much of pipelined requests is read ahead.
	smallBuffer = 4 << 10
	// maxStranger bounds each message of an unauthenticated client: a preamble, an authorization, or a request to be refused.
	maxStranger = 16 << 10
	// maxNames bounds the definition of an attribute list: no list has more names than an item of 400 KB.
	maxNames = 1 << 20
	// maxSmall bounds requests that only name something.
	maxSmall = 4 << 10
	// largeRequest is the size from which a request waits its turn like one on many items: decoded, it may be far larger.
	largeRequest = 64 << 10
	// maxOne bounds requests on one item, queries and scans: an item of 400 KB, and expressions with values of 2 MB.
	maxOne = 4 << 20
)

// Deadlines.
const (
	// preambleTimeout is how long a client may take for the TLS handshake and the preamble together, and then, until it is
	// authenticated, for each message from its first byte on.
	preambleTimeout = 10 * time.Second
	// authTimeout is how long a client may take to authorize the connection after the preamble, or, on a server without
	// credentials, to send its first request. AWS's Go client opens connections in advance and closes unused ones only after a
	// minute.
	authTimeout = 90 * time.Second
	// transferTimeout is how long a client may take to send a request, from its first byte on, or to receive an answer. Each
	// transferRate bytes add a second.
	transferTimeout = time.Minute
	transferRate    = 64 << 10
	// watchAfter is how long a request runs before its connection is watched for a client that goes away.
	watchAfter = 100 * time.Millisecond
)

// allowance is how long a transfer of the given number of bytes may take.
func allowance(bytes int) time.Duration {
	return transferTimeout + time.Duration(bytes/transferRate)*time.Second
}

// conn is one client's connection. Its requests are answered one after the other by one goroutine, which owns all fields except the
// atomic ones. While a request runs, watch may read ahead into in.
type conn struct {
	node   *Node
	net    net.Conn
	from   netip.Addr
	ctx    context.Context // ends when the client has gone, or the node closes
	cancel context.CancelFunc
	// busy is set while a request is read or answered; stopped means that it is the last one.
	busy, stopped atomic.Bool
	running       atomic.Bool  // a request is being executed
	since         atomic.Int64 // when the last request ended, or the connection began: nanoseconds since 1970

	in       []byte // bytes read; they begin with the request being answered
	have     int    // number of valid bytes in in
	reserved int64  // bytes taken from the budget
	readings int64  // bytes that the current request has read from the database
	counted  int64  // the part of readings taken from the budget
	// skim finds where the current message ends; out is the answer; framed says whether answers are framed.
	skim   wire.Skimmer
	out    []byte
	framed bool

	introduceBy     time.Time // deadline for an unauthenticated client
	began           time.Time // when the first bytes of an incomplete request arrived; zero if it was complete at once
	readBy, writeBy time.Time // the deadlines set on net, to avoid setting them again
	watch           watcher
	broken          bool // a request has panicked: the connection must end

	identity
	at     place           // see place
	needs  permission      // that the current request needs
	asked  access.Question // memory for questions to policies, for reuse
	call   smithy.Call
	turn   turns.Turn
	tables [2]*table // the most recently used tables
	named  named     // the tables that the current request names
	key    []byte    // scratch space for cache keys
}

// newConn returns a stranger's connection. Nothing is read from it yet.
func newConn(n *Node, nc net.Conn) *conn {
	c := &conn{node: n, net: nc, from: addressOf(nc), in: make([]byte, firstBuffer)}
	c.ctx, c.cancel = context.WithCancel(n.ctx)
	c.call.Memory, c.call.Turn, c.call.Origin = c, &c.turn, originOf(c)
	now := time.Now()
	c.introduceBy = now.Add(preambleTimeout)
	c.since.Store(now.UnixNano())
	return c
}

// stop makes the connection end once the current request is answered.
func (c *conn) stop() {
	c.stopped.Store(true)
	if !c.busy.Load() {
		// Wake a Read that waits. A request that begins at this very moment sees stopped, or is cut off.
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut closes the connection at once, even in the middle of a request. It never blocks, as an orderly close of TLS may.
func (c *conn) cut() {
	c.cancel()
	raw := c.net
	if encrypted, ok := raw.(*tls.Conn); ok {
		raw = encrypted.NetConn()
	}
	_ = raw.Close() // the connection's goroutine sees its reads and writes fail
}

// close releases everything that the connection holds.
func (c *conn) close() {
	c.cancel()
	c.node.service.gate.leave(c)
	c.node.service.budget.give(c, 0)
	c.node.leave(c.counters)
	c.net.Close()
}

var (
	errTooLarge = errors.New("dax: a request is too large")
	errStopped  = errors.New("dax: the node closes")
)

// take reserves bytes of the budget, or returns overloaded.
func (c *conn) take(bytes int64, waits bool) error {
	if !c.node.service.budget.take(c, bytes, waits) {
		return overloaded()
	}
	c.reserved += bytes
	return nil
}

// Take implements smithy.Memory: it counts what a request reads from the database. run gives it back when the request has ended.
func (c *conn) Take(bytes int) bool {
	c.readings += int64(bytes)
	more := c.readings - largeBuffer - c.counted
	if more <= 0 {
		return true
	}
	more = max(more, countReads)
	if c.take(more, false) != nil {
		return false
	}
	c.counted += more
	return true
}

// fill reads more bytes of a message that may have at most limit bytes.
func (c *conn) fill(limit int) error {
	if c.skim.Want() > limit {
		return errTooLarge
	}
	if c.have == len(c.in) {
		// The beginning of the next request may arrive together with this one.
		if limit += smallBuffer; len(c.in) >= limit {
			return errTooLarge
		}
		n := min(2*len(c.in), limit)
		if more := int64(n) - c.reserved; n > largeBuffer && more > 0 {
			if err := c.take(more, true); err != nil {
				return err
			}
		}
		c.in = append(make([]byte, 0, n), c.in[:c.have]...)[:n]
	}
	var by time.Time
	if !c.known {
		by = c.introduceBy
	}
	if c.have > 0 { // in the middle of a message
		if c.began.IsZero() {
			c.began = time.Now()
		}
		end := c.began.Add(allowance(c.have))
		if !c.known {
			end = c.began.Add(preambleTimeout)
		}
		if by.IsZero() || end.Before(by) {
			by = end
		}
	}
	if !by.Equal(c.readBy) {
		if err := c.net.SetReadDeadline(by); err != nil {
			return err
		}
		c.readBy = by
	}
	if c.stopped.Load() && !c.busy.Load() { // the new deadline may have overwritten the one that stop set
		return errStopped
	}
	n, err := c.net.Read(c.in[c.have:])
	c.have += n
	if n > 0 {
		return nil
	}
	return err
}

// values reads until n more values are complete, of a message of at most limit bytes.
func (c *conn) values(n, limit int) error {
	for n > 0 {
		whole, err := c.skim.Value(c.in[:c.have])
		switch {
		case err != nil:
			return err
		case whole:
			n--
			c.skim.Reset(c.skim.Pos())
		default:
			if err := c.fill(limit); err != nil {
				return err
			}
			c.busy.Store(true)
		}
	}
	if c.skim.Pos() > limit {
		return errTooLarge
	}
	return nil
}

// drop discards an answered message, and shrinks large buffers.
func (c *conn) drop() {
	end := c.skim.Pos()
	rest := c.have - end
	keep := int64(0)
	switch {
	case len(c.in) > largeBuffer && rest <= len(c.in)/4:
		c.in = append(make([]byte, 0, max(smallBuffer, 2*rest)), c.in[end:c.have]...)
		c.in = c.in[:cap(c.in)]
	case rest > 0:
		copy(c.in, c.in[end:c.have])
	}
	if len(c.in) > largeBuffer {
		keep = int64(len(c.in))
	}
	if c.reserved != keep {
		c.node.service.budget.give(c, keep)
		c.reserved = keep
	}
	if cap(c.out) > largeBuffer {
		c.out = nil
	}
	c.have = rest
	c.began = time.Time{}
	c.skim.Reset(0)
	c.busy.Store(rest > 0)
}

// serve answers requests until the connection ends.
func (c *conn) serve() {
	// The deadline covers the writes of the TLS handshake too.
	c.readBy, c.writeBy = c.introduceBy, c.introduceBy
	if err := c.net.SetDeadline(c.introduceBy); err != nil || !c.preamble() {
		return
	}
	c.introduceBy = time.Now().Add(authTimeout)
	c.drop()
	for !c.stopped.Load() || c.busy.Load() {
		if !c.request() {
			return
		}
		c.drop()
	}
}

// preamble reads the opening of a connection. It returns false if the client doesn't speak DAX.
func (c *conn) preamble() bool {
	if err := c.values(5, maxStranger); err != nil {
		return false
	}
	r := wire.NewReader(c.in[:c.skim.Pos()])
	hello, layering := r.Text(), r.Int()
	c.framed = layering == layeringFramed
	return r.Err() == nil && string(hello) == magic && (layering == layeringPlain || layering == layeringFramed)
}

// request reads and answers one request. It returns false if the connection must end.
func (c *conn) request() bool {
	m, err := c.read()
	if err != nil {
		var known *awserr.Error
		switch {
		case errors.Is(err, wire.ErrMalformed):
			c.fail(malformed())
		case errors.Is(err, errTooLarge), errors.Is(err, wire.ErrTooLarge):
			c.fail(awserr.New(awserr.RequestEntityTooLarge, "The request has too many bytes"))
		case errors.As(err, &known):
			c.fail(known)
		default:
			return false // the connection is closed or broken, or the client was too slow
		}
		_ = c.answer()
		return false
	}
	id, args := m.id, wire.NewReader(c.in[m.args:c.skim.Pos()])
	if id == methodAuthorize {
		c.authorize(args)
		return args.Err() == nil
	}
	c.begin()
	keep := c.run(methods[id], args)
	if c.ctx.Err() != nil { // the client has gone
		return false
	}
	return c.answer() == nil && keep && !c.broken
}

// head is a request's method, and the offset of its arguments.
type head struct {
	id   int64
	args int
}

// read reads one request, up to the limit of its method.
func (c *conn) read() (h head, err error) {
	if err := c.values(2, maxStranger); err != nil {
		return h, err
	}
	h.args = c.skim.Pos()
	r := wire.NewReader(c.in[:h.args])
	service := r.Int()
	h.id = r.Int()
	m, known := methods[h.id]
	switch {
	case r.Err() != nil:
		return h, r.Err()
	case service != serviceID || !known:
		return h, awserr.New(notImplemented, "The method is not supported by this endpoint")
	}
	if c.unknown() {
		m.limit = min(m.limit, maxStranger)
	}
	return h, c.values(m.values, m.limit)
}

// begin starts an answer.
func (c *conn) begin() {
	c.out = c.out[:0]
	if c.framed {
		c.out = append(c.out, 0, 0, 0, 0, lastFrame, 0, 0, 0)
	}
}

// fail replaces the answer by an error.
func (c *conn) fail(err *awserr.Error) {
	c.begin()
	c.out = appendError(c.out, err, nil)
}

// answer sends the answer.
func (c *conn) answer() error {
	if c.framed {
		binary.BigEndian.PutUint32(c.out, uint32(len(c.out)))
	}
	now := time.Now()
	c.since.Store(now.UnixNano())
	// Small answers share a deadline that is moved only now and then.
	if by := now.Add(allowance(len(c.out))); len(c.out) > smallBuffer || c.writeBy.Before(by.Add(-transferTimeout/2)) {
		if err := c.net.SetWriteDeadline(by); err != nil {
			return err
		}
		c.writeBy = by
	}
	_, err := c.net.Write(c.out)
	return err
}

// run executes a request and appends its result or error to the answer. It returns false if the connection must end.
func (c *conn) run(m method, args *wire.Reader) (keep bool) {
	c.running.Store(true)
	if c.reserved > 0 {
		c.node.service.budget.waits(c, false)
	}
	start := len(c.out)
	err := c.try(m, args)
	c.call.Release()
	if c.counted > 0 {
		c.reserved -= c.counted
		c.node.service.budget.give(c, c.reserved)
	}
	c.readings, c.counted = 0, 0
	if err == nil {
		err = c.count(m)
	}
	if c.reserved > 0 {
		c.node.service.budget.waits(c, true)
	}
	c.running.Store(false)
	if c.ctx.Err() != nil { // the client has gone; the request may have happened all the same
		var known *awserr.Error
		if err != nil && !errors.As(err, &known) {
			known = awserr.Internal(err)
		}
		c.record(m, known)
		return false
	}
	if err == nil {
		c.counters.request(m.count, nil)
		c.record(m, nil)
		return true
	}
	known := c.clientError(err)
	c.counters.request(m.count, known)
	c.record(m, known)
	var more *wireError
	if !errors.As(err, &more) {
		more = nil
	}
	c.out = appendError(c.out[:start], known, more)
	return !errors.Is(err, wire.ErrMalformed)
}

// count reserves the memory of a large answer until it is sent. A read fails if there is no room. A write has already happened, so
// its answer is always reserved.
func (c *conn) count(m method) error {
	size := int64(cap(c.out))
	if size <= largeBuffer {
		return nil
	}
	if m.read {
		return c.take(size, false)
	}
	c.node.service.budget.force(c, size)
	c.reserved += size
	return nil
}

// try runs a method. A panic becomes an error and ends the connection.
func (c *conn) try(m method, args *wire.Reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.broken = true
			err = awserr.Panicked(p)
		}
	}()
	if err := c.authorized(); err != nil {
		return err
	}
	c.named.on = c.node.service.opt.Audit.Wants(m.target)
	visit, reached := c.node.service.opt.Tenants.Enter(c.caller.Account)
	if reached != "" {
		return awserr.AccountLimit()
	}
	defer visit.Leave()
	c.needs = m.needs
	if err := c.authorizeMethod(&m); err != nil {
		return err
	}
	if m.work {
		c.watch.begin(c)
		defer c.watch.end(c)
		c.turn.Begin(c.node.service.opt.Turns, c.caller.Account, time.Now())
		defer c.turn.End()
	}
	if m.many || c.skim.Pos() > largeRequest {
		if err := c.node.service.enter(c.ctx); err != nil {
			return err
		}
		defer c.node.service.leave()
	}
	c.out = wire.AppendArray(c.out, 0) // no error codes: success
	if err := m.run(c, args); err != nil {
		return m.rules.Word(err) // an error in values that the operation has not seen
	}
	return m.rules.Word(args.Err())
}

// clientError maps an error to the one that the client sees, and logs internal errors.
func (c *conn) clientError(err error) *awserr.Error {
	var known *awserr.Error
	if errors.Is(err, wire.ErrMalformed) {
		return malformed()
	}
	if !errors.As(err, &known) {
		known = awserr.Internal(err)
	}
	if known.Code == awserr.InternalServerError {
		c.node.service.opt.Logger.Error("request failed", "protocol", "dax", "error", errors.Unwrap(known))
	}
	return known
}
