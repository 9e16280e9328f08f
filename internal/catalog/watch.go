package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

// tableWatcher keeps the published tables equal to the store's.
type tableWatcher struct{ *Catalog }

// Freeze implements cluster.Watcher: when it returns, no write to the table is in progress.
func (w tableWatcher) Freeze(key []byte) {
	account, region, name, ok := keyspace.SplitNamed(key)
	if !ok {
		return
	}
	w.publishing.Lock()
	t := (*w.tables.Load())[tableName{Namespace{account, region}, name}]
	if t == nil {
		w.publishing.Unlock()
		return
	}
	w.frozen[string(key)] = t // stays the current description until the thaw
	w.publishing.Unlock()
	t.freeze()
}

// Reload implements cluster.Watcher.
func (w tableWatcher) Reload(ctx context.Context, key []byte) error {
	return w.reloadTable(ctx, key, true)
}

// reloadTable publishes the stored description of a table. A frozen table stays published unless thaw is set.
func (c *Catalog) reloadTable(ctx context.Context, key []byte, thaw bool) error {
	account, region, name, ok := keyspace.SplitNamed(key)
	if !ok {
		return nil
	}
	at := tableName{Namespace{account, region}, name}
	c.publishing.Lock()
	defer c.publishing.Unlock()
	if c.frozen[string(key)] != nil && !thaw {
		return nil
	}
	fresh, err := c.read(ctx, key)
	if err != nil {
		return err
	}
	c.publish(at, fresh)
	if t := c.frozen[string(key)]; t != nil {
		delete(c.frozen, string(key))
		t.thaw()
	}
	c.signal()
	return nil
}

// publish replaces the description that lookups find; nil removes the table. The caller holds c.publishing.
func (c *Catalog) publish(at tableName, fresh *Table) {
	tables := maps.Clone(*c.tables.Load())
	old := tables[at]
	if fresh != nil {
		tables[at] = fresh
	} else {
		delete(tables, at)
	}
	c.tables.Store(&tables)
	if old == nil {
		return
	}
	// Writers that still hold the old description look the table up again: see Table.Use.
	old.retire()
	if fresh == nil || fresh.ID != old.ID {
		c.opt.Meters.Forget(old.ID)
	}
}

// read returns the stored description of a table; nil if the table does not exist.
func (c *Catalog) read(ctx context.Context, key []byte) (*Table, error) {
	raw, err := kv.ReadLatest(ctx, c.store, key)
	if err != nil || raw == nil {
		return nil, err
	}
	t, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("description of table %q: %w", key, err)
	}
	return t, c.meter(t)
}

// streamWatcher keeps the published ended streams equal to the store's.
type streamWatcher struct{ *Catalog }

// Freeze implements cluster.Watcher. Nobody writes to an ended stream.
func (streamWatcher) Freeze([]byte) {}

// Reload implements cluster.Watcher.
func (w streamWatcher) Reload(ctx context.Context, key []byte) error { return w.reloadStream(ctx, key) }

// reloadStream publishes an ended stream as it is stored, or removes it.
func (c *Catalog) reloadStream(ctx context.Context, key []byte) error {
	c.publishing.Lock()
	defer c.publishing.Unlock()
	raw, err := kv.ReadLatest(ctx, c.store, key)
	if err != nil {
		return err
	}
	ended := maps.Clone(*c.ended.Load())
	maps.DeleteFunc(ended, func(_ string, ref *StreamRef) bool {
		return string(keyspace.EndedStream(ref.TableID, ref.Label)) == string(key)
	})
	if raw != nil {
		ref := new(StreamRef)
		if err := json.Unmarshal(raw, ref); err != nil {
			return fmt.Errorf("description of stream %q: %w", key, err)
		}
		ended[ref.ARN()] = ref
	}
	c.ended.Store(&ended)
	return nil
}
