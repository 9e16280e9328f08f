package pgkv

import "strings"

// dialect is what differs between databases that speak PostgreSQL's protocol.
type dialect struct {
	name string
	// create are the statements that create the tables.
	create []string
	// snapshots means that the database tells which transactions are in progress (pg_current_snapshot), which makes Stable
	// exact. Without it, Stable lags by stableLag.
	snapshots bool
	// lateral means that the database supports scanMany.
	lateral bool
	// settings are made on each connection. All statements read few rows by their keys, whatever the tables' statistics
	// say, and planning costs more than it could save.
	settings []string
	// repeatable begins a read-only transaction that sees one snapshot.
	repeatable string
}

const (
	createCounters = `CREATE TABLE IF NOT EXISTS stator_counters (k bytea NOT NULL, id bigint NOT NULL DEFAULT nextval('stator_ids'), v bytea NOT NULL, PRIMARY KEY (k, id))`
	createIDs      = `CREATE SEQUENCE IF NOT EXISTS stator_ids`
)

// The supported dialects. This project tests only PostgreSQL's.
var (
	postgres = &dialect{
		name: "PostgreSQL", snapshots: true, lateral: true,
		settings:   []string{"plan_cache_mode = force_generic_plan", "enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off", "enable_bitmapscan = off", "jit = off"},
		repeatable: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		create: []string{
			// Servers that start at the same time would conflict in the system catalog.
			"SELECT pg_advisory_xact_lock(7305799842)",
			// Free space on each page allows updates in place (HOT). Values are stored uncompressed: compressing costs
			// more than it saves.
			"CREATE TABLE IF NOT EXISTS stator_kv (k bytea PRIMARY KEY, v bytea NOT NULL) WITH (fillfactor = 85)",
			"ALTER TABLE stator_kv ALTER COLUMN v SET STORAGE EXTERNAL",
			"CREATE SEQUENCE IF NOT EXISTS stator_ids CACHE 1",
			createCounters,
		},
	}
	yugabyte = &dialect{
		name:       "YugabyteDB",
		repeatable: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		create: []string{
			// YugabyteDB hashes the first column of a key unless told otherwise.
			"CREATE TABLE IF NOT EXISTS stator_kv (k bytea NOT NULL, v bytea NOT NULL, PRIMARY KEY (k ASC))",
			createIDs,
			"CREATE TABLE IF NOT EXISTS stator_counters (k bytea NOT NULL, id bigint NOT NULL DEFAULT nextval('stator_ids'), v bytea NOT NULL, PRIMARY KEY (k ASC, id ASC))",
		},
	}
	cockroach = &dialect{
		name:       "CockroachDB",
		repeatable: "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
		create: []string{
			"CREATE TABLE IF NOT EXISTS stator_kv (k bytea PRIMARY KEY, v bytea NOT NULL)",
			createIDs,
			createCounters,
		},
	}
)

// dialectOf returns the dialect of the database with this version string.
func dialectOf(version string) *dialect {
	switch {
	case strings.Contains(version, "CockroachDB"):
		return cockroach
	case strings.Contains(version, "-YB-"):
		return yugabyte
	}
	return postgres
}
