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

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/dax"
	"github.com/statordb/stator/internal/dax/control"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/ops"
	"github.com/statordb/stator/internal/turns"
)

// DAXOptions are stator.DAXOptions.
type DAXOptions struct {
	Listen                      string
	TLSListen, Certificate, Key string
	ItemTTL                     time.Duration
	QueryTTL                    time.Duration
	Cache                       int64
	Advertise                   string
}

// ttls returns what the options mean.
func (o *DAXOptions) ttls() (item, query time.Duration) {
	or := func(option, otherwise time.Duration) time.Duration {
		if option < 0 {
			return 0
		}
		return cmp.Or(option, otherwise)
	}
	return or(o.ItemTTL, dax.DefaultItemTTL), or(o.QueryTTL, dax.DefaultQueryTTL)
}

const (
	// daxCluster is the name in metrics of the node that is there before any cluster.
	daxCluster = "stator"
	// daxPort is where the first cluster listens if nobody says where.
	daxPort = 8111
	// daxPorts is how many ports are tried for a cluster, and how many clusters there may be.
	daxPorts = 100
)

// daxFront is the DAX part of a Server: the node that the options ask for, which the first cluster gets, and those of further
// clusters. It implements cluster.Nodes.
type daxFront struct {
	opt           *Options
	service       *dax.Service
	certificate   *tls.Config // nil for none
	advertise     string
	advertisePort int
	memory        *memoryLimit
	others        func(encrypted bool) []string // where the base nodes of other servers listen; nil for none
	written       written                       // by the base node's clients, if there are others
	running       sync.WaitGroup

	mu    sync.Mutex
	base  *daxNode // nil for none
	nodes map[control.ID]*daxNode
	// shared says that there are nodes besides the base one, and memory for their caches.
	shared bool
}

// daxNode is a node and where it listens.
type daxNode struct {
	*dax.Node
	listeners []net.Listener
	addresses []control.Address
	// taken says that the base node has a cluster, and encrypted which of its addresses is the cluster's.
	taken, encrypted bool
}

// openDAX starts what the options ask for.
func openDAX(opt *Options, store kv.Store, authenticator *auth.Authenticator, tables *ops.Service, long *turns.Turns, memory *memoryLimit, others func(encrypted bool) []string) (_ *daxFront, err error) {
	o := &opt.DAX
	f := &daxFront{opt: opt, memory: memory, others: others, nodes: map[control.ID]*daxNode{}, advertise: o.Advertise}
	f.service = dax.New(dax.Options{Database: tables, KV: store, Auth: authenticator, Turns: long, Now: opt.Now, Logger: opt.Logger})
	if host, port, splitErr := net.SplitHostPort(o.Advertise); splitErr == nil {
		f.advertise = host
		if f.advertisePort, err = strconv.Atoi(port); err != nil || f.advertisePort < 1 || f.advertisePort > 65535 {
			return nil, fmt.Errorf("advertised DAX address %s: no port", o.Advertise)
		}
	}
	if o.Certificate != "" {
		certificate, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate of DAX: %w", err)
		}
		f.certificate = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
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

// baseSpec is what the base node is without a cluster.
func (f *daxFront) baseSpec() control.Spec {
	item, query := f.opt.DAX.ttls()
	return control.Spec{ID: control.ID{Name: daxCluster}, Nodes: []string{daxCluster + "-a"}, ItemTTL: item, QueryTTL: query}
}

// reachable returns where others reach the base node, with TLS or without. A node that listens on all interfaces and doesn't say
// where it is can't be told of.
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

// serve makes a node of listeners.
func (f *daxFront) serve(n *daxNode, spec control.Spec, advertisePort int, others func(encrypted bool) []string) {
	var wrote func(key []byte)
	if others != nil {
		wrote = f.written.add
	}
	n.Node = f.service.NewNode(dax.NodeOptions{
		Cluster: spec.Name, Node: spec.Nodes[0], Memory: f.cache(), Advertise: f.advertise, AdvertisePort: advertisePort,
		ItemTTL: spec.ItemTTL, QueryTTL: spec.QueryTTL, Others: others, Wrote: wrote,
	})
	for _, l := range n.listeners {
		f.running.Add(1)
		guard.Go(f.opt.Logger, "a DAX listener", func() {
			defer f.running.Done()
			n.Serve(l)
		})
	}
}

// listen adds a listener.
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

// written are the keys of items that were written, of which other servers do not know yet.
type written struct {
	mu   sync.Mutex
	keys []byte // each with its length before it
	many bool   // there were too many to name
}

// maxWritten is how many bytes of keys are told at a time.
const maxWritten = 1 << 20

func (w *written) add(key []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keys = append(binary.AppendUvarint(w.keys, uint64(len(key))), key...)
	if len(w.keys) > maxWritten {
		w.keys, w.many = w.keys[:0], true
	}
}

// take returns them, and forgets them; ok is false if there are none. Without any, all are meant.
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

// lost says that what was taken could not be told: all are meant now.
func (w *written) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.many = true
}

// exchangeInterval is how often servers tell each other what the clients of their DAX nodes have written.
const exchangeInterval = 25 * time.Millisecond

// exchange tells others what the base node's clients have written, and has the node forget what theirs have ("DAX cluster components":
// changes are propagated to all nodes).
func (f *daxFront) exchange(ctx context.Context, mail *cluster.Mail) error {
	if keys, ok := f.written.take(); ok {
		if err := mail.Send(ctx, keys); err != nil {
			f.written.lost()
			return err
		}
	}
	return mail.Receive(ctx, func(keys []byte) {
		if len(keys) == 0 {
			f.base.ForgetItems()
		}
		for len(keys) > 0 {
			n, size := binary.Uvarint(keys)
			if size <= 0 || n > uint64(len(keys)-size) { // of a version that says more
				f.base.ForgetItems()
				return
			}
			f.base.Forget(keys[size:][:n])
			keys = keys[size:][n:]
		}
	}, f.base.ForgetItems)
}

// Open implements cluster.Nodes.
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
	f.serve(n, spec, 0, nil) // the advertised port is the base node's
	f.nodes[spec.ID] = n
	f.shareMemory()
	return n.addresses[0], nil
}

// shareMemory gives each node but the base one its part of the memory that is for the caches of all of them: any client may create
// clusters. mu is held.
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
		n.SetMemory(f.cache() / int64(len(nodes)))
	}
}

// firstAddress is where the first cluster listens; those behind it take the ports that follow. Port 0 is any.
func (f *daxFront) firstAddress() (host string, port int) {
	if listen := cmp.Or(f.opt.DAX.Listen, f.opt.DAX.TLSListen); listen != "" {
		host, port = splitAddress(listen)
		return host, port
	}
	host, port = splitAddress(f.opt.Listen)
	if port != 0 { // a server at any port has its clusters there too
		port = daxPort
	}
	return host, port
}

// splitAddress splits "host:port", at which the server listens already. A port that has a name is any.
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

// address returns where the node listens.
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

func (f *daxFront) configure(n *daxNode, spec control.Spec) {
	n.Rename(spec.Name, spec.Nodes[0])
	n.SetTTL(spec.ItemTTL, spec.QueryTTL)
}

// Change implements cluster.Nodes.
func (f *daxFront) Change(spec control.Spec) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[spec.ID]; n != nil {
		f.configure(n, spec)
	}
}

// Reboot implements cluster.Nodes.
func (f *daxFront) Reboot(id control.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.nodes[id]; n != nil {
		n.Clear()
	}
}

// Address implements cluster.Nodes.
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

// Close implements cluster.Nodes. The base node stays, and is as if it never had a cluster.
func (f *daxFront) Close(id control.ID) {
	f.mu.Lock()
	n := f.nodes[id]
	delete(f.nodes, id)
	if n != nil && n == f.base {
		n.taken = false
		n.Clear()
		f.configure(n, f.baseSpec())
		n = nil
	}
	f.shareMemory()
	f.mu.Unlock()
	if n != nil {
		n.stop()
		f.running.Add(1)
		guard.Go(f.opt.Logger, "closing a DAX node", func() { // the requests under way; a client that is slow must not make DeleteCluster slow
			defer f.running.Done()
			ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
			defer cancel()
			n.close(ctx)
		})
	}
}

// cache is how many bytes the base node's caches may take, and those of all other nodes together.
func (f *daxFront) cache() int64 { return cmp.Or(f.opt.DAX.Cache, dax.DefaultMemory) }

// stop closes the listeners.
func (n *daxNode) stop() {
	for _, l := range n.listeners {
		l.Close()
	}
}

// close closes the listeners, and ends the connections until ctx ends.
func (n *daxNode) close(ctx context.Context) {
	n.stop()
	n.Node.Close(ctx)
}

// all returns all nodes.
func (f *daxFront) all() []*daxNode {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := slices.Collect(maps.Values(f.nodes))
	if f.base != nil && !f.base.taken {
		out = append(out, f.base)
	}
	return out
}

// close stops listening and waits for the requests under way, until ctx ends.
func (f *daxFront) close(ctx context.Context) {
	for _, n := range f.all() {
		f.running.Add(1)
		guard.Go(f.opt.Logger, "closing a DAX node", func() {
			defer f.running.Done()
			n.close(ctx)
		})
	}
	f.running.Wait()
}

// collect calls emit for what was measured.
func (f *daxFront) collect(emit func(metric.Datum)) {
	for _, n := range f.all() {
		n.Collect(emit)
	}
}

// DAXURLs returns where DAX clients find the server, e.g. dax://127.0.0.1:8111; none if the options ask for none. Those of clusters
// DescribeClusters says.
func (s *Server) DAXURLs() (urls []string) {
	if s.dax.base != nil {
		for _, at := range s.dax.base.addresses {
			urls = append(urls, at.URL())
		}
	}
	return urls
}
