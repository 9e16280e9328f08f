package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/engine"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// Cluster is what is known of the servers that share a storage.
type Cluster struct {
	Servers []ClusterServer
	// Format is the version of the layout in which the storage is written.
	Format int
	// Leases say which server does which job, by the server's ID.
	Leases map[string]string
	// Changes is how many changes of tables, alarms and the like there were so far.
	Changes uint64
	// Changing is the key of what is being changed, and ChangedBy the ID of the server that does so; empty for nothing.
	Changing, ChangedBy string
	// StreamLag is how far the records that streams show are behind.
	StreamLag time.Duration
}

// ClusterServer is one of the servers.
type ClusterServer struct {
	ID, URL, Version string
	Format           int // the newest format that it understands; 0 before format 4
	DAX              []string
	Started          time.Time
	// Alive says that it has renewed its lease while it was watched.
	Alive bool
	// Behind is how many changes it has not seen yet.
	Behind uint64
}

// watchFor is how long servers are watched: longer than the interval in which they renew their leases.
const watchFor = 2500 * time.Millisecond

// ReadCluster returns what is known of the servers that share a storage. It watches them for some seconds.
func ReadCluster(ctx context.Context, storage string) (_ *Cluster, err error) {
	store, err := engine.OpenTool(ctx, storage, false, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	before, _, err := readFleet(ctx, store)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(watchFor):
	}
	now, format, err := readFleet(ctx, store)
	if err != nil {
		return nil, err
	}
	beats := map[string]uint64{}
	for _, s := range before.Servers {
		beats[s.ID] = s.Beat
	}
	c := &Cluster{Format: format, Leases: map[string]string{}, Changes: now.Log, Changing: string(now.Frozen), ChangedBy: now.Holder}
	for _, s := range now.Servers {
		beat, seen := beats[s.ID]
		c.Servers = append(c.Servers, ClusterServer{
			ID: s.ID, URL: s.URL, Version: s.Version, Format: s.Format, DAX: s.DAX, Started: time.UnixMilli(s.Started),
			Alive: !seen || s.Beat > beat, Behind: now.Log - min(now.Log, s.Seen),
		})
	}
	for _, l := range now.Leases {
		c.Leases[l.Job] = l.Holder
	}
	at, err := store.Now(ctx)
	if err != nil {
		return nil, err
	}
	stable, err := store.Stable(ctx)
	if err != nil {
		return nil, err
	}
	c.StreamLag = time.Duration(max(0, at.Millis()-stable.Millis())) * time.Millisecond
	return c, nil
}

// UpgradeStorage has the servers that share a storage write it in the newest format from now on, which older ones don't understand
// and refuse to start with. It returns the format that was in use. It is an error if a server that lives is older.
func UpgradeStorage(ctx context.Context, storage string) (from int, err error) {
	c, err := ReadCluster(ctx, storage)
	if err != nil {
		return 0, err
	}
	for _, s := range c.Servers {
		if s.Alive && s.Format < keyspace.FormatVersion {
			return c.Format, fmt.Errorf("server %s (%s, version %s) does not understand format %d: replace it first", s.ID, s.URL, s.Version, keyspace.FormatVersion)
		}
	}
	store, err := engine.OpenTool(ctx, storage, false, nil)
	if err != nil {
		return c.Format, err
	}
	err = kv.Update(ctx, store, kv.TxnOpt{Hint: [][]byte{keyspace.Format()}}, func(txn kv.Txn) error {
		return catalog.PutFormat(txn, keyspace.FormatVersion)
	})
	return c.Format, errors.Join(err, store.Close())
}

func readFleet(ctx context.Context, store kv.Store) (s cluster.State, format int, err error) {
	r, err := store.Snapshot(ctx)
	if err != nil {
		return s, 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if format, err = catalog.ReadFormat(r); err != nil {
		return s, 0, err
	}
	s, err = cluster.Read(ctx, r)
	return s, format, err
}
