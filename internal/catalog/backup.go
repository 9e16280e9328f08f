package catalog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/registry"
)

// Types and statuses of backups.
const (
	UserBackup   = "USER"
	SystemBackup = "SYSTEM" // made when a table with point-in-time recovery is deleted

	BackupCreating  = "CREATING"
	BackupAvailable = "AVAILABLE"
	BackupDeleted   = "DELETED"
)

// SystemBackupRetention is how long a deleted table's backup is kept ("Point-in-time backups for DynamoDB").
const SystemBackupRetention = 35 * 24 * time.Hour

// Backup is the state of a table at one moment: its description, and its items, stored under a table id of their own.
// It outlives its table.
type Backup struct {
	Table   Table // the description at that moment
	ID      string
	Name    string
	Type    string
	Status  string
	Created int64 // milliseconds since 1970
	Expires int64 `json:",omitempty"` // milliseconds since 1970; 0 for never
	Items   int64
	Bytes   int64          // of the items
	Data    uint32         // the table id in the items' keys
	Runs    attempts.Count `json:",omitzero"` // starts of the job that makes it
}

// Key returns the backup's key in Catalog.Backups.
func (b *Backup) Key() registry.ID {
	return registry.ID{Account: b.Table.Account, Region: b.Table.Region, Name: b.ID}
}

// ARN returns the backup's Amazon Resource Name.
func (b *Backup) ARN() string { return b.Table.ARN() + "/backup/" + b.ID }

// JobID returns a new id in the form that AWS gives to backups, exports and imports. ms is the start in milliseconds
// since 1970.
func JobID(ms int64) string { return fmt.Sprintf("%014d-%08x", ms, rand.Uint32()) }

// NewBackup stores a backup, and sets its Data to a new table id for its items.
func (c *Catalog) NewBackup(ctx context.Context, b *Backup) error {
	return registry.Update(ctx, c.store, kv.TxnOpt{Hint: [][]byte{keyspace.LastTableID()}}, func(txn *registry.Txn) (err error) {
		if b.Data, err = nextTableID(txn); err != nil {
			return err
		}
		return c.Backups.PutIn(txn, b.Key(), b)
	})
}

// RemoveBackup removes a backup, then its items. After a crash in between, Recover removes the items.
func (c *Catalog) RemoveBackup(ctx context.Context, b *Backup) error {
	dropped := Dropped{ID: b.Data}
	err := registry.Update(ctx, c.store, kv.TxnOpt{}, func(txn *registry.Txn) error {
		return errors.Join(putDropped(txn, dropped), c.Backups.RemoveIn(txn, b.Key()))
	})
	if err != nil {
		return err
	}
	return c.purge(ctx, dropped)
}

// ReadBackups returns all backups in a snapshot.
func ReadBackups(ctx context.Context, r kv.Reader) ([]*Backup, error) {
	return registry.Read[Backup](ctx, r, registry.Backups)
}

// lastBackup returns the system backup that remains of a table being deleted; nil if recovery is off.
func (c *Catalog) lastBackup(ctx context.Context, t *Table) (*Backup, error) {
	if t.Recovery == nil {
		return nil, nil
	}
	stats, err := c.Stats(ctx, t)
	if err != nil {
		return nil, err
	}
	b := &Backup{
		Table: *t, Type: SystemBackup, Status: BackupAvailable, Name: t.Name + "$DeletedTableBackup", Data: t.ID,
		Created: t.DeletingUntil, Items: stats.Items(0), Bytes: stats.Bytes(0),
	}
	b.ID = JobID(b.Created)
	b.Expires = time.UnixMilli(b.Created).Add(SystemBackupRetention).UnixMilli()
	return b, nil
}
