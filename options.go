package stator

import (
	"log/slog"
	"time"

	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/server"
)

// Defaults of Options.
const (
	DefaultListen  = server.DefaultListen
	DefaultDataDir = server.DefaultDataDir

	DefaultTTLInterval = server.DefaultTTLInterval
)

// Values of Options.Throttling.
const (
	// ThrottlingAWS throttles as AWS does: provisioned tables and GSIs, and on-demand ones with a maximum.
	ThrottlingAWS = server.ThrottlingAWS
	// ThrottlingOff throttles nothing.
	ThrottlingOff = server.ThrottlingOff
)

// Values of Options.OnDemandLimits.
const (
	// OnDemandUnlimited lets on-demand tables run as fast as the machine allows.
	OnDemandUnlimited = server.OnDemandUnlimited
	// OnDemandAWS limits on-demand tables as AWS does: 4,000 writes and 12,000 reads per second at first, then twice the earlier
	// peak.
	OnDemandAWS = server.OnDemandAWS
)

// Options configure a Server. The zero value means a durable database in ./stator-data that listens on port 8000 of the
// loopback interface.
type Options struct {
	// Listen is the address to listen on; port 0 picks a free one. Empty means DefaultListen.
	Listen string
	// DataDir is the data directory, created if missing. Empty means DefaultDataDir.
	DataDir string
	// InMemory keeps the database in memory; DataDir is ignored.
	InMemory bool
	// Storage is the URL of a shared database that keeps the data instead of DataDir, e.g.
	// postgres://user:password@host/database or tikv://pd1:2379,pd2:2379. Any number of servers may share it (see
	// docs/cluster.md). DataDir then holds only the buckets.
	Storage string
	// Name identifies this server among those that share Storage, for operators. It need not be unique.
	Name string
	// Durability says when a write is acknowledged. "sync" (or empty): once it is on disk. "interval:100ms": at once, with an
	// fsync every 100 ms. "none": at once, with an fsync only at Close.
	Durability string
	// Cache is the memory in bytes for the storage engine's caches and write buffers; 0 means 256 MB.
	Cache int64
	// MemoryLimit is Go's soft memory limit in bytes (see debug.SetMemoryLimit). It rises by the memory of DAX's
	// caches, and while collections would take more than a twentieth of the processors' time. 0 leaves the runtime's own setting alone.
	MemoryLimit int64
	// MinFree is the free disk space in bytes below which writes are refused; 0 means 128 MB, a negative value means no limit.
	MinFree int64
	// SharedNamespace puts all tables in one namespace, regardless of a request's account and region.
	SharedNamespace bool
	// CredentialsFile is the file with the access keys that may sign requests (see docs/credentials.md). It is reloaded when it
	// changes. Empty accepts any key.
	CredentialsFile string
	// SecretsKeyFile is the file with the keys that encrypt the secrets of IAM's access keys: 32 random bytes in Base64, one key in a line,
	// the first one for encryption. Once the file changes, everything is encrypted by its first key. SecretsKey has the same keys, with
	// commas between them, if there is no file. Without either, IAM and STS issue no access keys, unless InMemory is set, which makes
	// a key up.
	SecretsKeyFile, SecretsKey string
	// Policies is a directory of files that declare IAM's users, groups, roles and policies (see docs/policies.md). What it declares can't be changed by
	// the API, and follows the files. Servers that share Storage need the same files. If it is empty, declared objects stay as they are.
	Policies string
	// WebIdentity is a JSON file with the OpenID Connect providers whose tokens AssumeRoleWithWebIdentity accepts (see docs/policies.md). It is
	// reloaded when it changes.
	WebIdentity string
	// MetricsListen is a second address that serves only /metrics, /healthz and /readyz, without a signature; port 0 picks a
	// free one. If it is empty, only Listen serves them. With CredentialsFile, /metrics at Listen requires the signature of an
	// operator's key.
	MetricsListen string
	// Insecure allows listening on interfaces other than loopback without credentials.
	Insecure bool
	// TLS makes Listen speak HTTPS.
	TLS TLSOptions
	// InsecureHTTP allows listening on interfaces other than loopback with credentials and without TLS, for instance
	// behind a proxy that ends TLS.
	InsecureHTTP bool
	// AuditLog is the file that events of requests are appended to, in CloudTrail's format (see docs/audit.md); "stdout" means standard output,
	// empty means none.
	AuditLog string
	// AuditSelectors is a file with CloudTrail's advanced event selectors, which say which data events the audit log has. Empty means none:
	// the log then has management events only.
	AuditSelectors string
	// AuditOverflow says what happens while events can't be written as fast as they come: "drop" (or empty) loses and counts them, "block"
	// makes requests wait.
	AuditOverflow string
	// CORSOrigins are origins whose web pages may use a server without CredentialsFile, in addition to loopback origins, e.g.
	// https://app.example:8443. "*" means any origin, "null" means sandboxed frames and local files.
	CORSOrigins []string
	// AllowHosts are additional host names that a server without CredentialsFile answers to. It always accepts IP addresses,
	// names without a dot, *.localhost, *.svc, *.svc.cluster.local and host.docker.internal. A leading dot covers all names
	// below. Other hosts are refused, because a web page could reach the server under its own name by DNS rebinding.
	AllowHosts []string
	// MaxMetrics is the maximum number of metrics that the clients of an account may put into CloudWatch; 0 means
	// cloudwatch.DefaultMaxMetrics (50,000).
	MaxMetrics int
	// TransientStatus is how long tables stay in CREATING, UPDATING and DELETING.
	TransientStatus time.Duration
	// TTLInterval is how often expired items are deleted; 0 means DefaultTTLInterval.
	TTLInterval time.Duration
	// NoChangeLimits allows changes of settings (TTL, throughput, billing mode) without AWS's change-frequency limits, and drops
	// AWS's quotas of tables and throughput.
	NoChangeLimits bool
	// Throttling is ThrottlingAWS (or empty) or ThrottlingOff.
	Throttling string
	// OnDemandLimits is OnDemandUnlimited (or empty) or OnDemandAWS.
	OnDemandLimits string
	// Inject holds rules for random faults, for tests of clients (see package faults). InjectSeed seeds their random numbers, so
	// that a run can be repeated.
	Inject     []string
	InjectSeed uint64
	// S3Dir is the directory whose folders are the buckets for exports, imports and bulk puts. Empty means DataDir/s3, or with
	// InMemory a temporary directory that Close removes.
	S3Dir string
	// S3 is an S3-compatible store that holds the buckets instead of a directory. It is used if its Endpoint is set.
	S3 S3Options
	// DAX configures the front end for clients of DynamoDB Accelerator.
	DAX DAXOptions
	// Logger receives the log; nil discards it.
	Logger *slog.Logger
	// TestClock replaces Now with a clock that clients move by a request to /_stator/clock, to test in seconds what takes hours.
	// It can't be combined with CredentialsFile (ErrTestClock).
	TestClock bool
	// Now is the clock; nil means the system's.
	Now func() time.Time
}

// TLSOptions name the PEM files for HTTPS (HTTP/1.1 over TLS 1.2 or newer). The server reloads them when they change.
type TLSOptions struct {
	// Certificate has the certificate and the chain of its issuers, Key its private key. If both are empty, Listen speaks plain HTTP.
	Certificate, Key string
	// ClientCA has the certificates of the authorities that issue clients' certificates; empty if clients need none.
	ClientCA string
	// Principals is a JSON file with an object that maps subjects of clients' certificates to the ARNs of users and roles (see docs/tls.md).
	// It is reloaded when it changes.
	Principals string
}

// DAXOptions configure the front end for clients of DynamoDB Accelerator.
type DAXOptions struct {
	// Listen is the address for DAX's plain protocol (dax://). If it and TLSListen are empty, no node runs until a cluster is
	// created.
	Listen string
	// TLSListen is the address for DAX over TLS (daxs://); empty means none. Certificate and Key are the PEM files that it uses; empty
	// means those of Options.TLS.
	TLSListen, Certificate, Key string
	// ItemTTL is how long items stay in the item cache; 0 means dax.DefaultItemTTL, a negative value keeps them until they are
	// evicted.
	ItemTTL time.Duration
	// QueryTTL is how long results stay in the query cache; 0 means dax.DefaultQueryTTL, a negative value disables the query
	// cache.
	QueryTTL time.Duration
	// Cache is the memory in bytes for the caches of the node at Listen and TLSListen. The nodes of all further clusters
	// together share a second budget of the same size. 0 means dax.DefaultMemory.
	Cache int64
	// Advertise is the "host" or "host:port" that DAX clients are told to connect to, where it differs from the address they
	// used.
	Advertise string
}

// S3Options locate an S3-compatible store.
type S3Options = objectstore.S3Options

// internal converts the options to those of package server, whose Version only this package sets.
func (o *Options) internal() server.Options {
	return server.Options{
		Version:         Version,
		Listen:          o.Listen,
		DataDir:         o.DataDir,
		InMemory:        o.InMemory,
		Storage:         o.Storage,
		Name:            o.Name,
		Durability:      o.Durability,
		Cache:           o.Cache,
		MemoryLimit:     o.MemoryLimit,
		MinFree:         o.MinFree,
		SharedNamespace: o.SharedNamespace,
		CredentialsFile: o.CredentialsFile, SecretsKeyFile: o.SecretsKeyFile, SecretsKey: o.SecretsKey,
		Policies: o.Policies, WebIdentity: o.WebIdentity,
		MetricsListen:   o.MetricsListen,
		Insecure:        o.Insecure,
		TLS:             server.TLSOptions(o.TLS),
		InsecureHTTP:    o.InsecureHTTP,
		AuditLog:        o.AuditLog,
		AuditSelectors:  o.AuditSelectors,
		AuditOverflow:   o.AuditOverflow,
		CORSOrigins:     o.CORSOrigins,
		AllowHosts:      o.AllowHosts,
		MaxMetrics:      o.MaxMetrics,
		TransientStatus: o.TransientStatus,
		TTLInterval:     o.TTLInterval,
		NoChangeLimits:  o.NoChangeLimits,
		Throttling:      o.Throttling,
		OnDemandLimits:  o.OnDemandLimits,
		Inject:          o.Inject,
		InjectSeed:      o.InjectSeed,
		S3Dir:           o.S3Dir,
		S3:              o.S3,
		DAX:             server.DAXOptions(o.DAX),
		Logger:          o.Logger,
		TestClock:       o.TestClock,
		Now:             o.Now,
	}
}
