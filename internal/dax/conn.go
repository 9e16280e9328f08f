package dax

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/turns"
)

const (
	// magic is what every connection begins with.
	magic = "J7yne5G"

	// layeringPlain and layeringFramed say whether responses are in frames.
	layeringPlain  = 0
	layeringFramed = 1
	lastFrame      = 1
)

// Sizes in bytes.
const (
	// firstBuffer is what a new connection reads into: the messages with which clients begin have less.
	firstBuffer = 512
	// smallBuffer is what a connection keeps at most for the next request, and how much of requests behind the one that is read it
	// may read.
	smallBuffer = 4 << 10
	// maxStranger bounds each message of a stranger: a preamble, an authorization, or a request that is refused for want of one.
	maxStranger = 16 << 10
	// maxNames bounds the definition of an attribute list, which has no more names than an item of 400 KB.
	maxNames = 1 << 20
	// maxSmall bounds requests that only name something.
	maxSmall = 4 << 10
	// largeRequest is from where on a request waits until there are not too many others, as one on many items does: what it is
	// decoded to may be far larger.
	largeRequest = 64 << 10
	// maxOne bounds requests on one item, queries and scans: an item of 400 KB and expressions with values of 2 MB.
	maxOne = 4 << 20
)

// Deadlines.
const (
	// preambleTimeout is how long a client may take for the TLS handshake and the preamble, and for each message of a stranger from
	// its first byte on.
	preambleTimeout = 10 * time.Second
	// authTimeout is how long a client may take to authorize the connection after the preamble, or without credentials to send a
	// first request. AWS's client for Go opens connections in advance, and closes those that it did not need only after a minute.
	authTimeout = 90 * time.Second
	// transferTimeout is how long a client may take to send a request from its first byte on, or to take an answer. It gets a
	// second more for every transferRate bytes.
	transferTimeout = time.Minute
	transferRate    = 64 << 10
	// watchAfter is how long a request runs before its connection is watched: a client that goes away then ends it.
	watchAfter = 100 * time.Millisecond
)

// allowance is how long the transfer of bytes may take.
func allowance(bytes int) time.Duration {
	return transferTimeout + time.Duration(bytes/transferRate)*time.Second
}

// Methods of the protocol. Those of which nobody knows the parameters are left out.
const (
	methodAuthorize           = 1489122155
	methodEndpoints           = 455855874
	methodDefineKeySchema     = -742646399
	methodDefineAttributeID   = -1230579644
	methodDefineAttributeList = 670678385
	methodGetItem             = 263244906
	methodPutItem             = -2106490455
	methodUpdateItem          = 1425579023
	methodDeleteItem          = 1013539361
	methodBatchGetItem        = -697851100
	methodBatchWriteItem      = 116217951
	methodQuery               = -931250863
	methodScan                = -1875390620
	methodTransactGetItems    = 1866287579
	methodTransactWriteItems  = -1160037738

	serviceID = 1
)

// method is what a method's requests look like, and what answers them.
type method struct {
	values int // behind its id
	limit  int // bytes of a request
	count  counted
	// action is what the caller needs a permission for on the tables that are named; empty where the method says that itself.
	action string
	// work says that the method's client is watched while it runs: see watchAfter.
	work bool
	// many says that it handles many items, and waits until there are not too many others.
	many bool
	// read says that it changes nothing, so that its answer may be dropped and asked for again.
	read bool
	run  func(*conn, *wire.Reader) error
}

var methods = map[int64]method{
	methodAuthorize:           {values: 5, limit: maxStranger},
	methodEndpoints:           {values: 0, limit: maxSmall, run: (*conn).endpoints},
	methodDefineKeySchema:     {values: 1, limit: maxSmall, action: "dynamodb:DescribeTable", run: (*conn).defineKeySchema},
	methodDefineAttributeID:   {values: 1, limit: maxNames, work: true, many: true, run: (*conn).defineAttributeListID},
	methodDefineAttributeList: {values: 1, limit: maxSmall, work: true, read: true, run: (*conn).defineAttributeList},
	methodGetItem:             {values: 3, limit: maxOne, count: getItemRequests, action: actionGet, read: true, run: (*conn).getItem},
	methodPutItem:             {values: 4, limit: maxOne, count: putItemRequests, action: actionPut, work: true, run: (*conn).putItem},
	methodUpdateItem:          {values: 3, limit: maxOne, count: updateItemRequests, action: actionUpdate, work: true, run: (*conn).updateItem},
	methodDeleteItem:          {values: 3, limit: maxOne, count: deleteItemRequests, action: actionDelete, work: true, run: (*conn).deleteItem},
	methodBatchGetItem:        {values: 2, limit: maxOne, count: batchGetItemRequests, action: "dynamodb:BatchGetItem", work: true, many: true, read: true, run: (*conn).batchGetItem},
	methodBatchWriteItem:      {values: 2, limit: wire.MaxMessage, count: batchWriteItemRequests, action: "dynamodb:BatchWriteItem", work: true, many: true, run: (*conn).batchWriteItem},
	methodQuery:               {values: 3, limit: maxOne, count: queryRequests, action: "dynamodb:Query", work: true, many: true, read: true, run: (*conn).query},
	methodScan:                {values: 2, limit: maxOne, count: scanRequests, action: "dynamodb:Scan", work: true, many: true, read: true, run: (*conn).scan},
	methodTransactGetItems:    {values: 4, limit: maxOne, count: transactGetRequests, action: actionGet, work: true, many: true, read: true, run: (*conn).transactGetItems},
	methodTransactWriteItems:  {values: 9, limit: wire.MaxMessage, count: transactWriteRequests, work: true, many: true, run: (*conn).transactWriteItems},
}

// conn is a connection. Requests come one after the other, so one goroutine has it.
type conn struct {
	node   *Node
	net    net.Conn
	from   netip.Addr
	ctx    context.Context // ends when the client has gone, or the node closes
	cancel context.CancelFunc
	// busy is set while a request is read or answered; stopped says that it is the last.
	busy, stopped atomic.Bool
	running       atomic.Bool  // a request runs
	since         atomic.Int64 // when the last one ended, or the connection began: nanoseconds since 1970

	in       []byte // what was read; the request that is answered begins at its beginning
	have     int    // of in
	reserved int64  // of the budget
	readings int64  // bytes that the request under way has read
	counted  int64  // those of them that were taken from the budget
	skim     wire.Skimmer
	out      []byte
	framed   bool

	introduceBy     time.Time // until when a stranger must have introduced itself
	began           time.Time // when the first bytes of a request came that did not come at once; zero if they did
	readBy, writeBy time.Time // the deadlines that net has
	watch           watcher
	broken          bool // a request has panicked

	identity
	action string // of the request that runs
	call   smithy.Call
	turn   turns.Turn
	tables [2]*table // those that were used last
	key    []byte    // scratch
}

func newConn(n *Node, nc net.Conn) *conn {
	c := &conn{node: n, net: nc, from: addressOf(nc), in: make([]byte, firstBuffer)}
	c.ctx, c.cancel = context.WithCancel(n.ctx)
	c.call.Memory, c.call.Turn = c, &c.turn
	now := time.Now()
	c.introduceBy = now.Add(preambleTimeout)
	c.since.Store(now.UnixNano())
	return c
}

// stop makes the connection end when it has answered what it is at.
func (c *conn) stop() {
	c.stopped.Store(true)
	if !c.busy.Load() {
		// A Read that waits returns. One that begins a request at this very moment sees stopped, or is cut off.
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

// cut closes the connection at once, whatever it is at. It doesn't block, as closing TLS in order may.
func (c *conn) cut() {
	c.cancel()
	raw := c.net
	if encrypted, ok := raw.(*tls.Conn); ok {
		raw = encrypted.NetConn()
	}
	_ = raw.Close() // its goroutine sees that reads and writes fail
}

// close gives back all that the connection has.
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

// take takes more of the budget.
func (c *conn) take(bytes int64, waits bool) error {
	if !c.node.service.budget.take(c, bytes, waits) {
		return overloaded()
	}
	c.reserved += bytes
	return nil
}

// Take implements smithy.Memory: it counts what a request reads, until the request ends.
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

// fill reads more of a message that has limit bytes at most.
func (c *conn) fill(limit int) error {
	if c.skim.Want() > limit {
		return errTooLarge
	}
	if c.have == len(c.in) {
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
	if c.have > 0 { // within a message
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
	if c.stopped.Load() && !c.busy.Load() { // perhaps the deadline was stop's
		return errStopped
	}
	n, err := c.net.Read(c.in[c.have:])
	c.have += n
	if n > 0 {
		return nil
	}
	return err
}

// values reads until n more values of a message of limit bytes at most are there.
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

// drop forgets a message that is answered.
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
	// For the handshake's writes too.
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

// preamble reads what a connection begins with; false if it isn't DAX's.
func (c *conn) preamble() bool {
	if err := c.values(5, maxStranger); err != nil {
		return false
	}
	r := wire.NewReader(c.in[:c.skim.Pos()])
	hello, layering := r.Text(), r.Int()
	c.framed = layering == layeringFramed
	return r.Err() == nil && string(hello) == magic && (layering == layeringPlain || layering == layeringFramed)
}

// request reads and answers one request; false if the connection can't go on.
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
			return false // it is closed or broken, or its client was too slow
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

// head is a request's method, and where its values begin.
type head struct {
	id   int64
	args int
}

// read reads a request.
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

// begin begins an answer.
func (c *conn) begin() {
	c.out = c.out[:0]
	if c.framed {
		c.out = append(c.out, 0, 0, 0, 0, lastFrame, 0, 0, 0)
	}
}

// fail makes an error the answer.
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
	// Small answers share a deadline that is moved now and then.
	if by := now.Add(allowance(len(c.out))); len(c.out) > smallBuffer || c.writeBy.Before(by.Add(-transferTimeout/2)) {
		if err := c.net.SetWriteDeadline(by); err != nil {
			return err
		}
		c.writeBy = by
	}
	_, err := c.net.Write(c.out)
	return err
}

// run answers a request; false if the connection can't go on.
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
	if c.ctx.Err() != nil {
		return false
	}
	if err == nil {
		c.counters.request(m.count, nil)
		return true
	}
	known := c.clientError(err)
	c.counters.request(m.count, known)
	var more *wireError
	if !errors.As(err, &more) {
		more = nil
	}
	c.out = appendError(c.out[:start], known, more)
	return !errors.Is(err, wire.ErrMalformed)
}

// count takes the memory of a large answer from the budget until it is sent. Reads that find no room fail; a write has happened.
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

// try runs a method. One that panics fails, and the connection ends.
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
	c.action, c.call.Caller = m.action, c.caller
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
	c.out = wire.AppendArray(c.out, 0) // success
	if err := m.run(c, args); err != nil {
		return err
	}
	return args.Err()
}

// clientError returns what a client sees of an error, and logs those that are the server's.
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
