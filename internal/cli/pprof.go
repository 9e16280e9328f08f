package cli

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/statordb/stator/internal/httpd"
)

// serveProfiles serves Go's profiles until stop is called. Profiles reveal what is in memory, so the address must be loopback,
// and only web pages that web allows may read them.
func serveProfiles(addr string, web httpd.Web) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		_ = l.Close()
		return nil, fmt.Errorf("--pprof %s: must be a loopback address", addr)
	}
	server := &http.Server{Handler: profiles(web), ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = server.Serve(l) }() // ends with the listener
	return func() { _ = server.Close() }, nil
}

// profiles returns the handler of the profile pages.
func profiles(web httpd.Web) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return web.Handler(mux)
}
