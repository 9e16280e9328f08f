// Package tikvtest makes stores for tests: over the client's mock cluster, whose regions split while they are in use, or, if
// STATOR_TEST_TIKV names the placement drivers of a real cluster, over that.
package tikvtest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/tikv/client-go/v2/oracle"
	"github.com/tikv/client-go/v2/testutils"
	"github.com/tikv/client-go/v2/tikv"
	"github.com/tikv/client-go/v2/util/codec"

	"github.com/statordb/stator/engines/tikv/tikvkv"
	"github.com/statordb/stator/internal/kv"
)

// Cluster is a mock cluster.
type Cluster struct {
	cluster *testutils.MockCluster
	open    func() (*tikv.KVStore, error)
}

// shared is a client of a cluster with several users: closing one of them must not close it.
type shared struct{ tikv.Client }

func (shared) Close() error { return nil }

// splitInterval is how often a region splits.
const splitInterval = 10 * time.Millisecond

// New makes a cluster of three TiKV stores, whose regions keep splitting until the test ends.
func New(t testing.TB) *Cluster {
	t.Helper()
	client, cluster, pd, err := testutils.NewMockTiKV("", nil)
	if err != nil {
		t.Fatal(err)
	}
	testutils.BootstrapWithMultiStores(cluster, 3)
	c := &Cluster{cluster, func() (*tikv.KVStore, error) { return tikv.NewTestTiKVStore(shared{client}, pd, nil, nil, 0) }}
	db, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(splitInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if err := c.split(db); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-stopped
		if err := errors.Join(db.Close(), client.Close()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// maxRegions bounds the regions of a cluster.
const maxRegions = 200

// split splits a region at a random key.
func (c *Cluster) split(db *tikv.KVStore) error {
	ts, err := db.CurrentTimestamp(oracle.GlobalTxnScope)
	if err != nil {
		return err
	}
	at := []byte{byte(rand.IntN(256)), byte(rand.IntN(256))}
	it, err := db.GetSnapshot(ts).Iter(at, nil)
	if err != nil {
		return err
	}
	defer it.Close()
	for range rand.IntN(20) {
		if it.Valid() {
			if err := it.Next(); err != nil {
				return err
			}
		}
	}
	if !it.Valid() || len(c.cluster.GetAllRegions()) >= maxRegions {
		return nil
	}
	encoded := codec.EncodeBytes(nil, it.Key())
	region, _, _ := c.cluster.GetRegionByKey(encoded)
	if bytes.Equal(region.StartKey, encoded) {
		return nil
	}
	peers := c.cluster.AllocIDs(len(region.Peers))
	c.cluster.Split(region.Id, c.cluster.AllocID(), it.Key(), peers, peers[rand.IntN(len(peers))])
	return nil
}

// Store returns a store over the cluster, as one of several servers would have.
func (c *Cluster) Store(t testing.TB) *tikvkv.Store {
	t.Helper()
	db, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	return tikvkv.New(db, false, tikvkv.Options{})
}

// Real returns the addresses of the placement drivers of a real cluster, whose data the tests delete; "" for none.
func Real() string { return os.Getenv("STATOR_TEST_TIKV") }

// Empty removes all data of a store.
func Empty(t testing.TB, s kv.Store) {
	t.Helper()
	if err := s.DeleteRange(context.Background(), kv.Range{Start: []byte{0}, End: []byte{0xff, 0xff}}); err != nil {
		t.Fatal(err)
	}
}
