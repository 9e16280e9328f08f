package cloudwatch

import (
	"context"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// seriesWatcher learns of series that other servers have removed.
type seriesWatcher struct{ *store }

// Freeze implements cluster.Watcher.
func (seriesWatcher) Freeze([]byte) {}

// Reload implements cluster.Watcher.
func (w seriesWatcher) Reload(ctx context.Context, key []byte) error {
	raw, err := kv.ReadLatest(ctx, w.kv, key)
	if err == nil && raw == nil {
		w.drop(keyspace.MetricID(key))
	}
	return err
}
