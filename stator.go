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

// Version is the version of Stator; the build sets it.
var Version = "0.1.0-dev"

// Errors of Open.
var (
	// ErrInUse means that another process has the data directory open.
	ErrInUse = engine.ErrInUse
	// ErrInsecure means that Listen names an interface that other machines can reach, without credentials and without Insecure.
	ErrInsecure = server.ErrInsecure
	// ErrTestClock means that TestClock was asked for with credentials: any client could move the clock by which signatures expire.
	ErrTestClock = server.ErrTestClock
)

// Server is a running database.
type Server struct{ server *server.Server }

// Open starts a database.
func Open(opt Options) (*Server, error) {
	s, err := server.Open(opt.internal())
	if err != nil {
		return nil, err
	}
	return &Server{s}, nil
}

// URL returns the endpoint, e.g. http://127.0.0.1:8000.
func (s *Server) URL() string { return s.server.URL() }

// DAXURLs returns where DAX clients find the server, e.g. dax://127.0.0.1:8111; none if the options ask for none. Those of clusters
// DescribeClusters says.
func (s *Server) DAXURLs() []string { return s.server.DAXURLs() }

// MetricsURL returns the endpoint of Options.MetricsListen, e.g. http://127.0.0.1:9090/metrics, or an empty text without it.
func (s *Server) MetricsURL() string { return s.server.MetricsURL() }

// ReloadCredentials reads the credentials file again: the keys in it count from then on, and others don't. On an error, which is
// logged, the keys stay as they are.
func (s *Server) ReloadCredentials() error { return s.server.ReloadCredentials() }

// Wait returns when the server has stopped answering: nil after Close, else what ended it.
func (s *Server) Wait() error { return s.server.Wait() }

// Close stops listening, waits for the requests under way, and closes the store; what was acknowledged is durable then. What does
// not end in half a minute keeps the store from being closed: Close returns an error, and the next start reads the log as after a
// crash.
func (s *Server) Close() error { return s.server.Close() }
