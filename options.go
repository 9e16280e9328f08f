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
	// ThrottlingAWS throttles tables and GSIs with provisioned throughput, and on-demand ones with a maximum, as AWS does.
	ThrottlingAWS = server.ThrottlingAWS
	// ThrottlingOff throttles nothing.
	ThrottlingOff = server.ThrottlingOff
)

// Values of Options.OnDemandLimits.
const (
	// OnDemandUnlimited lets on-demand tables run as fast as the machine.
	OnDemandUnlimited = server.OnDemandUnlimited
	// OnDemandAWS gives them what AWS does: at first 4,000 writes and 12,000 reads per second, then twice the earlier peak.
	OnDemandAWS = server.OnDemandAWS
)

// Options configure a Server. The zero value is a durable database in ./stator-data on port 8000 of the loopback
// interface.
type Options struct {
	// Listen is the address to listen on; port 0 takes a free one. Empty is DefaultListen.
	Listen string
	// DataDir is the directory of the data, made if it is missing. Empty is DefaultDataDir.
	DataDir string
	// InMemory keeps nothing on disk; DataDir is not used.
	InMemory bool
	// Storage is a database that has the data in place of DataDir, and that any number of servers may share, e.g.
	// postgres://user:password@host/database or tikv://pd1:2379,pd2:2379 (see docs/cluster.md). DataDir then has the buckets alone.
	Storage string
	// Name tells this server from others of its Storage, for people who look at them.
	Name string
	// Durability says when a write is acknowledged: "sync" (or empty) after it is on disk, "interval:100ms" before, with an
	// fsync every 100 ms, "none" with no fsync but at Close.
	Durability string
	// Cache is how many bytes of memory the storage engine takes for what was read and written; 0 is 256 MB.
	Cache int64
	// MemoryLimit is the number of bytes from which on Go's runtime collects garbage more often (see debug.SetMemoryLimit). What
	// background jobs and the caches of DAX need comes on top while they are there. 0 leaves the runtime alone.
	MemoryLimit int64
	// MinFree is how many bytes of the disk must be free for writes to be accepted; 0 is 128 MB, less than 0 is no limit.
	MinFree int64
	// SharedNamespace puts all tables in one namespace, whatever account and region requests name.
	SharedNamespace bool
	// CredentialsFile has the access keys that may sign requests (see docs/credentials.md); empty accepts any key. It is read again
	// when it changes.
	CredentialsFile string
	// MetricsListen is an address at which /metrics, /healthz and /readyz are served without a signature, and nothing else; port 0
	// takes a free one. Empty serves them at Listen alone: with CredentialsFile, /metrics at Listen needs the signature of an operator's key.
	MetricsListen string
	// Insecure allows to listen on other interfaces than loopback without credentials.
	Insecure bool
	// CORSOrigins are the origins, besides those on loopback, of web pages that may use a server without CredentialsFile, e.g.
	// https://app.example:8443; "*" is any, "null" that of sandboxed frames and files.
	CORSOrigins []string
	// AllowHosts are names that a server without CredentialsFile answers to, besides addresses, names without a dot, *.localhost,
	// *.svc, *.svc.cluster.local and host.docker.internal. One that begins with a dot stands for all names below it. Requests for
	// others are refused: a web page could have made them its own by DNS rebinding.
	AllowHosts []string
	// MaxMetrics is how many metrics the clients of an account may put into CloudWatch; 0 is cloudwatch.DefaultMaxMetrics (50,000).
	MaxMetrics int
	// TransientStatus is how long tables stay in CREATING, UPDATING and DELETING.
	TransientStatus time.Duration
	// TTLInterval is how often expired items are looked for; 0 is DefaultTTLInterval.
	TTLInterval time.Duration
	// NoChangeLimits lets settings be changed as often as one likes, where AWS has them wait (TTL an hour, throughput, billing mode), and
	// tables have more throughput than AWS's quotas.
	NoChangeLimits bool
	// Throttling is ThrottlingAWS (or empty) or ThrottlingOff.
	Throttling string
	// OnDemandLimits is OnDemandUnlimited (or empty) or OnDemandAWS.
	OnDemandLimits string
	// Inject are rules for what goes wrong at random, for tests of clients (see package inject), and InjectSeed makes it the same
	// each time.
	Inject     []string
	InjectSeed uint64
	// S3Dir is the directory whose folders are the buckets of exports, imports and bulk puts. Empty is s3 in DataDir, or, with
	// InMemory, a temporary directory that Close removes.
	S3Dir string
	// S3 is an S3-compatible store that has the buckets, in place of a directory, if it has an endpoint.
	S3 S3Options
	// DAX is the front end for clients of DynamoDB Accelerator.
	DAX DAXOptions
	// Logger gets the log; nil is none.
	Logger *slog.Logger
	// TestClock makes a clock that a request to /_stator/clock moves, for tests of what takes hours. Now is not used then. It needs
	// a server without CredentialsFile.
	TestClock bool
	// Now is the clock; nil is the system's.
	Now func() time.Time
}

// DAXOptions configure the front end for clients of DynamoDB Accelerator.
type DAXOptions struct {
	// Listen is the address at which to speak DAX's protocol (dax://); empty for none before a cluster is created.
	Listen string
	// TLSListen is the address for TLS (daxs://), with the certificate and key of these files; empty for none.
	TLSListen, Certificate, Key string
	// ItemTTL is how long items stay in the item cache; 0 is dax.DefaultItemTTL, less than 0 until they have to make room.
	ItemTTL time.Duration
	// QueryTTL is how long results stay in the query cache; 0 is dax.DefaultQueryTTL, less than 0 keeps none.
	QueryTTL time.Duration
	// Cache is how many bytes the caches of the node at Listen and TLSListen may take, and those of further clusters together; 0 is
	// dax.DefaultMemory.
	Cache int64
	// Advertise is the "host" or "host:port" that clients are told to connect to, where that isn't the address at which they came.
	Advertise string
}

// S3Options say where an S3-compatible store is.
type S3Options = objectstore.S3Options

// internal returns the options as package server has them.
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
		CredentialsFile: o.CredentialsFile,
		MetricsListen:   o.MetricsListen,
		Insecure:        o.Insecure,
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
