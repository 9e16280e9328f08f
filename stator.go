// Package stator embeds Stator, a DynamoDB-compatible database, into a Go program. A test starts a private database in
// milliseconds:
//
//	db, err := stator.Open(stator.Options{InMemory: true, Listen: "127.0.0.1:0"})
//	defer db.Close()
//	client := dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.BaseEndpoint = aws.String(db.URL()) })
package stator

import (
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/server"
)

// Version is the version of Stator. Release builds set it with the linker.
var Version = "0.1.0-dev"

// Errors of Open.
var (
	// ErrInUse means that another process holds the data directory.
	ErrInUse = engine.ErrInUse
	// ErrInsecure means that Listen is reachable from other machines, but there are no credentials and Insecure is not set.
	ErrInsecure = server.ErrInsecure
	// ErrInsecureHTTP means that Listen is reachable from other machines, and there are credentials but neither TLS nor InsecureHTTP.
	ErrInsecureHTTP = server.ErrInsecureHTTP
	// ErrTestClock means that TestClock was combined with credentials: any client could move the clock that decides when
	// signatures expire.
	ErrTestClock = server.ErrTestClock
)

// Server is a running database.
type Server struct{ server *server.Server }

// Open starts a database. The caller must Close it.
func Open(opt Options) (*Server, error) {
	s, err := server.Open(opt.internal())
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// URL returns the endpoint, e.g. http://127.0.0.1:8000, or https:// with Options.TLS.
func (s *Server) URL() string { return s.server.URL() }

// DAXURLs returns the endpoints of DAXOptions.Listen and TLSListen, e.g. dax://127.0.0.1:8111; nil if neither is set. The
// endpoints of clusters are in DescribeClusters.
func (s *Server) DAXURLs() []string { return s.server.DAXURLs() }

// MetricsURL returns the endpoint of Options.MetricsListen, e.g. http://127.0.0.1:9090/metrics, or an empty string if that is
// not set.
func (s *Server) MetricsURL() string { return s.server.MetricsURL() }

// ReloadCredentials rereads the credentials file. Its keys replace the current ones at once. If the file is invalid, the
// current keys stay in force; the error is logged and returned.
func (s *Server) ReloadCredentials() error { return s.server.ReloadCredentials() }

// Reload rereads the credentials file, the certificates, the directory of policies and the file of web identities, and opens the audit log's file
// anew, which may have been moved away. Whatever can't be read or opened stays in force as it was; the errors are logged and returned.
func (s *Server) Reload() error { return s.server.Reload() }

// Wait blocks until the server stops serving. It returns nil after Close, otherwise the error that stopped it.
func (s *Server) Wait() error { return s.server.Wait() }

// Close stops listening, drains requests, stops background work and closes the store. After a nil error, every acknowledged
// write is durable, whatever Options.Durability says. If requests or background work do not end within half a minute, Close
// leaves the store open and returns an error; the next start then replays the log as after a crash.
func (s *Server) Close() error { return s.server.Close() }
