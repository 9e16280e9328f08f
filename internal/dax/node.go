// Package dax is the front end for clients of DynamoDB Accelerator: connections that speak its protocol, and a cache in front of
// the database as a DAX node is one.
//
// A Service has what all nodes share: the operations, and the attribute lists that clients know by ids. A Node is a listener with
// caches of its own. Source of the semantics: "DAX: How it works" and "DAX and DynamoDB consistency models".
package dax

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
	"github.com/statordb/stator/internal/turns"
)

// Defaults of NodeOptions ("DAX: How it works").
const (
	DefaultItemTTL  = 5 * time.Minute
	DefaultQueryTTL = 5 * time.Minute
	DefaultMemory   = 256 << 20
)

// Database is what a Service asks the database for.
type Database interface {
	// Operations returns DynamoDB's operations.
	Operations() []smithy.Handler
	// Table returns the table that serves a caller's requests by the name or Amazon Resource Name, if the caller may take the action
	// there, e.g. dynamodb:GetItem; else AWS's error.
	Table(caller smithy.Caller, action, name string) (*catalog.Table, error)
	// CheckProjection returns what is wrong with a projection expression.
	CheckProjection(expression string, names smithy.Map[string]) error
	// Namespace says whose tables a caller's are.
	Namespace(caller smithy.Caller) (account, region string)
}

// Options configure a Service.
type Options struct {
	Database Database
	KV       kv.Store
	Auth     *auth.Authenticator
	Now      func() time.Time
	Logger   *slog.Logger
	// Turns are what requests that take long share with those of other protocols.
	Turns *turns.Turns
	// Connections is how many there may be on all nodes together; 0 is for 10,000, or half of what the process may open if that is
	// less.
	Connections int
}

// Service is what nodes share.
type Service struct {
	opt Options

	getItem            *smithy.Handler
	putItem            *smithy.Handler
	updateItem         *smithy.Handler
	deleteItem         *smithy.Handler
	query              *smithy.Handler
	scan               *smithy.Handler
	batchGetItem       *smithy.Handler
	batchWriteItem     *smithy.Handler
	transactGetItems   *smithy.Handler
	transactWriteItems *smithy.Handler

	gate    *gate
	budget  *budget
	many    chan struct{} // has an element for each request on many items that runs
	refills chan struct{} // and for each refill

	mu    sync.Mutex
	lists map[string]*lists // by account
}

const (
	defaultConnections = 10_000
	// manyPerCPU is how many requests on many items run at a time, for each CPU that the process uses, and minMany at least. Each may
	// have 16 MB in hand.
	manyPerCPU = 8
	minMany    = 32
	// maxRefills is how many refills run at a time.
	maxRefills = 16
	// maxNamespaces is how many accounts and regions of a node's clients are counted by themselves between two collections.
	maxNamespaces = 1000
)

// New returns a Service.
func New(opt Options) *Service {
	if opt.Connections == 0 {
		opt.Connections = defaultConnections
		if files := maxFiles(); files > 0 && files/2 < defaultConnections {
			opt.Connections = int(files / 2)
		}
	}
	s := &Service{
		opt: opt, lists: map[string]*lists{}, gate: newGate(opt.Connections), budget: newBudget(maxLarge),
		many: make(chan struct{}, max(minMany, manyPerCPU*runtime.GOMAXPROCS(0))), refills: make(chan struct{}, maxRefills),
	}
	want := map[string]**smithy.Handler{
		api.GetItem.Target: &s.getItem, api.PutItem.Target: &s.putItem, api.UpdateItem.Target: &s.updateItem,
		api.DeleteItem.Target: &s.deleteItem, api.Query.Target: &s.query, api.Scan.Target: &s.scan,
		api.BatchGetItem.Target: &s.batchGetItem, api.BatchWriteItem.Target: &s.batchWriteItem,
		api.TransactGetItems.Target: &s.transactGetItems, api.TransactWriteItems.Target: &s.transactWriteItems,
	}
	operations := opt.Database.Operations()
	for i := range operations {
		if h := want[operations[i].Target]; h != nil {
			*h = &operations[i]
		}
	}
	return s
}

// enter waits until a request on many items may run; leave must follow.
func (s *Service) enter(ctx context.Context) error {
	select {
	case s.many <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Service) leave() { <-s.many }

// listsOf returns an account's attribute lists.
func (s *Service) listsOf(account string) *lists {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lists[account]
	if l == nil {
		l = newLists(account, s.opt.KV)
		s.lists[account] = l
	}
	return l
}

// NodeOptions configure a Node.
type NodeOptions struct {
	// Cluster and Node are its names in metrics.
	Cluster, Node string
	// Memory is how many bytes the caches may take; 0 is DefaultMemory.
	Memory int64
	// ItemTTL is how long items stay in the item cache; 0 is until they have to make room.
	ItemTTL time.Duration
	// QueryTTL is how long results stay in the query cache; 0 keeps none.
	QueryTTL time.Duration
	// Advertise is the host that clients are told to connect to, where that isn't the address at which they came; empty for that.
	Advertise string
	// AdvertisePort is the port for it; 0 for that of the connection.
	AdvertisePort int
	// Others returns where the nodes of other servers listen that share the store, with TLS or without, as "host:port"; nil for none.
	Others func(encrypted bool) []string
	// Wrote hears of the items that clients have written, by the keys under which they are stored, once the database has them; nil
	// for nothing. The key is valid until it returns.
	Wrote func(key []byte)
}

// Node answers the clients of a listener.
type Node struct {
	service *Service
	opt     NodeOptions
	items   *cache // of GetItem and BatchGetItem
	queries *cache // of Query and Scan
	session int64  // which tells clients when another server answers
	ctx     context.Context
	cancel  context.CancelFunc

	mu       sync.Mutex
	conns    map[*conn]struct{}
	closing  bool
	running  sync.WaitGroup
	counters map[smithy.Caller]*counters // by namespace
}

// NewNode returns a Node.
func (s *Service) NewNode(opt NodeOptions) *Node {
	if opt.Memory == 0 {
		opt.Memory = DefaultMemory
	}
	n := &Node{
		service: s, opt: opt,
		items:   newCache(opt.Memory/2, opt.ItemTTL, s.opt.Now),
		queries: newCache(opt.Memory/2, opt.QueryTTL, s.opt.Now),
		session: s.opt.Now().Unix(),
		conns:   map[*conn]struct{}{}, counters: map[smithy.Caller]*counters{},
	}
	n.items.told = opt.Wrote
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Forget removes an item from the cache that was written by another node, by the key under which it is stored.
func (n *Node) Forget(key []byte) { n.items.forget(key) }

// ForgetItems empties the item cache.
func (n *Node) ForgetItems() { n.items.clear() }

// SetTTL sets how long what comes into the caches from now on stays, as in NodeOptions.
func (n *Node) SetTTL(item, query time.Duration) {
	n.items.setTTL(item)
	n.queries.setTTL(query)
	if query == 0 {
		n.queries.clear()
	}
}

// SetMemory sets how many bytes the caches may take.
func (n *Node) SetMemory(bytes int64) {
	n.items.resize(bytes / 2)
	n.queries.resize(bytes / 2)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opt.Memory = bytes
}

// Memory returns how many bytes the caches may take.
func (n *Node) Memory() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opt.Memory
}

// Rename changes its names in metrics.
func (n *Node) Rename(cluster, node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opt.Cluster, n.opt.Node = cluster, node
}

// Clear empties the caches, as a reboot of the node does.
func (n *Node) Clear() {
	n.items.clear()
	n.queries.clear()
}

// A listener that could not accept a connection waits before it tries again, twice as long each time.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Serve answers the listener's connections until it is closed.
func (n *Node) Serve(l net.Listener) {
	var pause time.Duration
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			pause = 0
			n.begin(nc)
			continue
		}
		if pause == 0 { // once until it works again
			n.service.opt.Logger.Error("DAX connections can't be accepted", "error", err)
		}
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			n.service.gate.relieve()
		}
		pause = min(max(2*pause, minAcceptPause), maxAcceptPause)
		select {
		case <-time.After(pause):
		case <-n.ctx.Done():
			return
		}
	}
}

// begin answers a connection in a goroutine, if there is room for it. It doesn't block.
func (n *Node) begin(nc net.Conn) {
	c := newConn(n, nc)
	if !n.add(c) {
		c.cut()
		return
	}
	guard.Go(n.service.opt.Logger, "a DAX connection", func() {
		defer n.running.Done()
		defer n.remove(c)
		c.serve()
	})
}

// add counts a connection; false if there are too many.
func (n *Node) add(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing || !n.service.gate.admit(c) {
		return false
	}
	n.conns[c] = struct{}{}
	n.running.Add(1)
	return true
}

func (n *Node) remove(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
	c.close()
}

// closeGrace is how long Close waits for requests that it has given up on.
const closeGrace = 3 * time.Second

// Close ends all connections: those that wait for a request at once, the others when it is answered. It gives up on them when ctx
// ends, and returns closeGrace later at the latest. The listeners must be closed before.
func (n *Node) Close(ctx context.Context) {
	n.mu.Lock()
	n.closing = true
	for c := range n.conns {
		c.stop()
	}
	n.mu.Unlock()
	defer n.cancel()
	done := make(chan struct{})
	guard.Go(n.service.opt.Logger, "waiting for DAX connections", func() {
		n.running.Wait()
		close(done)
	})
	select {
	case <-done:
		return
	case <-ctx.Done():
	}
	n.cancel() // what they wait for
	n.mu.Lock()
	for c := range n.conns {
		c.cut()
	}
	n.mu.Unlock()
	select {
	case <-done:
	case <-time.After(closeGrace):
		n.service.opt.Logger.Error("requests of DAX clients go on although their node is closed", "connections", n.Clients())
	}
}

// Clients returns how many connections there are.
func (n *Node) Clients() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// Busy returns how many connections have begun a request that is not answered yet.
func (n *Node) Busy() (busy int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		if c.busy.Load() {
			busy++
		}
	}
	return busy
}

// Taken returns how many bytes of large requests and answers all nodes of the Service have in memory.
func (n *Node) Taken() int64 { return n.service.budget.taken() }

// enter returns the counters of a namespace for a connection, which must leave them.
func (n *Node) enter(account, region string) *counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := smithy.Caller{Account: account, Region: region}
	c := n.counters[key]
	if c == nil {
		c = &counters{}
		if len(n.counters) < maxNamespaces { // clients choose their regions
			n.counters[key] = c
		}
	}
	c.conns++
	return c
}

// leave takes a connection from the counters that enter gave; nil is none.
func (n *Node) leave(c *counters) {
	if c != nil {
		n.mu.Lock()
		c.conns--
		n.mu.Unlock()
	}
}
