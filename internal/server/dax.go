package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/statordb/stator/internal/audit"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/certs"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/dax/cache"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/dax/node"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/netio"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/tenant"
	"github.com/statordb/stator/internal/turns"
)

// DAXOptions mirrors stator.DAXOptions, which documents the fields.
type DAXOptions struct {
	Listen                      string
	TLSListen, Certificate, Key string
	ItemTTL                     time.Duration
	QueryTTL                    time.Duration
	Cache                       int64
	Advertise                   string
}

// ttls applies defaults. A result of 0 means: items never expire (item), nothing is cached (query).
func (o *DAXOptions) ttls() (item, query time.Duration) {
	or := func(option, otherwise time.Duration) time.Duration {
		if option < 0 {
			return 0
		}
		return cmp.Or(option, otherwise)
	}
	return or(o.ItemTTL, cache.DefaultItemTTL), or(o.QueryTTL, cache.DefaultQueryTTL)
}

const (
	// daxPort is where the first cluster listens if no option sets a port.
	daxPort = 8111
	// daxPorts bounds the ports that are tried for a cluster, and with it the number of clusters.
	daxPorts = 100
)

// daxFront is the DAX part of a Server. The base node listens where the options say and serves the first cluster; every further
// cluster gets a node of its own. It implements control.Nodes.
type daxFront struct {
	opt           *Options
	service       *node.Service
	certificate   *tls.Config // nil: no TLS
	advertise     string
	advertisePort int
	memory        *memoryLimit
	others        func(encrypted bool) []string // addresses of other servers' base nodes; nil if this server is alone
	written       written                       // by clients of the base node, not yet broadcast; used only if others is set
	running       guard.Group

	mu    sync.Mutex
	base  *daxNode // nil if the options name no address
	nodes map[control.ID]*daxNode
	// shared is true while nodes other than the base one exist. The memory limit then includes their caches.
	shared bool
}

// daxNode is a node with its listeners.
type daxNode struct {
	*node.Node
	listeners []net.Listener
	addresses []control.Address
	// taken means that a cluster has the base node; encrypted says whether the cluster's address is the TLS one.
	taken, encrypted bool
}

// openDAX starts the base node if the options name an address for it. On error nothing keeps
// listening.
func openDAX(opt *Options, authenticator *auth.Authenticator, certificate *certs.Source, log *audit.Log, tables *ops.Service, tenants *tenant.Tenants, long *turns.Turns, memory *memoryLimit, others func(encrypted bool) []string) (_ *daxFront, err error) {
	o := &opt.DAX
	f := &daxFront{opt: opt, memory: memory, others: others, nodes: map[control.ID]*daxNode{}, advertise: o.Advertise}
	f.service = node.NewService(node.ServiceOptions{Database: tables, Auth: authenticator, Role: opt.role, Tenants: tenants, Turns: long, Audit: log, Now: opt.Now, Logger: opt.Logger})
	if host, port, splitErr := net.SplitHostPort(o.Advertise); splitErr == nil {
		f.advertise = host
		if f.advertisePort, err = strconv.Atoi(port); err != nil || f.advertisePort < 1 || f.advertisePort > 65535 {
			return nil, fmt.Errorf("advertised DAX address %s: no port", o.Advertise)
		}
	}
	if certificate != nil {
		f.certificate = certificate.DAX()
	}
	if o.Listen == "" && o.TLSListen == "" {
		return f, nil
	}
	base := &daxNode{}
	defer func() {
		if err != nil {
			base.stop()
		}
	}()
	if o.Listen != "" {
		if err := f.listen(base, o.Listen, false); err != nil {
			return nil, err
		}
	}
	if o.TLSListen != "" {
		if err := f.listen(base, o.TLSListen, true); err != nil {
			return nil, err
		}
	}
	f.serve(base, f.baseSpec(), f.advertisePort, f.others)
	f.memory.add(f.cache())
	f.base = base
	return f, nil
}

// baseSpec describes the base node while no cluster has it.
func (f *daxFront) baseSpec() control.Spec {
	item, query := f.opt.DAX.ttls()
	return control.Spec{ID: control.ID{Name: node.DefaultCluster}, Nodes: []string{node.DefaultCluster + "-a"}, ItemTTL: item, QueryTTL: query}
}

// reachable returns the addresses under which other servers' clients reach the base node, with or without TLS. A node that
// listens on all interfaces without DAXOptions.Advertise is left out: its address is unknown.
func (f *daxFront) reachable(encrypted bool) (list []string) {
	if f.base == nil {
		return nil
	}
	for _, a := range f.base.addresses {
		host, port := cmp.Or(f.advertise, a.Host), cmp.Or(f.advertisePort, a.Port)
		if (a.Scheme == "daxs") == encrypted && (!a.Any || f.advertise != "") {
			list = append(list, net.JoinHostPort(host, strconv.Itoa(port)))
		}
	}
	return list
}

// serve creates the node and starts serving its listeners. others is nil for nodes that only this server has; they broadcast no
// writes.
func (f *daxFront) serve(n *daxNode, spec control.Spec, advertisePort int, others func(encrypted bool) []string) {
	var wrote func(key []byte)
	if others != nil {
		wrote = f.written.add
	}
	n.Node = f.service.NewNode(node.Options{
		Cluster: clusterOf(spec, false), Advertise: f.advertise, AdvertisePort: advertisePort, Others: others,
		Cache: cache.Options{Memory: f.cache(), ItemTTL: spec.ItemTTL, QueryTTL: spec.QueryTTL, Now: f.opt.Now, Wrote: wrote},
	})
	for _, l := range n.listeners {
		f.running.Start(f.opt.Logger, "a DAX listener", func() {
			n.Serve(l)
		})
	}
}

// listen adds a listener to n. It fails with ErrInsecure or control.ErrNoTLS where another port would not help.
func (f *daxFront) listen(n *daxNode, address string, encrypted bool) error {
	if f.opt.CredentialsFile == "" && !f.opt.Insecure && !isLoopback(address) {
		return fmt.Errorf("%s: %w", address, ErrInsecure)
	}
	if encrypted && f.certificate == nil {
		return control.ErrNoTLS
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	local := l.Addr().(*net.TCPAddr)
	l = netio.Listener(l)
	at := control.Address{Scheme: "dax", Host: local.IP.String(), Port: local.Port, Any: local.IP.IsUnspecified()}
	if f.advertise != "" {
		at.Host, at.Any = f.advertise, false
	}
	if encrypted {
		at.Scheme = "daxs"
		l = tls.NewListener(l, f.certificate)
	}
	n.listeners, n.addresses = append(n.listeners, l), append(n.addresses, at)
	return nil
}

// written collects the keys that the base node's clients wrote and other servers have not heard of.
type written struct {
	mu   sync.Mutex
	keys []byte // each preceded by its length as a uvarint
	many bool   // too many keys to name, or a broadcast failed: invalidate everything
}

// maxWritten bounds the bytes of keys in one broadcast. Beyond it, the broadcast says "everything".
const maxWritten = 1 << 20

// add records that a client wrote the item with the key.
func (w *written) add(key []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys = append(binary.AppendUvarint(w.keys, uint64(len(key))), key...)
	if len(w.keys) > maxWritten {
		w.keys, w.many = w.keys[:0], true
	}
}

// take returns and clears the collected keys; ok is false if there is nothing to broadcast. nil keys mean: invalidate
// everything.
func (w *written) take() (keys []byte, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	keys, ok = w.keys, len(w.keys) > 0 || w.many
	if w.many {
		keys = nil
	}
	w.keys, w.many = nil, false
	return keys, ok
}

// lost records that a broadcast failed. Its keys are gone, so the next broadcast invalidates everything.
func (w *written) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.many = true
}

// exchangeInterval is how often servers exchange DAX invalidations. Another server's item cache stays stale for about this long
// after a write.
const exchangeInterval = 25 * time.Millisecond

// exchange broadcasts the keys that the base node's clients wrote, and invalidates those that other servers broadcast ("DAX
// cluster components": changes are propagated to all nodes). If messages were missed, the whole item cache is invalidated.
func (f *daxFront) exchange(ctx context.Context, mail *cluster.Mail) error {
	if keys, ok := f.written.take(); ok {
		if err := mail.Send(ctx, keys); err != nil {
			f.written.lost()
			return err
		}
	}
	return mail.Receive(ctx, func(keys []byte) {
		if len(keys) == 0 {
			f.base.Caches.Items.Clear()
		}
		for len(keys) > 0 {
			n, size := binary.Uvarint(keys)
			if size <= 0 || n > uint64(len(keys)-size) { // malformed, or from a version with another encoding
				f.base.Caches.Items.Clear()
				return
			}
			f.base.Caches.Items.Invalidate(keys[size:][:n])
			keys = keys[size:][n:]
		}
	}, f.base.Caches.Items.Clear)
}

// Open implements control.Nodes. The first cluster takes the base node if its encryption fits. Others listen on spec.Port, so
// that a cluster keeps its address across restarts, or else on the first free port.
func (f *daxFront) Open(spec control.Spec) (control.Address, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if at, ok := f.base.address(spec.TLS); ok && !f.base.taken && (spec.Port == 0 || spec.First) {
		f.base.taken, f.base.encrypted = true, spec.TLS
		f.nodes[spec.ID] = f.base
		f.configure(f.base, spec)
		at.First = true
		return at, nil
	}
	if len(f.nodes) >= daxPorts {
		return control.Address{}, fmt.Errorf("the server has %d clusters already", len(f.nodes))
	}
	n := &daxNode{encrypted: spec.TLS}
	host, first := f.firstAddress()
	ports := []int{}
	if spec.Port != 0 {
		ports = append(ports, spec.Port)
	}
	if first == 0 {
		ports = append(ports, 0)
	} else {
		for i := range daxPorts {
			ports = append(ports, first+i)
		}
	}
	var err error
	for _, port := range ports {
		if err = f.listen(n, net.JoinHostPort(host, strconv.Itoa(port)), spec.TLS); err == nil || errors.Is(err, control.ErrNoTLS) || errors.Is(err, ErrInsecure) {
			break
		}
	}
	if err != nil {
		return control.Address{}, err
	}
	f.serve(n, spec, 0, nil) // Options.DAX.Advertise's port maps to the base node only
	f.nodes[spec.ID] = n
	f.shareMemory()
	return n.addresses[0], nil
}

// shareMemory divides one cache budget among all nodes but the base one, so that clients can't exhaust memory by creating
// clusters. The caller holds mu.
func (f *daxFront) shareMemory() {
	var nodes []*daxNode
	for _, n := range f.nodes {
		if n != f.base {
			nodes = append(nodes, n)
		}
	}
	if shared := len(nodes) > 0; shared != f.shared {
		f.shared = shared
		if shared {
			f.memory.add(f.cache())
		} else {
			f.memory.add(-f.cache())
		}
	}
	for _, n := range nodes {
		n.Caches.SetMemory(f.cache() / int64(len(nodes)))
	}
}

// firstAddress returns the address of the first cluster; further clusters try the following ports. Port 0 means any free port.
func (f *daxFront) firstAddress() (host string, port int) {
	if listen := cmp.Or(f.opt.DAX.Listen, f.opt.DAX.TLSListen); listen != "" {
		host, port = splitAddress(listen)
		return host, port
	}
	host, port = splitAddress(f.opt.Listen)
	if port != 0 { // a server on any free port puts its clusters on free ports too
		port = daxPort
	}
	return host, port
}

// splitAddress splits a "host:port" that is known to work, because the server listens there. A named port becomes 0.
func splitAddress(address string) (host string, port int) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return "127.0.0.1", 0
	}
	if port, err = strconv.Atoi(text); err != nil {
		return host, 0
	}
	return host, port
}

// address returns the node's address with or without TLS, and false if it has none. n may be nil.
func (n *daxNode) address(encrypted bool) (control.Address, bool) {
	if n == nil {
		return control.Address{}, false
	}
	i := slices.IndexFunc(n.addresses, func(a control.Address) bool { return (a.Scheme == "daxs") == encrypted })
	if i < 0 {
		return control.Address{}, false
	}
	return n.addresses[i], true
}

// clusterOf returns what a node knows of its cluster. base says that it is the base node.
func clusterOf(spec control.Spec, base bool) node.Cluster {
	return node.Cluster{Name: spec.Name, Node: spec.Nodes[0], Account: spec.Account, Region: spec.Region, Role: spec.Role, Default: base}
}

// configure applies the settings of a cluster to its node.
func (f *daxFront) configure(n *daxNode, spec control.Spec) {
	n.Join(clusterOf(spec, n == f.base))
	n.Caches.SetTTL(spec.ItemTTL, spec.QueryTTL)
}

// Change implements control.Nodes.
func (f *daxFront) Change(spec control.Spec) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[spec.ID]; n != nil {
		f.configure(n, spec)
	}
}

// Reboot implements control.Nodes. It empties the caches.
func (f *daxFront) Reboot(id control.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[id]; n != nil {
		n.Caches.Clear()
	}
}

// Address implements control.Nodes.
func (f *daxFront) Address(id control.ID) (control.Address, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.nodes[id]
	if n == nil {
		return control.Address{}, false
	}
	at, _ := n.address(n.encrypted)
	if f.advertisePort != 0 && n == f.base {
		at.Port = f.advertisePort
	}
	return at, true
}

// Close implements control.Nodes. The base node keeps running and returns to its state before any cluster took it.
func (f *daxFront) Close(id control.ID) {
	f.mu.Lock()
	n := f.nodes[id]
	delete(f.nodes, id)
	if n != nil && n == f.base {
		n.taken = false
		n.Caches.Clear()
		f.configure(n, f.baseSpec())
		n = nil
	}
	f.shareMemory()
	f.mu.Unlock()
	if n != nil {
		n.stop()
		f.running.Start(f.opt.Logger, "closing a DAX node", func() { // drain in the background: a slow client must not delay DeleteCluster
			ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			n.close(ctx)
		})
	}
}

// cache returns the budget in bytes of the base node's caches. All other nodes together share another budget of the same size.
func (f *daxFront) cache() int64 { return cmp.Or(f.opt.DAX.Cache, cache.DefaultMemory) }

// stop closes the listeners.
func (n *daxNode) stop() {
	for _, l := range n.listeners {
		l.Close()
	}
}

// close closes the listeners and drains connections. Those still open when ctx ends are cut.
func (n *daxNode) close(ctx context.Context) {
	n.stop()
	n.Node.Close(ctx)
}

// all returns all nodes, including a base node that no cluster has.
func (f *daxFront) all() []*daxNode {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Collect(maps.Values(f.nodes))
	if f.base != nil && !f.base.taken {
		out = append(out, f.base)
	}
	return out
}

// close closes all nodes and waits for their requests until ctx ends.
func (f *daxFront) close(ctx context.Context) {
	for _, n := range f.all() {
		f.running.Start(f.opt.Logger, "closing a DAX node", func() {
			n.close(ctx)
		})
	}
	f.running.Wait()
}

// collect emits the measurements of all nodes.
func (f *daxFront) collect(emit func(metric.Datum)) {
	for _, n := range f.all() {
		n.Collect(emit)
	}
}

// DAXURLs returns the base node's endpoints for DAX clients, e.g. dax://127.0.0.1:8111; nil if the options name no address.
// Those of clusters are in DescribeClusters.
func (s *Server) DAXURLs() (urls []string) {
	if s.dax.base != nil {
		for _, at := range s.dax.base.addresses {
			urls = append(urls, at.URL())
		}
	}
	return urls
}
