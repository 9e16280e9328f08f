// Package dax is the front end for clients of DynamoDB Accelerator: it speaks DAX's binary protocol, and caches in front of the
// database as a DAX node does.
//
// A Service has what all nodes share: the operations, the attribute lists that clients know by ids, and the bounds on connections
// (gate) and memory (budget). A Node is a listener with caches of its own. A conn is one client, and answers its requests one after
// the other: conn.go reads and dispatches them, reads.go, writes.go and transactions.go answer them, responses.go encodes the answers.
//
// Each node has an item cache and a query cache, which hold encoded answers. Writes go through to the database and update the item
// cache; cached query results only expire. The rules C1 to C3 at type cache keep the item cache coherent. Sources of the semantics:
// "DAX: How it works" and "DAX and DynamoDB consistency models".
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

// Defaults of NodeOptions ("DAX: How it works"). Memory is in bytes.
const (
	DefaultItemTTL  = 5 * time.Minute
	DefaultQueryTTL = 5 * time.Minute
	DefaultMemory   = 256 << 20
)

// Database is what a Service needs of the database.
type Database interface {
	// Operations returns DynamoDB's operations. A Service calls those that DAX has.
	Operations() []smithy.Handler
	// Table returns the table that serves a caller's requests by the name or Amazon Resource Name, if the caller may take the action
	// there, e.g. dynamodb:GetItem; else AWS's error.
	Table(caller smithy.Caller, action, name string) (*catalog.Table, error)
	// CheckProjection returns what is wrong with a projection expression. On a cache hit, the database doesn't see the expression.
	CheckProjection(expression string, names smithy.Map[string]) error
	// Namespace returns the account and region whose tables the caller uses.
	Namespace(caller smithy.Caller) (account, region string)
}

// Options configure a Service.
type Options struct {
	Database Database
	KV       kv.Store
	Auth     *auth.Authenticator
	Now      func() time.Time
	Logger   *slog.Logger
	// Turns keep long requests from starving short ones. All protocols share them.
	Turns *turns.Turns
	// Connections bounds the connections of all nodes together; 0 means 10,000, or half of the process's limit on open files if that
	// is less.
	Connections int
}

// Service is what all nodes of a server share.
type Service struct {
	opt Options

	// Handlers of the operations that DAX calls.
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
	many    chan struct{} // semaphore of requests on many items
	refills chan struct{} // semaphore of refills

	mu    sync.Mutex
	lists map[string]*lists // by account
}

const (
	defaultConnections = 10_000
	// manyPerCPU bounds the concurrent requests on many items, per CPU that the process uses, and minMany is the least total. Each
	// request may hold 16 MB.
	manyPerCPU = 8
	minMany    = 32
	// maxRefills bounds the concurrent refills of the item cache.
	maxRefills = 16
	// maxNamespaces bounds the account and region pairs that a node counts separately between two collections: clients choose
	// regions freely.
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

// enter waits for permission to run a request on many items. The caller must call leave.
func (s *Service) enter(ctx context.Context) error {
	select {
	case s.many <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave lets the next request on many items run.
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
	// Cluster and Node are the names in metrics.
	Cluster, Node string
	// Memory bounds both caches together, in bytes; 0 means DefaultMemory.
	Memory int64
	// ItemTTL is how long items stay in the item cache; 0 means until they are evicted.
	ItemTTL time.Duration
	// QueryTTL is how long results stay in the query cache; 0 disables that cache.
	QueryTTL time.Duration
	// Advertise is the host that clients are told to connect to; empty for the address at which they arrived.
	Advertise string
	// AdvertisePort is the port that goes with it; 0 for that of the connection.
	AdvertisePort int
	// Others returns the "host:port" of the nodes of other servers that share the store, with or without TLS; nil if there are none.
	Others func(encrypted bool) []string
	// Wrote is called with the storage key of each item that clients have written, once the database has it. The key is valid until
	// Wrote returns. Nil means that nothing else caches these items.
	Wrote func(key []byte)
}

// Node answers the clients of a listener.
type Node struct {
	service *Service
	opt     NodeOptions
	items   *cache // of GetItem and BatchGetItem
	queries *cache // of Query and Scan
	session int64  // tells clients that another server, or a new run, answers at the same address
	ctx     context.Context
	cancel  context.CancelFunc

	mu       sync.Mutex
	conns    map[*conn]struct{}
	closing  bool
	running  sync.WaitGroup
	counters map[smithy.Caller]*counters // by account and region
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
	n.items.onWrite = opt.Wrote
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Forget invalidates the item with a storage key, because another node has written it.
func (n *Node) Forget(key []byte) { n.items.forget(key) }

// ForgetItems empties the item cache.
func (n *Node) ForgetItems() { n.items.clear() }

// SetTTL sets how long later cache entries stay, with the meaning of NodeOptions.
func (n *Node) SetTTL(item, query time.Duration) {
	n.items.setTTL(item)
	n.queries.setTTL(query)
	if query == 0 {
		n.queries.clear()
	}
}

// SetMemory sets the bound of both caches together, in bytes.
func (n *Node) SetMemory(bytes int64) {
	n.items.resize(bytes / 2)
	n.queries.resize(bytes / 2)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.opt.Memory = bytes
}

// Memory returns the bound of both caches together, in bytes.
func (n *Node) Memory() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.opt.Memory
}

// Rename changes the node's names in metrics.
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

// Bounds of the pause after a failed accept. The pause doubles with each failure.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// Serve answers the listener's connections until the listener is closed.
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
		if pause == 0 { // log once per outage
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

// begin serves a connection in a new goroutine, or closes it if there is no room. It doesn't block.
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

// add registers a connection. It returns false if there are too many, or if the node closes.
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

// remove unregisters and closes a connection.
func (n *Node) remove(c *conn) {
	n.mu.Lock()
	delete(n.conns, c)
	n.mu.Unlock()
	c.close()
}

// closeGrace is how long Close waits for canceled requests.
const closeGrace = 3 * time.Second

// Close ends all connections: idle ones at once, the others when their request is answered. When ctx ends, Close cancels the
// remaining requests and returns at most closeGrace later. The listeners must be closed before.
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
	n.cancel() // cancels the requests
	n.mu.Lock()
	for c := range n.conns {
		c.cut()
	}
	n.mu.Unlock()
	select {
	case <-done:
	case <-time.After(closeGrace):
		n.service.opt.Logger.Error("DAX requests still run although their node is closed", "connections", n.Clients())
	}
}

// Clients returns the number of connections.
func (n *Node) Clients() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// Busy returns the number of connections with an unanswered request.
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

// Taken returns how many bytes of large requests and answers all nodes of the Service hold.
func (n *Node) Taken() int64 { return n.service.budget.taken() }

// enter returns the counters of an account and region for a connection, which must call leave for them.
func (n *Node) enter(account, region string) *counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := smithy.Caller{Account: account, Region: region}
	c := n.counters[key]
	if c == nil {
		c = &counters{}
		if len(n.counters) < maxNamespaces { // beyond the bound they count for nothing
			n.counters[key] = c
		}
	}
	c.conns++
	return c
}

// leave ends a connection's use of the counters that enter returned; nil is allowed.
func (n *Node) leave(c *counters) {
	if c != nil {
		n.mu.Lock()
		c.conns--
		n.mu.Unlock()
	}
}
