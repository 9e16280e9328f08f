// Many runs several Stator servers over a private PostgreSQL, behind one address that distributes connections round-robin, until it is
// interrupted. It reports its address like a server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/statordb/stator/internal/kv/pgkv/pgtest"
	"github.com/statordb/stator/test/process"
)

var (
	binary  = flag.String("stator", "bin/stator", "Stator's binary")
	servers = flag.Int("servers", 3, "how many servers to run")
	dir     = flag.String("dir", "", "directory for their data")
)

func main() {
	flag.Parse()
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	db, err := pgtest.Start(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	storage, err := db.Database()
	if err != nil {
		return err
	}
	storage += "&pool_max_conns=20"
	var addrs []string
	var dax string
	for i := range *servers {
		args := []string{"--storage", storage, "--data-dir", filepath.Join(*dir, fmt.Sprint(i)), "--s3-dir", filepath.Join(*dir, "s3")}
		if i == 0 { // the tests rely on the content of one node's cache
			args = append(args, "--dax-listen", "127.0.0.1:0")
		}
		p, err := process.Stator(*binary, args...)
		if err != nil {
			return err
		}
		defer p.Kill()
		addrs = append(addrs, p.Addr)
		if _, rest, found := strings.Cut(p.Output.String(), "DAX: "); found {
			dax = rest[:strings.IndexAny(rest, ",)")]
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	fmt.Printf("%d servers are ready at http://%s (data: %s, DAX: %s)\n", len(addrs), l.Addr(), storage, dax)
	var n atomic.Uint64
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go relay(c, addrs[n.Add(1)%uint64(len(addrs))])
	}
}

// relay copies between a client and a server until either closes.
func relay(client net.Conn, addr string) {
	defer client.Close()
	server, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer server.Close()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(client, server)
}
