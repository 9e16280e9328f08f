package cloudwatch

import (
	"context"
	"encoding/json"
	"fmt"

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

// alarmWatcher learns of alarms that other servers have changed.
type alarmWatcher struct{ *Service }

// Freeze implements cluster.Watcher.
func (alarmWatcher) Freeze([]byte) {}

// Reload implements cluster.Watcher.
func (w alarmWatcher) Reload(ctx context.Context, key []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := kv.ReadLatest(ctx, w.KV, key)
	if err != nil {
		return err
	}
	if raw == nil {
		if account, region, name, ok := keyspace.SplitNamed(key); ok {
			delete(w.alarms, alarmID{account, region, name})
		}
		return nil
	}
	a := new(Alarm)
	if err := json.Unmarshal(raw, a); err != nil {
		return fmt.Errorf("alarm %q: %w", key, err)
	}
	a.size = len(raw)
	w.alarms[a.id()] = a
	return nil
}
