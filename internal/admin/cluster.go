// Package admin works on whole stores, for commands and operators: it copies, verifies and upgrades them, and describes the
// servers that share one. Its subpackages do the verification and back up data directories.
//
// It opens stores itself, so a data directory must not be in use by a server; servers of a shared storage may run.
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
	"github.com/statordb/stator/internal/wait"
)

// Cluster is the state of the servers that share a storage, as the storage records it.
type Cluster struct {
	Servers []ClusterServer
	// Format is the version of the storage's format.
	Format int
	// Leases maps each job to the ID of the server that leads it.
	Leases map[string]string
	// Changes counts the entries of the change log so far: changes of tables, alarms and other data that servers cache.
	Changes uint64
	// Changing is the key that is frozen for a change, and ChangedBy the ID of the server that changes it; both are empty if
	// none is.
	Changing, ChangedBy string
	// StreamLag is how far streams are behind the present: younger records are not shown yet.
	StreamLag time.Duration
}

// ClusterServer is one of the servers that share a storage.
type ClusterServer struct {
	ID, URL, Version string
	Format           int // newest format that it understands; 0 if it predates format 4
	DAX              []string
	Started          time.Time
	// Alive means that the server renewed its record while ReadCluster watched, or joined meanwhile.
	Alive bool
	// Behind is the number of changes that the server has not applied yet.
	Behind uint64
}

// watchFor is how long ReadCluster watches. It must exceed the interval at which servers renew their records.
const watchFor = 2500 * time.Millisecond

// ReadCluster returns the state of the servers that share a storage. It takes about watchFor, because it judges a server's
// health by watching its record change, without comparing clocks.
func ReadCluster(ctx context.Context, storage string) (_ *Cluster, err error) {
	store, err := engine.OpenTool(ctx, storage, false, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	before, _, err := readCluster(ctx, store)
	if err != nil {
		return nil, err
	}
	if err := wait.Pause(ctx, watchFor); err != nil {
		return nil, err
	}
	now, format, err := readCluster(ctx, store)
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

// UpgradeStorage raises a shared storage to the newest format and returns the previous one. Older versions of Stator can no
// longer open the storage afterwards, so it fails if a live server does not understand the new format.
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

// readCluster reads the servers' state and the storage's format from one snapshot.
func readCluster(ctx context.Context, store kv.Store) (s cluster.State, format int, err error) {
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
