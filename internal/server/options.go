package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

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
	// ThrottlingAWS throttles tables and GSIs with provisioned throughput, and on-demand ones with a maximum, as AWS does.
	ThrottlingAWS = "aws"
	// ThrottlingOff throttles nothing.
	ThrottlingOff = "off"
)

// Values of Options.OnDemandLimits.
const (
	// OnDemandUnlimited lets on-demand tables run as fast as the machine.
	OnDemandUnlimited = "none"
	// OnDemandAWS gives them what AWS does: at first 4,000 writes and 12,000 reads per second, then twice the earlier peak.
	OnDemandAWS = "aws"
)

// Options are stator.Options, which says what each is for, with the version of Stator and what only tests set.
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
	MetricsListen   string
	Insecure        bool
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

	// For tests: a file system in place of the operating system's, an engine for the storage test://, how often to look after the disk, limits for clients, and
	// what stands between operations and the storage engine.
	fs     vfs.FS
	engine func() (kv.Store, error)

	check        time.Duration
	limits       httpd.Limits
	tables       int  // how many an account has in a region at most; 0 for as many as NoChangeLimits says
	sharesByHand bool // the test calls servers.share, and nothing else does
	// closeTimeout is how long Close waits for requests under way; 0 is closeTimeout.
	closeTimeout time.Duration
	wrap         func(kv.Store) kv.Store

	stamps func() time.Time                           // the clock that change records are stamped by; nil is the storage's
	id     string                                     // of the server among those of Storage
	evict  func(ctx context.Context, id string) error // ends what another of them has under way; nil for nothing
}

// S3Options say where an S3-compatible store is.
type S3Options = objectstore.S3Options

// storage returns what the options say of the storage.
func (o *Options) storage() *engine.Options {
	return &engine.Options{
		Storage: o.Storage, ID: o.id, DataDir: o.DataDir, InMemory: o.InMemory, Durability: o.Durability, Cache: o.Cache, MinFree: o.MinFree,
		Logger: o.Logger, Now: o.Now, Stamps: o.stamps, FS: o.fs, Check: o.check, Test: o.engine,
	}
}

// maxTables is how many tables an account may have in a region; 0 for any number.
func (o *Options) maxTables() int {
	switch {
	case o.tables > 0:
		return o.tables
	case o.NoChangeLimits:
		return 0
	}
	return catalog.DefaultMaxTables
}
