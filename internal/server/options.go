package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/statordb/stator/internal/access/policy"
	"github.com/statordb/stator/internal/auth"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/httpd"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/objectstore"
)

// Defaults of Options.
const (
	DefaultListen  = "127.0.0.1:8000"
	DefaultDataDir = "stator-data"

	DefaultTTLInterval = time.Second
)

// Values of Options.Throttling.
const (
	// ThrottlingAWS throttles as AWS does: provisioned tables and GSIs, and on-demand ones with a maximum.
	ThrottlingAWS = "aws"
	// ThrottlingOff throttles nothing.
	ThrottlingOff = "off"
)

// Values of Options.OnDemandLimits.
const (
	// OnDemandUnlimited lets on-demand tables run as fast as the machine allows.
	OnDemandUnlimited = "none"
	// OnDemandAWS limits on-demand tables as AWS does: 4,000 writes and 12,000 reads per second at first, then twice the earlier
	// peak.
	OnDemandAWS = "aws"
)

// Options are stator.Options, which documents the exported fields, plus Stator's version and settings for tests.
type Options struct {
	Version         string
	Listen          string
	DataDir         string
	InMemory        bool
	Storage         string
	Name            string
	Durability      string
	Cache           int64
	MemoryLimit     int64
	MinFree         int64
	SharedNamespace bool
	CredentialsFile string
	SecretsKeyFile  string
	SecretsKey      string
	Policies        string
	WebIdentity     string
	MetricsListen   string
	Insecure        bool
	TLS             TLSOptions
	InsecureHTTP    bool
	AuditLog        string
	AuditSelectors  string
	AuditOverflow   string
	CORSOrigins     []string
	AllowHosts      []string
	MaxMetrics      int
	TransientStatus time.Duration
	TTLInterval     time.Duration
	NoChangeLimits  bool
	Throttling      string
	OnDemandLimits  string
	Inject          []string
	InjectSeed      uint64
	S3Dir           string
	S3              S3Options
	DAX             DAXOptions
	Logger          *slog.Logger
	TestClock       bool
	Now             func() time.Time

	// For tests: a file system instead of the operating system's, the interval of disk checks, limits on clients, and a wrapper
	// around the engine.
	fs           vfs.FS
	check        time.Duration
	limits       httpd.Limits
	tables       int  // maximum of tables per account and region; 0 follows NoChangeLimits
	sharesByHand bool // the test calls servers.share itself; no goroutine does
	// closeTimeout overrides the constant closeTimeout; 0 keeps it.
	closeTimeout time.Duration
	wrap         func(kv.Store) kv.Store
	// issuer and role stand in for IAM: who knows users' access keys, and the role with an ARN, or nil.
	issuer auth.Issuer
	role   func(arn string) *policy.Identity

	stamps func() time.Time                           // clock for the stamps of change records; nil means the storage's
	id     string                                     // of this server among those that share Storage
	evict  func(ctx context.Context, id string) error // ends another server's transactions; nil if the engine needs no such help
}

// TLSOptions mirrors stator.TLSOptions, which documents the fields.
type TLSOptions struct{ Certificate, Key, ClientCA, Principals string }

// S3Options locate an S3-compatible store.
type S3Options = objectstore.S3Options

// storage returns the part of the options that package engine needs.
func (o *Options) storage() *engine.Options {
	return &engine.Options{
		Storage: o.Storage, ID: o.id, DataDir: o.DataDir, InMemory: o.InMemory, Durability: o.Durability, Cache: o.Cache, MinFree: o.MinFree,
		Logger: o.Logger, Now: o.Now, Stamps: o.stamps, FS: o.fs, Check: o.check,
	}
}

// maxTables returns the maximum of tables per account and region; 0 means no maximum.
func (o *Options) maxTables() int {
	switch {
	case o.tables > 0:
		return o.tables
	case o.NoChangeLimits:
		return 0
	}
	return catalog.DefaultMaxTables
}
