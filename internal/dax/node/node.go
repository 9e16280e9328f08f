package node

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/statordb/stator/internal/dax/cache"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/smithy"
)

// maxNamespaces bounds the account and region pairs that a node counts separately between two collections: clients choose regions
// freely.
const maxNamespaces = 1000

// Options configure a Node.
type Options struct {
	Cluster Cluster
	// Cache configures the node's caches.
	Cache cache.Options
	// Advertise is the host that clients are told to connect to; empty for the address at which they arrived.
	Advertise string
	// AdvertisePort is the port that goes with it; 0 for that of the connection.
	AdvertisePort int
	// Others returns the "host:port" of the nodes of other servers that share the store, with or without TLS; nil if there are none.
	Others func(encrypted bool) []string
}

// Node answers the clients of a listener.
type Node struct {
	// Caches are the node's caches. They stay the same as long as the node runs.
	Caches *cache.Caches

	service *Service
	opt     Options
	cluster atomic.Pointer[Cluster]
	session int64 // tells clients that another server, or a new run, answers at the same address
	ctx     context.Context
	cancel  context.CancelFunc

	mu       sync.Mutex
	conns    map[*conn]struct{}
	closing  bool
	running  sync.WaitGroup
	counters map[smithy.Caller]*counters // by account and region
}

// NewNode returns a Node.
func (s *Service) NewNode(opt Options) *Node {
	n := &Node{
		Caches: cache.New(opt.Cache), service: s, opt: opt, session: s.opt.Now().Unix(),
		conns: map[*conn]struct{}{}, counters: map[smithy.Caller]*counters{},
	}
	n.cluster.Store(&opt.Cluster)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	return n
}

// Join makes the node belong to a cluster from now on, or to none.
func (n *Node) Join(cluster Cluster) { n.cluster.Store(&cluster) }

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
