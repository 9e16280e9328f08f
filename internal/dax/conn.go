package dax

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/dax/wire"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/wirejson"
)

const (
	// magic is what every connection begins with.
	magic = "J7yne5G"

	// layeringPlain and layeringFramed say whether responses are in frames.
	layeringPlain  = 0
	layeringFramed = 1

	frameHeader = 8
	lastFrame   = 1

	// smallBuffer is what a connection that waits keeps for the next request, in bytes.
	smallBuffer = 4 << 10
	// largeBuffer is from where on memory is counted, and not kept for the next request.
	largeBuffer = 64 << 10
	// maxStranger is how many bytes somebody may send before he has said who he is.
	maxStranger = 64 << 10
	// maxStall is how long a client may take to go on with a request, or to take an answer.
	maxStall = time.Minute
)

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

// method is how many values a method's request has behind its id, and what answers it.
type method struct {
	values int
	count  counted
	run    func(*conn, *wire.Reader) error
}

var methods = map[int64]method{
	methodAuthorize:           {5, notCounted, nil},
	methodEndpoints:           {0, notCounted, (*conn).endpoints},
	methodDefineKeySchema:     {1, notCounted, (*conn).defineKeySchema},
	methodDefineAttributeID:   {1, notCounted, (*conn).defineAttributeListID},
	methodDefineAttributeList: {1, notCounted, (*conn).defineAttributeList},
	methodGetItem:             {3, getItemRequests, (*conn).getItem},
	methodPutItem:             {4, putItemRequests, (*conn).putItem},
	methodUpdateItem:          {3, updateItemRequests, (*conn).updateItem},
	methodDeleteItem:          {3, deleteItemRequests, (*conn).deleteItem},
	methodBatchGetItem:        {2, batchGetItemRequests, (*conn).batchGetItem},
	methodBatchWriteItem:      {2, batchWriteItemRequests, (*conn).batchWriteItem},
	methodQuery:               {3, queryRequests, (*conn).query},
	methodScan:                {2, scanRequests, (*conn).scan},
	methodTransactGetItems:    {4, transactGetRequests, (*conn).transactGetItems},
	methodTransactWriteItems:  {9, transactWriteRequests, (*conn).transactWriteItems},
}

// conn is a connection. Requests come one after the other, so one goroutine has it.
type conn struct {
	node *Node
	net  net.Conn
	ctx  context.Context
	// busy is set while a request is read or answered; stopped says that it is the last.
	busy, stopped atomic.Bool

	in       []byte // what was read; the request that is answered begins at its beginning
	have     int    // of in
	reserved int64  // counted as large
	skim     wire.Skimmer
	out      []byte
	framed   bool

	caller   smithy.Caller
	known    bool      // the caller has said who he is
	until    time.Time // for how long that counts; zero for ever
	refused  *awserr.Error
	lists    *lists
	counters *counters

	call   smithy.Call
	tables [2]*table // those that were used last
	key    []byte    // scratch
}

// table is a table as the protocol sees it.
type table struct {
	*catalog.Table
	name   string // in requests
	schema wire.KeySchema
	// foreign says that it is another account's. Its attribute lists have ids of their own, and what is in the caches has those of the
	// table's account: requests of others pass through.
	foreign bool
}

func newConn(n *Node, nc net.Conn) *conn {
	return &conn{node: n, net: nc, ctx: n.ctx, in: make([]byte, smallBuffer)}
}

// nobody is whose requests come without an authorization.
var nobody = smithy.Caller{Account: auth.DefaultAccount, Region: "us-east-1"}

// introduce says whose requests come.
func (c *conn) introduce(caller smithy.Caller) {
	if c.lists != nil && caller == c.caller {
		return
	}
	caller.Account, caller.Region, caller.AccessKey = strings.Clone(caller.Account), strings.Clone(caller.Region), strings.Clone(caller.AccessKey)
	c.caller = caller
	account, region := c.node.service.opt.Database.Namespace(c.caller)
	c.lists = c.node.service.listsOf(account)
	c.node.leave(c.counters)
	c.counters = c.node.enter(account, region)
	c.tables = [2]*table{}
}

// stop makes the connection end when it has answered what it is at.
func (c *conn) stop() {
	c.stopped.Store(true)
	if !c.busy.Load() {
		// A Read that waits returns. One that begins a request at this very moment sees stopped, or is cut off.
		_ = c.net.SetReadDeadline(time.Unix(1, 0))
	}
}

func (c *conn) close() {
	c.net.Close()
	c.node.leave(c.counters)
	c.node.large.Add(-c.reserved)
}

var errTooLarge = errors.New("dax: a request is too large")

// fill reads more.
func (c *conn) fill() error {
	if c.have == len(c.in) {
		limit := wire.MaxMessage + smallBuffer
		if !c.known && c.node.service.opt.Auth.Verifies() {
			limit = maxStranger
		}
		if len(c.in) >= limit {
			return errTooLarge
		}
		n := min(2*len(c.in), limit)
		if n > largeBuffer {
			more := int64(n) - c.reserved
			if !c.node.reserve(more) {
				return overloaded()
			}
			c.reserved += more
		}
		c.in = append(make([]byte, 0, n), c.in[:c.have]...)[:n]
	}
	if c.have > 0 { // within a request
		if err := c.net.SetReadDeadline(time.Now().Add(maxStall)); err != nil {
			return err
		}
		defer func() {
			if !c.stopped.Load() {
				_ = c.net.SetReadDeadline(time.Time{})
			}
		}()
	}
	n, err := c.net.Read(c.in[c.have:])
	c.have += n
	if n > 0 {
		return nil
	}
	return err
}

// values reads until n more values are there.
func (c *conn) values(n int) error {
	for n > 0 {
		whole, err := c.skim.Value(c.in[:c.have])
		switch {
		case err != nil:
			return err
		case whole:
			n--
			c.skim.Reset(c.skim.Pos())
		default:
			if err := c.fill(); err != nil {
				return err
			}
			c.busy.Store(true)
		}
	}
	return nil
}

// drop forgets a request that is answered.
func (c *conn) drop() {
	end := c.skim.Pos()
	rest := c.have - end
	if len(c.in) > largeBuffer && rest <= smallBuffer {
		c.in = append(make([]byte, 0, smallBuffer), c.in[end:c.have]...)[:smallBuffer]
		c.node.large.Add(-c.reserved)
		c.reserved = 0
	} else if rest > 0 {
		copy(c.in, c.in[end:c.have])
	}
	if cap(c.out) > largeBuffer {
		c.out = nil
	}
	c.have = rest
	c.skim.Reset(0)
	c.busy.Store(rest > 0)
}

// serve answers requests until the connection ends.
func (c *conn) serve() {
	if !c.preamble() {
		return
	}
	c.drop()
	for !c.stopped.Load() || c.busy.Load() {
		if !c.request() {
			return
		}
		c.drop()
	}
}

// preamble reads what a connection begins with; false for one that is none of DAX.
func (c *conn) preamble() bool {
	if err := c.values(5); err != nil {
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
		case errors.Is(err, errTooLarge):
			c.fail(awserr.New(awserr.RequestEntityTooLarge, ""))
		case errors.As(err, &known):
			c.fail(known)
		default:
			return false // it is closed or broken
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
	return c.answer() == nil && keep
}

// head is a request's method, and where its values begin.
type head struct {
	id   int64
	args int
}

// read reads a request.
func (c *conn) read() (h head, err error) {
	if err := c.values(2); err != nil {
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
	return h, c.values(m.values)
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
	if len(c.out) > smallBuffer {
		if err := c.net.SetWriteDeadline(time.Now().Add(maxStall)); err != nil {
			return err
		}
	}
	_, err := c.net.Write(c.out)
	return err
}

// run answers a request; false if the connection can't go on.
func (c *conn) run(m method, args *wire.Reader) (keep bool) {
	if c.lists == nil {
		c.introduce(nobody)
	}
	start := len(c.out)
	err := c.try(m, args)
	c.call.Release()
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

// try runs a method. One that panics fails.
func (c *conn) try(m method, args *wire.Reader) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = awserr.Internal(panicError(p))
		}
	}()
	if err := c.authorized(); err != nil {
		return err
	}
	c.call.Caller = c.caller
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

// authorize reads who sends the requests that come. There is no answer; who is refused learns it with his next request.
func (c *conn) authorize(r *wire.Reader) {
	accessKey, signature, text := r.Text(), r.Text(), r.Bytes()
	if r.Err() != nil {
		return
	}
	id, until, err := c.node.service.opt.Auth.AuthenticateConnection(string(accessKey), string(signature), string(text))
	if c.refused = err; err != nil {
		c.known = false
		return
	}
	c.known, c.until = true, until
	c.introduce(smithy.Caller(id))
}

// authorized returns why the caller may not send requests; nil if he may.
func (c *conn) authorized() error {
	switch {
	case c.refused != nil:
		return c.refused
	case !c.known && c.node.service.opt.Auth.Verifies():
		return awserr.New(awserr.MissingAuthenticationToken, "Authentication Required")
	case !c.until.IsZero() && c.node.service.opt.Now().After(c.until):
		return awserr.New(awserr.MissingAuthenticationToken, "Authentication Required: the signature has expired")
	}
	return nil
}

// table returns a table by its name.
func (c *conn) table(name []byte) (*table, error) {
	t, err := c.node.service.opt.Database.Table(c.caller, wirejson.View(name))
	if err != nil {
		return nil, err
	}
	for _, known := range c.tables {
		if known != nil && known.Table == t && known.name == wirejson.View(name) {
			return known, nil
		}
	}
	out := &table{Table: t, name: string(name), foreign: t.Namespace.Account != c.lists.account}
	for a := range t.Key.Attributes {
		out.schema = append(out.schema, wire.KeyAttribute{Name: a.Name, Type: a.Type})
	}
	c.tables = [2]*table{out, c.tables[0]}
	return out, nil
}

// endpoints answers which nodes there are: this one, and those of other servers.
func (c *conn) endpoints(*wire.Reader) error {
	local, ok := c.net.LocalAddr().(*net.TCPAddr)
	if !ok {
		return awserr.Internal(errors.New("no TCP address"))
	}
	same := func(other net.IP) bool { return (other.To4() == nil) == (local.IP.To4() == nil) } // clients want the family by which they came
	own := endpoint{local.IP.String(), local.IP, cmp.Or(c.node.opt.AdvertisePort, local.Port)}
	if c.node.opt.Advertise != "" {
		var err error
		if own, err = c.resolve(net.JoinHostPort(c.node.opt.Advertise, strconv.Itoa(own.port)), same); err != nil {
			return awserr.Internal(err)
		}
	}
	var others []endpoint
	if c.node.opt.Others != nil {
		_, encrypted := c.net.(*tls.Conn)
		for _, address := range c.node.opt.Others(encrypted) {
			if e, err := c.resolve(address, same); err == nil { // else it can't be reached, and clients do without it
				others = append(others, e)
			}
		}
	}
	c.out = wire.AppendArray(c.out, 1+len(others))
	c.endpoint(own, 1)
	for i, e := range others {
		c.endpoint(e, i+2)
	}
	return nil
}

// endpoint is where a node listens.
type endpoint struct {
	host string
	ip   net.IP
	port int
}

// resolve finds the address of "host:port", of the family that is wanted if there is one.
func (c *conn) resolve(address string, wanted func(net.IP) bool) (e endpoint, err error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return e, err
	}
	found, err := net.DefaultResolver.LookupIP(c.ctx, "ip", host)
	if err != nil {
		return e, err
	}
	number, err := strconv.Atoi(port)
	return endpoint{host, found[max(0, slices.IndexFunc(found, wanted))], number}, err
}

// endpoint appends what is answered of a node.
func (c *conn) endpoint(e endpoint, id int) {
	if four := e.ip.To4(); four != nil {
		e.ip = four
	}
	role := int64(2)
	if id == 1 {
		role = 1 // it leads
	}
	out := wire.BeginMap(c.out)
	out = wire.AppendInt(wire.AppendInt(out, 0), int64(id))
	out = wire.AppendText(wire.AppendInt(out, 1), e.host)
	out = wire.AppendBytes(wire.AppendInt(out, 2), e.ip)
	out = wire.AppendInt(wire.AppendInt(out, 3), int64(e.port))
	out = wire.AppendInt(wire.AppendInt(out, 4), role)
	out = wire.AppendText(wire.AppendInt(out, 5), c.caller.Region+"a")
	out = wire.AppendInt(wire.AppendInt(out, 6), c.node.session)
	c.out = wire.AppendEnd(out)
}

// defineKeySchema answers a table's key attributes and their types.
func (c *conn) defineKeySchema(r *wire.Reader) error {
	name := r.Bytes()
	if r.Err() != nil {
		return r.Err()
	}
	t, err := c.table(name)
	var known *awserr.Error
	if errors.As(err, &known) && known.Code == awserr.ResourceNotFound {
		return &wireError{err: known, codes: noSchema}
	}
	if err != nil {
		return err
	}
	c.out = wire.AppendMap(c.out, len(t.schema))
	for _, a := range t.schema {
		c.out = wire.AppendText(wire.AppendText(c.out, a.Name), a.Type.String())
	}
	return nil
}

// defineAttributeListID answers the id of an attribute list.
func (c *conn) defineAttributeListID(r *wire.Reader) error {
	var names [][]byte
	r.SkipTag()
	for n := r.Array(); r.Next(&n); {
		names = append(names, r.Text())
	}
	if r.Err() != nil {
		return r.Err()
	}
	id, err := c.lists.define(c.ctx, names)
	c.out = wire.AppendInt(c.out, id)
	return err
}

// defineAttributeList answers the attribute list with an id.
func (c *conn) defineAttributeList(r *wire.Reader) error {
	id := r.Int()
	if r.Err() != nil {
		return r.Err()
	}
	list, err := c.lists.list(c.ctx, id)
	if err != nil {
		return err
	}
	c.out = wire.AppendArray(c.out, len(list.Names))
	for _, name := range list.Names {
		c.out = wire.AppendText(c.out, name)
	}
	return nil
}

func panicError(p any) error {
	if err, ok := p.(error); ok {
		return err
	}
	if s, ok := p.(string); ok {
		return errors.New("panic: " + s)
	}
	return errors.New("panic")
}
