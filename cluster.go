package stator

import (
	"context"
	"errors"
	"time"

	"github.com/statordb/stator/internal/fleet"
	"github.com/statordb/stator/internal/kv"
)

// Cluster is what is known of the servers that share a storage.
type Cluster struct {
	Servers []ClusterServer
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
	store, err := openStorage(ctx, &Options{Storage: storage, id: "stator-tool"})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	before, err := readFleet(ctx, store)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(watchFor):
	}
	now, err := readFleet(ctx, store)
	if err != nil {
		return nil, err
	}
	beats := map[string]uint64{}
	for _, s := range before.Servers {
		beats[s.ID] = s.Beat
	}
	c := &Cluster{Leases: map[string]string{}, Changes: now.Log, Changing: string(now.Frozen), ChangedBy: now.Holder}
	for _, s := range now.Servers {
		beat, seen := beats[s.ID]
		c.Servers = append(c.Servers, ClusterServer{
			ID: s.ID, URL: s.URL, Version: s.Version, DAX: s.DAX, Started: time.UnixMilli(s.Started),
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

func readFleet(ctx context.Context, store kv.Store) (fleet.State, error) {
	r, err := store.Snapshot(ctx)
	if err != nil {
		return fleet.State{}, err
	}
	s, err := fleet.Read(ctx, r)
	return s, errors.Join(err, r.Close())
}
