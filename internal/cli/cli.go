// Package cli is Stator's command line: commands, flags and signals. Programs call [Main]; each command has a file.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
	_ "time/tzdata" // scheduled actions name time zones

	"github.com/statordb/stator"
	"github.com/statordb/stator/internal/cli/flags"
	"github.com/statordb/stator/internal/httpd"
)

// commands lists the commands. Package flags derives flags, help and environment variables (STATOR_*) from the fields; docs/flags.md
// is generated from them too.
type commands struct {
	Serve   serveCmd   `help:"Run the database."`
	Tail    tailCmd    `help:"Print a table's changes as they happen."`
	Hot     hotCmd     `help:"Show a table's busiest partitions and keys."`
	Backup  backupCmd  `help:"Back up a whole server, running or not, to a folder or S3."`
	Restore restoreCmd `help:"Restore a backup into a new data directory."`
	Import  importCmd  `help:"Import exports made by AWS or Stator, or a data file of DynamoDB Local, into a running server."`
	Verify  verifyCmd  `help:"Check the data directory of a stopped server, or a shared database."`
	Cluster clusterCmd `help:"Show the servers of a shared database and the work each one does."`
	Copy    copyCmd    `help:"Copy all data to another data directory or shared database."`
	Version versionCmd `help:"Print the version."`
}

// serveCmd is `stator serve`.
type serveCmd struct {
	Listen          string        `help:"Address to listen on (${default})." default:"127.0.0.1:8000" placeholder:"HOST:PORT"`
	DataDir         string        `help:"Data directory, created if it is missing (${default})." default:"./stator-data" placeholder:"DIR"`
	InMemory        bool          `help:"Keep everything in memory and nothing on disk."`
	Storage         string        `help:"Shared database that keeps the data instead of --data-dir: postgres://user:password@host/database or tikv://pd1:2379,pd2:2379. Any number of servers may share it." placeholder:"URL"`
	Name            string        `help:"Name of this server in the output of stator cluster (stator)." placeholder:"NAME"`
	Durability      string        `help:"When a write is acknowledged: sync (it is on disk), interval:100ms (fsync every 100 ms), none (left to the operating system) (${default})." default:"sync" placeholder:"MODE"`
	CacheMB         int64         `name:"cache-mb" help:"Memory in MiB for caches and write buffers (${default})." default:"256" placeholder:"N"`
	MinFreeMB       int64         `name:"min-free-mb" help:"Free disk space in MiB below which the server is read-only, so that there is room to reclaim space; -1 is no limit (${default})." default:"128" placeholder:"N"`
	SharedNamespace bool          `help:"One set of tables for all access keys and regions, as DynamoDB Local's -sharedDb."`
	Credentials     string        `help:"JSON file with the access keys that may sign requests; without it any key is accepted. The server reloads it when it changes, and on SIGHUP." type:"existingfile" placeholder:"FILE"`
	MetricsListen   string        `name:"metrics-listen" help:"Second address that serves only /metrics, /healthz and /readyz, without a signature. With --credentials, /metrics at --listen needs the signature of an operator's key." placeholder:"HOST:PORT"`
	Insecure        bool          `help:"Allow listening beyond loopback without --credentials. Any client that reaches the port can read and delete everything."`
	CORSOrigin      []string      `name:"cors-origin" help:"Without --credentials: an origin whose web pages may use this server, besides loopback, e.g. https://app.example:8443; * is any origin. Repeatable." placeholder:"ORIGIN"`
	AllowHost       []string      `name:"allow-host" help:"Without --credentials: a host name that requests may use, or a suffix that begins with a dot, besides IP addresses, names without a dot, *.localhost, *.svc, *.svc.cluster.local and host.docker.internal. Repeatable." placeholder:"HOST"`
	TransientStatus time.Duration `help:"How long tables stay in CREATING, UPDATING and DELETING (${default})." default:"0s" placeholder:"DURATION"`
	TTLInterval     time.Duration `name:"ttl-interval" help:"How often expired items are deleted (${default})." default:"1s" placeholder:"DURATION"`
	NoChangeLimits  bool          `help:"Drop AWS's limits on how often settings may change (TTL, throughput, billing mode), and its quotas of tables and throughput."`
	Throttling      string        `help:"Throttle tables and GSIs with provisioned throughput or a maximum as AWS does: aws or off (${default})." enum:"aws,off" default:"aws" placeholder:"MODE"`
	OnDemandLimits  string        `help:"Limits of on-demand tables without a maximum: none, or as AWS sets them (aws: 4000 writes and 12000 reads per second at first, then twice the earlier peak) (${default})." enum:"none,aws" default:"none" placeholder:"MODE"`
	Inject          []string      `help:"For tests of clients: random faults, as [OPERATION[/TABLE]:]EFFECT=RATE,…: throttle, unprocessed, conflict, error=RATE, latency=TIME@RATE, stale=TIME@RATE; e.g. throttle=0.05 or PutItem/Users:error=0.01. Repeatable." sep:"none" placeholder:"RULE"`
	InjectSeed      uint64        `help:"Seed of --inject's random numbers (${default})." default:"1" placeholder:"N"`
	S3Dir           string        `name:"s3-dir" help:"Directory whose folders are the buckets for exports and imports (DATA-DIR/s3)." placeholder:"DIR"`
	S3Endpoint      string        `name:"s3-endpoint" help:"S3-compatible store for the buckets, instead of a directory, e.g. https://s3.eu-central-1.amazonaws.com." placeholder:"URL"`
	s3Login
	DAXListen    string        `name:"dax-listen" help:"Address for clients of DynamoDB Accelerator (dax://), e.g. 127.0.0.1:8111; none by default." placeholder:"HOST:PORT"`
	DAXTLSListen string        `name:"dax-tls-listen" help:"Address for DAX clients over TLS (daxs://), e.g. 127.0.0.1:9111." placeholder:"HOST:PORT" and:"tls"`
	DAXTLSCert   string        `name:"dax-tls-cert" help:"PEM file with its certificate and the chain of issuers." type:"existingfile" placeholder:"FILE" and:"tls"`
	DAXTLSKey    string        `name:"dax-tls-key" help:"PEM file with the certificate's private key." type:"existingfile" placeholder:"FILE" and:"tls"`
	DAXItemTTL   time.Duration `name:"dax-item-ttl" help:"How long items stay in DAX's item cache; 0 keeps them until they are evicted (${default})." default:"5m" placeholder:"DURATION"`
	DAXQueryTTL  time.Duration `name:"dax-query-ttl" help:"How long results stay in DAX's query cache; 0 keeps none (${default})." default:"5m" placeholder:"DURATION"`
	DAXCacheMB   int64         `name:"dax-cache-mb" help:"Memory in MiB for DAX's caches (${default})." default:"256" placeholder:"N"`
	DAXAdvertise string        `name:"dax-advertise" help:"Host, or host and port, that the server announces to DAX clients, where it differs from the address they used: behind NAT or a mapped port." placeholder:"HOST[:PORT]"`

	TestClock bool   `help:"For tests: a clock that moves on request, e.g. curl -d '{\"advance\":\"25h\"}' URL/_stator/clock. Any client that reaches the port can move it."`
	Pprof     string `help:"Address for Go's profiles (/debug/pprof); loopback only." placeholder:"HOST:PORT"`
	LogLevel  string `help:"Lowest level to log: debug, info, warn or error (${default})." enum:"debug,info,warn,error" default:"info" placeholder:"LEVEL"`
	LogFormat string `help:"Format of the log: text or json (${default})." enum:"text,json" default:"text" placeholder:"FORMAT"`
}

// tuneRuntime adjusts Go's runtime to the workload. Environment variables take precedence.
func (c *serveCmd) tuneRuntime() {
	if os.Getenv("GOMAXPROCS") == "" {
		// A thread blocked in fsync keeps its P until the runtime retakes it, which takes a while. Two extra Ps let requests run
		// meanwhile.
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 2)
	}
	if os.Getenv("GOGC") == "" && c.Storage != "" {
		// Without the engine's caches the heap is tiny, so the default of 100 would collect dozens of times per second.
		debug.SetGCPercent(sharedGCPercent)
	}
}

// sharedGCPercent is the GOGC value for servers of a shared storage, which have no block cache.
const sharedGCPercent = 400

// memoryLimit returns Go's soft memory limit in bytes: the caches plus 64 MiB. The caches fill their budget for good; without a
// limit, the collector would let the heap double on top of them.
func (c *serveCmd) memoryLimit() int64 {
	if os.Getenv("GOMEMLIMIT") != "" || c.InMemory {
		return 0
	}
	return c.CacheMB<<20 + 64<<20
}

// dax returns the DAX options. On the command line, 0 means zero; in DAXOptions, 0 means the default and -1 means zero.
func (c *serveCmd) dax() stator.DAXOptions {
	orNone := func(d time.Duration) time.Duration {
		if d == 0 {
			return -1
		}
		return d
	}
	return stator.DAXOptions{
		Listen: c.DAXListen, TLSListen: c.DAXTLSListen, Certificate: c.DAXTLSCert, Key: c.DAXTLSKey,
		ItemTTL: orNone(c.DAXItemTTL), QueryTTL: orNone(c.DAXQueryTTL), Cache: c.DAXCacheMB << 20, Advertise: c.DAXAdvertise,
	}
}

// versionCmd is `stator version`.
type versionCmd struct{}

// runner is implemented by every command.
type runner interface {
	// Run executes the command until it is done or ctx ends.
	Run(ctx context.Context, std streams) error
}

// streams are the program's standard output and error, which tests replace.
type streams struct{ out, err io.Writer }

// Main runs the command line of the process, and exits with status 1 if it fails.
func Main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], streams{os.Stdout, os.Stderr}); err != nil {
		fmt.Fprintln(os.Stderr, "stator:", err)
		os.Exit(1)
	}
}

// commandLine returns the program's commands and their flags, whose values are in the struct behind c.
func commandLine(c *commands) *flags.App {
	return flags.New(c, "stator", "A DynamoDB-compatible database. Point any AWS SDK or the AWS CLI at its endpoint URL.\n\n"+
		"Every flag can also be given as an environment variable, e.g. STATOR_DATA_DIR for --data-dir.", "STATOR")
}

// run executes a command line. It returns nil after help was printed.
func run(ctx context.Context, args []string, std streams) error {
	command, err := commandLine(&commands{}).Parse(args, std.out)
	if err != nil {
		return fmt.Errorf("%w (see stator --help)", err)
	}
	if command == nil {
		return nil
	}
	return command.Target.(runner).Run(ctx, std)
}

// Run prints the version.
func (versionCmd) Run(_ context.Context, std streams) error {
	_, err := fmt.Fprintln(std.out, "stator", stator.Version)
	return err
}

// Run serves until ctx ends or the server fails. It prints the endpoint to standard output once the server is ready; the log
// goes to standard error.
func (c *serveCmd) Run(ctx context.Context, std streams) error {
	log, err := c.logger(std.err)
	if err != nil {
		return err
	}
	c.warn(log)
	if c.Pprof != "" {
		web, err := httpd.ParseWeb(c.CORSOrigin, c.AllowHost)
		if err != nil {
			return err
		}
		stop, err := serveProfiles(c.Pprof, web)
		if err != nil {
			return err
		}
		defer stop()
	}
	server, err := stator.Open(c.options(log))
	if errors.Is(err, stator.ErrInsecure) {
		return fmt.Errorf("%w (give --credentials, or --insecure if you mean it)", err)
	}
	if err != nil {
		return err
	}
	c.tuneRuntime()
	forgetStart()
	fmt.Fprintf(std.out, "Stator %s is ready at %s (data: %s). Try: aws dynamodb list-tables --endpoint-url %s --region us-east-1\n",
		stator.Version, server.URL(), c.describe(server), server.URL())
	if c.Credentials != "" {
		defer reloadOnHangup(server)()
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Wait() }()
	select {
	case err := <-stopped:
		return errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	log.Info("stopping: waiting for requests in progress")
	if err := server.Close(); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// logger returns the log that the flags ask for.
func (c *serveCmd) logger(out io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, err
	}
	opt := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(out, opt)), nil
	}
	return slog.New(slog.NewTextHandler(out, opt)), nil
}

// warn logs warnings about flags that open the server to others, or have no effect.
func (c *serveCmd) warn(log *slog.Logger) {
	if c.Insecure && c.Credentials == "" {
		log.Warn("INSECURE: any access key is accepted; every client that can connect to this address can read, change and delete all tables",
			"listen", c.Listen)
	}
	if slices.Contains(c.CORSOrigin, "*") && c.Credentials == "" {
		log.Warn("INSECURE: any access key is accepted, from web pages of every origin; " +
			"a page in any browser that can connect to this server can read, change and delete all tables")
	}
	if c.Credentials != "" && len(c.CORSOrigin)+len(c.AllowHost) > 0 {
		log.Warn("--cors-origin and --allow-host have no effect with --credentials: requests must be signed, and pages of every origin may send them")
	}
	if c.TestClock {
		log.Warn("clients can move this server's clock by requests to /_stator/clock: for tests only")
	}
}

// options returns the server's options.
func (c *serveCmd) options(log *slog.Logger) stator.Options {
	return stator.Options{
		Listen:          c.Listen,
		DataDir:         c.DataDir,
		InMemory:        c.InMemory,
		Storage:         c.Storage,
		Name:            c.Name,
		Durability:      c.Durability,
		Cache:           c.CacheMB << 20,
		MemoryLimit:     c.memoryLimit(),
		MinFree:         c.MinFreeMB << 20,
		SharedNamespace: c.SharedNamespace,
		CredentialsFile: c.Credentials,
		MetricsListen:   c.MetricsListen,
		Insecure:        c.Insecure,
		CORSOrigins:     c.CORSOrigin,
		AllowHosts:      c.AllowHost,
		TransientStatus: c.TransientStatus,
		TTLInterval:     c.TTLInterval,
		NoChangeLimits:  c.NoChangeLimits,
		Throttling:      c.Throttling,
		OnDemandLimits:  c.OnDemandLimits,
		Inject:          c.Inject,
		InjectSeed:      c.InjectSeed,
		S3Dir:           c.S3Dir,
		S3:              c.at(c.S3Endpoint),
		DAX:             c.dax(),
		TestClock:       c.TestClock,
		Logger:          log,
	}
}

// describe returns where the server's data is, which faults it injects, and its endpoints for DAX.
func (c *serveCmd) describe(server *stator.Server) string {
	data := c.DataDir
	switch {
	case c.Storage != "":
		data = redacted(c.Storage)
	case c.InMemory:
		data = "in memory"
	}
	if len(c.Inject) > 0 {
		data += "; TEST MODE, injecting " + strings.Join(c.Inject, " ")
	}
	if urls := server.DAXURLs(); urls != nil {
		data += "; DAX: " + strings.Join(urls, ", ")
	}
	return data
}

// reloadOnHangup reloads the credentials file on SIGHUP until stop is called.
func reloadOnHangup(server *stator.Server) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			_ = server.ReloadCredentials() // logs its own error
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}

// redacted returns a URL with its passwords masked, and any other text unchanged. A URL that does not parse is reduced to its
// scheme.
func redacted(from string) string {
	scheme, _, isURL := strings.Cut(from, "://")
	if !isURL {
		return from
	}
	u, err := url.Parse(from)
	if err != nil {
		return scheme + "://…"
	}
	query := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if query.Has(name) {
			query.Set(name, "xxxxx")
			u.RawQuery = query.Encode()
		}
	}
	return u.Redacted()
}
