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
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/smithy"
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
	// Table returns the table that serves a caller's requests by the name, or AWS's error.
	Table(caller smithy.Caller, name string) (*catalog.Table, error)
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

	mu    sync.Mutex
	lists map[string]*lists // by account
}

// New returns a Service.
func New(opt Options) *Service {
	s := &Service{opt: opt, lists: map[string]*lists{}}
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
	// Connections is how many there may be; 0 for 10,000.
	Connections int
}

const (
	defaultConnections = 10_000
	// maxLarge is how many bytes requests above 64 KB may take at a time, all together.
	maxLarge = 256 << 20
)

// Node answers the clients of a listener.
type Node struct {
	service *Service
	opt     NodeOptions
	items   *cache // of GetItem and BatchGetItem
	queries *cache // of Query and Scan
	session int64  // which tells clients when another server answers
	ctx     context.Context
	cancel  context.CancelFunc
	large   atomic.Int64

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
	if opt.Connections == 0 {
		opt.Connections = defaultConnections
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

// acceptPause is how long a listener waits after it could not accept a connection, for want of file descriptors say.
const acceptPause = 50 * time.Millisecond

// Serve answers the listener's connections until it is closed.
func (n *Node) Serve(l net.Listener) {
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			n.service.opt.Logger.Error("a DAX connection could not be accepted", "error", err)
			time.Sleep(acceptPause)
			continue
		}
		c := newConn(n, nc)
		if !n.add(c) {
			nc.Close()
			continue
		}
		guard.Go(n.service.opt.Logger, "a DAX connection", func() {
			defer n.running.Done()
			defer n.remove(c)
			c.serve()
		})
	}
}

// add counts a connection; false if there are too many.
func (n *Node) add(c *conn) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing || len(n.conns) >= n.opt.Connections {
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

// Close ends all connections: those that wait for a request at once, the others when it is answered. It gives up on them when ctx
// ends. The listeners must be closed before.
func (n *Node) Close(ctx context.Context) {
	n.mu.Lock()
	n.closing = true
	for c := range n.conns {
		c.stop()
	}
	n.mu.Unlock()
	done := make(chan struct{})
	guard.Go(n.service.opt.Logger, "waiting for DAX connections", func() {
		n.running.Wait()
		close(done)
	})
	select {
	case <-done:
	case <-ctx.Done():
		n.cancel() // of what they wait for
		n.mu.Lock()
		for c := range n.conns {
			c.net.Close()
		}
		n.mu.Unlock()
		<-done
	}
	n.cancel()
}

// reserve takes memory for large requests; false if there is none.
func (n *Node) reserve(bytes int64) bool {
	if n.large.Add(bytes) > maxLarge {
		n.large.Add(-bytes)
		return false
	}
	return true
}

// Clients returns how many connections there are.
func (n *Node) Clients() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// enter returns the counters of a namespace for a connection, which must leave them.
func (n *Node) enter(account, region string) *counters {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := smithy.Caller{Account: account, Region: region}
	c := n.counters[key]
	if c == nil {
		c = &counters{}
		n.counters[key] = c
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

// overloaded is what clients get when a limit is met.
func overloaded() *awserr.Error {
	return awserr.New(awserr.Throttling, "The node is overloaded: too many large requests at a time")
}
