package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/statordb/stator"
	"github.com/statordb/stator/internal/httpd"
)

// serveCmd is `stator serve`.
type serveCmd struct {
	Listen          string
	DataDir         string
	InMemory        bool
	Storage         string
	Name            string
	Durability      string
	CacheMB         int64
	MinFreeMB       int64
	SharedNamespace bool
	Credentials     string
	SecretsKeyFile  string
	Policies        string
	WebIdentity     string
	MetricsListen   string
	Insecure        bool
	TLSCert         string
	TLSKey          string
	TLSClientCA     string
	TLSPrincipals   string
	InsecureHTTP    bool
	AuditLog        string
	AuditSelectors  string
	AuditOverflow   string
	CORSOrigin      []string
	AllowHost       []string
	TransientStatus time.Duration
	TTLInterval     time.Duration
	NoChangeLimits  bool
	Throttling      string
	OnDemandLimits  string
	Inject          []string
	InjectSeed      uint64
	S3Dir           string
	S3Endpoint      string
	s3Login
	DAXListen    string
	DAXTLSListen string
	DAXTLSCert   string
	DAXTLSKey    string
	DAXItemTTL   time.Duration
	DAXQueryTTL  time.Duration
	DAXCacheMB   int64
	DAXAdvertise string
	TestClock    bool
	Pprof        string
	LogLevel     string
	LogFormat    string
}

// command returns the command, whose flags are stored in c.
func (c *serveCmd) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the database.",
		Args:  cobra.NoArgs,
		RunE:  action(c.run),
	}
	f := cmd.Flags()
	f.StringVar(&c.Listen, "listen", "127.0.0.1:8000", "`HOST:PORT` Address to listen on.")
	f.StringVar(&c.DataDir, "data-dir", "./stator-data", "`DIR` Data directory, created if it is missing.")
	f.BoolVar(&c.InMemory, "in-memory", false, "Keep everything in memory and nothing on disk.")
	f.StringVar(&c.Storage, "storage", "",
		"`URL` Shared database that keeps the data instead of --data-dir: postgres://user:password@host/database or "+
			"tikv://pd1:2379,pd2:2379. Any number of servers may share it.")
	f.StringVar(&c.Name, "name", "", "`NAME` Name of this server in the output of stator cluster (stator).")
	f.StringVar(&c.Durability, "durability", "sync",
		"`MODE` When a write is acknowledged: sync (it is on disk), interval:100ms (fsync every 100 ms), none (left to the operating "+
			"system).")
	f.Int64Var(&c.CacheMB, "cache-mb", 256, "`N` Memory in MiB for caches and write buffers.")
	f.Int64Var(&c.MinFreeMB, "min-free-mb", 128,
		"`N` Free disk space in MiB below which the server is read-only, so that there is room to reclaim space; -1 is no limit.")
	f.BoolVar(&c.SharedNamespace, "shared-namespace", false,
		"One set of tables for all access keys and regions, as DynamoDB Local's -sharedDb.")
	f.Func("credentials",
		"`FILE` JSON file with the access keys that may sign requests; without it any key is accepted. The server reloads it when it "+
			"changes, and on SIGHUP.", existingFile(&c.Credentials))
	f.Func("secrets-key-file",
		"`FILE` File with the key that encrypts the secrets of IAM's access keys: 32 random bytes in Base64; further lines have older keys. "+
			"Without it the variable STATOR_SECRETS_KEY has the key. Without either, the server issues no access keys, except with --in-memory.",
		existingFile(&c.SecretsKeyFile))
	f.Func("policies",
		"`DIR` Directory of files that declare IAM's users, groups, roles and policies: user.NAME.json, policy.NAME.json and so on. The server follows "+
			"changes, and applies them on SIGHUP. Servers that share a database need the same files.", existingDirectory(&c.Policies))
	f.Func("web-identity",
		"`FILE` JSON file with the OpenID Connect providers whose tokens may assume roles. The server reloads it when it changes, and on SIGHUP.",
		existingFile(&c.WebIdentity))
	f.StringVar(&c.MetricsListen, "metrics-listen", "",
		"`HOST:PORT` Second address that serves only /metrics, /healthz and /readyz, without a signature. With --credentials, /metrics "+
			"at --listen needs the signature of an operator's key.")
	f.BoolVar(&c.Insecure, "insecure", false,
		"Allow listening beyond loopback without --credentials. Any client that reaches the port can read and delete everything.")
	f.Func("tls-cert",
		"`FILE` PEM file with the certificate for HTTPS and the chain of its issuers; without it the server speaks plain HTTP. The server "+
			"reloads it, the key and the client CA when they change, and on SIGHUP.", existingFile(&c.TLSCert))
	f.Func("tls-key", "`FILE` PEM file with the certificate's private key.", existingFile(&c.TLSKey))
	f.Func("tls-client-ca",
		"`FILE` PEM file with certificate authorities: clients must present a certificate that one of them has issued, besides a signature.",
		existingFile(&c.TLSClientCA))
	f.Func("tls-principals", "`FILE` JSON file that maps subjects of clients' certificates to the ARNs of users and roles, e.g. {\"cn:shop\":"+
		"\"arn:aws:iam::111122223333:user/shop\"}. Needs --tls-client-ca.", existingFile(&c.TLSPrincipals))
	f.BoolVar(&c.InsecureHTTP, "insecure-http", false,
		"Allow listening beyond loopback with --credentials and without --tls-cert: for a server behind a proxy that ends TLS. Whoever can "+
			"listen on the way can read every item.")
	f.StringVar(&c.AuditLog, "audit-log", "",
		"`FILE` File to append events of requests to, one line of JSON each in CloudTrail's format, or stdout. The server opens it anew on "+
			"SIGHUP, so that it can be rotated.")
	f.Func("audit-selectors",
		"`FILE` JSON file with CloudTrail's advanced event selectors, which say which data events --audit-log records besides all management "+
			"events.", existingFile(&c.AuditSelectors))
	f.Var(oneOf(&c.AuditOverflow, "drop", "drop", "block"), "audit-overflow",
		"`MODE` While events can't be written as fast as they come: drop them and count them, or block their requests.")
	f.StringSliceVar(&c.CORSOrigin, "cors-origin", nil,
		"`ORIGIN,...` Without --credentials: an origin whose web pages may use this server, besides loopback, e.g. "+
			"https://app.example:8443; * is any origin. Repeatable.")
	f.StringSliceVar(&c.AllowHost, "allow-host", nil,
		"`HOST,...` Without --credentials: a host name that requests may use, or a suffix that begins with a dot, besides IP addresses, "+
			"names without a dot, *.localhost, *.svc, *.svc.cluster.local and host.docker.internal. Repeatable.")
	f.DurationVar(&c.TransientStatus, "transient-status", 0, "`DURATION` How long tables stay in CREATING, UPDATING and DELETING.")
	f.DurationVar(&c.TTLInterval, "ttl-interval", time.Second, "`DURATION` How often expired items are deleted.")
	f.BoolVar(&c.NoChangeLimits, "no-change-limits", false,
		"Drop AWS's limits on how often settings may change (TTL, throughput, billing mode, table class, encryption, deletion protection), and its quotas of tables and throughput.")
	f.Var(oneOf(&c.Throttling, "aws", "aws", "off"), "throttling",
		"`MODE` Throttle tables and GSIs with provisioned throughput or a maximum as AWS does: aws or off.")
	f.Var(oneOf(&c.OnDemandLimits, "none", "none", "aws"), "on-demand-limits",
		"`MODE` Limits of on-demand tables without a maximum: none, or as AWS sets them (aws: 4000 writes and 12000 reads per second at "+
			"first, then twice the earlier peak).")
	f.StringArrayVar(&c.Inject, "inject", nil,
		"`RULE` For tests of clients: random faults, as [OPERATION[/TABLE]:]EFFECT=RATE,…: throttle, unprocessed, conflict, error=RATE, "+
			"latency=TIME@RATE, stale=TIME@RATE; e.g. throttle=0.05 or PutItem/Users:error=0.01. Repeatable.")
	f.Uint64Var(&c.InjectSeed, "inject-seed", 1, "`N` Seed of --inject's random numbers.")
	f.StringVar(&c.S3Dir, "s3-dir", "", "`DIR` Directory whose folders are the buckets for exports and imports (DATA-DIR/s3).")
	f.StringVar(&c.S3Endpoint, "s3-endpoint", "",
		"`URL` S3-compatible store for the buckets, instead of a directory, e.g. https://s3.eu-central-1.amazonaws.com.")
	c.s3Login.addFlags(f)
	f.StringVar(&c.DAXListen, "dax-listen", "",
		"`HOST:PORT` Address for clients of DynamoDB Accelerator (dax://), e.g. 127.0.0.1:8111; none by default.")
	f.StringVar(&c.DAXTLSListen, "dax-tls-listen", "", "`HOST:PORT` Address for DAX clients over TLS (daxs://), e.g. 127.0.0.1:9111.")
	f.Func("dax-tls-cert", "`FILE` PEM file with its certificate and the chain of issuers (that of --tls-cert).", existingFile(&c.DAXTLSCert))
	f.Func("dax-tls-key", "`FILE` PEM file with the certificate's private key.", existingFile(&c.DAXTLSKey))
	f.DurationVar(&c.DAXItemTTL, "dax-item-ttl", 5*time.Minute,
		"`DURATION` How long items stay in DAX's item cache; 0 keeps them until they are evicted.")
	f.DurationVar(&c.DAXQueryTTL, "dax-query-ttl", 5*time.Minute,
		"`DURATION` How long results stay in DAX's query cache; 0 keeps none.")
	f.Int64Var(&c.DAXCacheMB, "dax-cache-mb", 256, "`N` Memory in MiB for DAX's caches.")
	f.StringVar(&c.DAXAdvertise, "dax-advertise", "",
		"`HOST[:PORT]` Host, or host and port, that the server announces to DAX clients, where it differs from the address they used: "+
			"behind NAT or a mapped port.")
	f.BoolVar(&c.TestClock, "test-clock", false,
		"For tests: a clock that moves on request, e.g. curl -d '{\"advance\":\"25h\"}' URL/_stator/clock. Any client that reaches the "+
			"port can move it.")
	f.StringVar(&c.Pprof, "pprof", "", "`HOST:PORT` Address for Go's profiles (/debug/pprof); loopback only.")
	f.Var(oneOf(&c.LogLevel, "info", "debug", "info", "warn", "error"), "log-level",
		"`LEVEL` Lowest level to log: debug, info, warn or error.")
	f.Var(oneOf(&c.LogFormat, "text", "text", "json"), "log-format", "`FORMAT` Format of the log: text or json.")
	cmd.MarkFlagsRequiredTogether("dax-tls-cert", "dax-tls-key")
	cmd.MarkFlagsRequiredTogether("tls-cert", "tls-key")
	return cmd
}

// tuneRuntime adjusts Go's runtime to the workload. Environment variables take precedence.
func (c *serveCmd) tuneRuntime() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOOS != "linux" {
		// A thread blocked in fsync keeps its P until the runtime retakes it, which takes a while. Two extra Ps let requests run
		// meanwhile. On Linux pebblekv releases the P instead: more Ps than cores wait for each other's time slices.
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

// run serves until ctx ends or the server fails. It prints the endpoint to standard output once the server is ready; the log
// goes to standard error.
func (c *serveCmd) run(ctx context.Context, std streams) error {
	log, err := c.logger(std.err)
	if err != nil {
		return err
	}
	if c.DAXTLSListen != "" && c.DAXTLSCert == "" && c.TLSCert == "" {
		return errors.New("--dax-tls-listen needs --dax-tls-cert and --dax-tls-key, or --tls-cert and --tls-key")
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
	if errors.Is(err, stator.ErrInsecureHTTP) {
		return fmt.Errorf("%w (give --tls-cert and --tls-key, or --insecure-http if a proxy ends TLS)", err)
	}
	if err != nil {
		return err
	}
	c.tuneRuntime()
	forgetStart()
	fmt.Fprintf(std.out, "Stator %s is ready at %s (data: %s). Try: aws dynamodb list-tables --endpoint-url %s --region us-east-1\n",
		stator.Version, server.URL(), c.describe(server), server.URL())
	if c.Credentials != "" || c.Policies != "" || c.WebIdentity != "" || c.TLSCert != "" || c.DAXTLSCert != "" || c.AuditLog != "" {
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
		SecretsKeyFile:  c.SecretsKeyFile,
		SecretsKey:      os.Getenv("STATOR_SECRETS_KEY"),
		Policies:        c.Policies,
		WebIdentity:     c.WebIdentity,
		MetricsListen:   c.MetricsListen,
		Insecure:        c.Insecure,
		TLS:             stator.TLSOptions{Certificate: c.TLSCert, Key: c.TLSKey, ClientCA: c.TLSClientCA, Principals: c.TLSPrincipals},
		InsecureHTTP:    c.InsecureHTTP,
		AuditLog:        c.AuditLog,
		AuditSelectors:  c.AuditSelectors,
		AuditOverflow:   c.AuditOverflow,
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

// reloadOnHangup reloads the server's files on SIGHUP until stop is called.
func reloadOnHangup(server *stator.Server) (stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			_ = server.Reload() // logs its own errors
		}
	}()
	return func() {
		signal.Stop(hangups)
		close(hangups)
	}
}
