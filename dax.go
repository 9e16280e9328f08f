package stator

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/dax"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/metric"
	"github.com/statordb/stator/internal/ops"
)

// DAXOptions configure the front end for clients of DynamoDB Accelerator.
type DAXOptions struct {
	// Listen is the address at which to speak DAX's protocol (dax://); empty for none.
	Listen string
	// TLSListen is the address for TLS (daxs://), with the certificate and key of these files; empty for none.
	TLSListen, Certificate, Key string
	// ItemTTL is how long items stay in the item cache; 0 is dax.DefaultItemTTL, less than 0 until they have to make room.
	ItemTTL time.Duration
	// QueryTTL is how long results stay in the query cache; 0 is dax.DefaultQueryTTL, less than 0 keeps none.
	QueryTTL time.Duration
	// Cache is how many bytes the caches may take; 0 is dax.DefaultMemory.
	Cache int64
	// Advertise is the "host" or "host:port" that clients are told to connect to, where that isn't the address at which they came.
	Advertise string
}

// ttl turns one of the options into what it means.
func ttl(option, otherwise time.Duration) time.Duration {
	if option < 0 {
		return 0
	}
	return cmp.Or(option, otherwise)
}

// daxNode is the name of the one node in metrics, and of its cluster.
const daxNode = "stator"

// daxFront is the DAX part of a Server.
type daxFront struct {
	node      *dax.Node
	listeners []net.Listener
	urls      []string
	running   sync.WaitGroup
}

// openDAX starts the front end; nil if it is not asked for. report is called with what ends a listener.
func openDAX(opt *Options, store kv.Store, authenticator *auth.Authenticator, tables *ops.Service, report func(error)) (_ *daxFront, err error) {
	o := &opt.DAX
	if o.Listen == "" && o.TLSListen == "" {
		return nil, nil
	}
	f := &daxFront{}
	defer func() {
		if err != nil {
			f.stop()
		}
	}()
	host, port := o.Advertise, 0
	if h, p, splitErr := net.SplitHostPort(o.Advertise); splitErr == nil {
		host = h
		if port, err = strconv.Atoi(p); err != nil || port < 1 || port > 65535 {
			return nil, fmt.Errorf("advertised DAX address %s: no port", o.Advertise)
		}
	}
	if o.Listen != "" {
		if err := f.listen(opt, "dax", o.Listen, nil); err != nil {
			return nil, err
		}
	}
	if o.TLSListen != "" {
		certificate, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			return nil, fmt.Errorf("certificate of DAX: %w", err)
		}
		if err := f.listen(opt, "daxs", o.TLSListen, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}); err != nil {
			return nil, err
		}
	}
	service := dax.New(dax.Options{Database: tables, KV: store, Auth: authenticator, Now: opt.Now, Logger: opt.Logger})
	f.node = service.NewNode(dax.NodeOptions{
		Cluster: daxNode, Node: daxNode + "-a", Memory: o.Cache, Advertise: host, AdvertisePort: port,
		ItemTTL: ttl(o.ItemTTL, dax.DefaultItemTTL), QueryTTL: ttl(o.QueryTTL, dax.DefaultQueryTTL),
	})
	for _, l := range f.listeners {
		f.running.Add(1)
		go func() {
			defer f.running.Done()
			if err := f.node.Serve(l); !errors.Is(err, net.ErrClosed) {
				report(err)
			}
		}()
	}
	return f, nil
}

func (f *daxFront) listen(opt *Options, scheme, address string, config *tls.Config) error {
	if opt.CredentialsFile == "" && !opt.Insecure && !isLoopback(address) {
		return fmt.Errorf("%s: %w", address, ErrInsecure)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	f.urls = append(f.urls, scheme+"://"+l.Addr().String())
	if config != nil {
		l = tls.NewListener(l, config)
	}
	f.listeners = append(f.listeners, l)
	return nil
}

// stop closes the listeners.
func (f *daxFront) stop() {
	for _, l := range f.listeners {
		l.Close()
	}
}

// close stops listening and waits for the requests under way, until ctx ends.
func (f *daxFront) close(ctx context.Context) {
	if f == nil {
		return
	}
	f.node.Close(ctx)
	f.stop()
	f.running.Wait()
}

// collect calls emit for what was measured.
func (f *daxFront) collect(emit func(metric.Datum)) {
	if f != nil {
		f.node.Collect(emit)
	}
}

// DAXURLs returns where DAX clients find the server, e.g. dax://127.0.0.1:8111; none if it has no DAX.
func (s *Server) DAXURLs() []string {
	if s.dax == nil {
		return nil
	}
	return s.dax.urls
}
