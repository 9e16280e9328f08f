package cloudwatch

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// seriesWatcher hears of metrics that other servers have met first.
type seriesWatcher struct{ *store }

// Freeze implements fleet.Watcher.
func (seriesWatcher) Freeze([]byte) {}

// Reload implements fleet.Watcher.
func (w seriesWatcher) Reload(ctx context.Context, key []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	raw, err := kv.ReadLatest(ctx, w.kv, key)
	if err != nil {
		return err
	}
	id := binary.BigEndian.Uint32(key[len(key)-4:])
	if raw == nil {
		maps.DeleteFunc(w.series, func(_ string, m *series) bool { return m.id == id })
		return nil
	}
	m := &series{id: id}
	if err := json.Unmarshal(raw, m); err != nil {
		return fmt.Errorf("description of metric %x: %w", key, err)
	}
	at := seriesKey(&m.ID, m.Unit)
	if old := w.series[at]; old == nil || old.id != id {
		w.series[at] = m
	}
	return nil
}

// alarmWatcher hears of alarms that other servers have changed.
type alarmWatcher struct{ *Service }

// Freeze implements fleet.Watcher.
func (alarmWatcher) Freeze([]byte) {}

// Reload implements fleet.Watcher.
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
	w.alarms[a.id()] = a
	return nil
}
