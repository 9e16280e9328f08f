package pgkv

import "strings"

// dialect is what differs between the databases that speak PostgreSQL's protocol.
type dialect struct {
	name string
	// create are the statements that make the tables.
	create []string
	// snapshots says that the database tells which transactions are under way (pg_current_snapshot), so that Stable is exact.
	// Without, it lags by stableLag.
	snapshots bool
	// lateral says that it takes scanMany.
	lateral bool
	// settings are of each connection. The statements are of few rows, found by their keys, whatever the tables' statistics say,
	// and a plan costs more than it can save.
	settings []string
	// repeatable begins a transaction that reads one state.
	repeatable string
}

const (
	createCounters = `CREATE TABLE IF NOT EXISTS stator_counters (k bytea NOT NULL, id bigint NOT NULL DEFAULT nextval('stator_ids'), v bytea NOT NULL, PRIMARY KEY (k, id))`
	createIDs      = `CREATE SEQUENCE IF NOT EXISTS stator_ids`
)

// The dialects. Only PostgreSQL's is tested by this project.
var (
	postgres = &dialect{
		name: "PostgreSQL", snapshots: true, lateral: true,
		settings:   []string{"plan_cache_mode = force_generic_plan", "enable_seqscan = off", "enable_hashjoin = off", "enable_mergejoin = off", "enable_bitmapscan = off", "jit = off"},
		repeatable: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		create: []string{
			// Servers that start at once would trip over each other's catalog entries.
			"SELECT pg_advisory_xact_lock(7305799842)",
			// Room on each page lets a row be updated in place. Values are not compressed, which costs more than it saves.
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
			// A key's first column is hashed if nothing is said.
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

// dialectOf returns the dialect of a database by what it says of itself.
func dialectOf(version string) *dialect {
	switch {
	case strings.Contains(version, "CockroachDB"):
		return cockroach
	case strings.Contains(version, "-YB-"):
		return yugabyte
	}
	return postgres
}
