// Package backup makes backups of tables, and fills tables that are restored from a backup or from a table's history.
//
// A backup is the state at the moment of its request: it is copied in the background from a snapshot. A snapshot ends with the
// process, so a backup that was not finished then is taken again when the server starts, and its creation time says so.
//
// Source: "Backup and restore for DynamoDB", "Point-in-time backups for DynamoDB".
package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/pitr"
	"github.com/statordb/stator/internal/table"
)

// Manager makes and restores backups.
type Manager struct {
	Tables *table.Store
	Jobs   *jobs.Runner
	Now    func() time.Time
	// Suspects are shared by all jobs of the server.
	Suspects *attempts.Suspects
}

// ErrInUse means that the backup is being made or restored.
var ErrInUse = errors.New("backup: in use")

// ErrGone means that the source of a restore is no longer there.
var ErrGone = errors.New("backup: the source is gone")

// Resume continues what the end of an earlier process has interrupted.
func (m *Manager) Resume(ctx context.Context) error {
	var errs []error
	for _, b := range m.Tables.Catalog.Backups.All() {
		if b.Status == catalog.BackupCreating {
			mine, err := m.Jobs.Claim(ctx, "backup "+b.ARN(), func() bool { return m.creating(b) })
			if errs = append(errs, err); mine {
				errs = append(errs, m.retake(ctx, b))
			}
		}
	}
	for t := range m.Tables.Catalog.Tables() {
		if t.Recovery == nil { // the process ended between turning recovery off and deleting the history
			errs = append(errs, pitr.Trim(ctx, m.Tables.KV, t.ID, pitr.Latest))
		}
		if t.Restoring() && t.DeletingUntil == 0 {
			mine, err := m.Jobs.Claim(ctx, "restore "+t.ARN(), func() bool { return m.restoring(t) })
			if errs = append(errs, err); mine {
				errs = append(errs, m.resume(ctx, t))
			}
		}
	}
	return errors.Join(errs...)
}

// creating reports whether a backup is still being made.
func (m *Manager) creating(b *catalog.Backup) bool {
	now := m.Tables.Catalog.Backups.Get(b.Key())
	return now != nil && now.Status == catalog.BackupCreating
}

// restoring reports whether a table is still being restored.
func (m *Manager) restoring(t *catalog.Table) bool {
	now := m.Tables.Catalog.Get(t.Namespace, t.Name)
	return now != nil && now.ID == t.ID && now.Restoring() && now.DeletingUntil == 0
}

// Create starts a backup of a table. It returns once the backup is recorded; the copy continues in the background.
func (m *Manager) Create(ctx context.Context, t *catalog.Table, name string) (*catalog.Backup, error) {
	b := &catalog.Backup{Table: *t, Name: name, Type: catalog.UserBackup, Status: catalog.BackupCreating}
	snap, err := m.snapshot(ctx, b)
	if err != nil {
		return nil, err
	}
	b.ID = catalog.JobID(b.Created)
	if err := m.Tables.Catalog.NewBackup(ctx, b); err != nil {
		return nil, errors.Join(err, snap.Close())
	}
	b = m.Tables.Catalog.Backups.Get(b.Key()) // a copy that holds no memory of the request
	m.copy(b, snap)
	return b, nil
}

// snapshot takes the snapshot to copy, and sets the backup's time and counts accordingly.
func (m *Manager) snapshot(ctx context.Context, b *catalog.Backup) (kv.Snapshot, error) {
	snap, err := m.Tables.KV.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	b.Created = m.Now().UnixMilli()
	stats, err := catalog.ReadStats(snap, b.Table.ID)
	if err != nil {
		return nil, errors.Join(err, snap.Close())
	}
	b.Items, b.Bytes = stats.Items(0), stats.Bytes(0)
	return snap, nil
}

// retake starts a backup again, or removes it if its table is gone.
func (m *Manager) retake(ctx context.Context, b *catalog.Backup) error {
	if t := m.Tables.Catalog.Get(b.Table.Namespace, b.Table.Name); t == nil || t.ID != b.Table.ID {
		m.Jobs.Report(fmt.Errorf("backup %s was not finished and its table has been deleted: removing the backup", b.ARN()))
		return m.Tables.Catalog.RemoveBackup(ctx, b)
	}
	// A new snapshot is of a later moment, so the time and the counts change with it.
	fresh := *b
	snap, err := m.snapshot(ctx, &fresh)
	if err != nil {
		return err
	}
	now, err := m.Tables.Catalog.Backups.Change(ctx, b.Key(), func(b *catalog.Backup) error {
		b.Created, b.Items, b.Bytes = fresh.Created, fresh.Items, fresh.Bytes
		return nil
	})
	if err != nil {
		return errors.Join(err, snap.Close())
	}
	m.copy(now, snap)
	return nil
}

// copy fills a backup from a snapshot in the background, and closes the snapshot.
func (m *Manager) copy(b *catalog.Backup, snap kv.Snapshot) {
	run := &attempts.Run{Suspects: m.Suspects, Change: func(ctx context.Context, change func(*attempts.Count) error) error {
		_, err := m.Tables.Catalog.Backups.Change(ctx, b.Key(), func(now *catalog.Backup) error { return change(&now.Runs) })
		return err
	}}
	m.Jobs.Start("backup "+b.ARN(), jobs.Job{Due: func() bool { return m.creating(b) }, Run: func(ctx context.Context) error {
		var filled table.Filled
		err := run.Begin(ctx, 0)
		if err == nil {
			err = guard.Run(nil, "a backup", func() (err error) {
				filled, err = m.fill(ctx, &catalog.Table{ID: b.Data}, snap, b.Table.ID, pitr.Latest, run)
				return err
			})
		}
		if err := run.End(ctx); err != nil {
			return err
		}
		switch {
		case errors.Is(err, attempts.ErrGivenUp):
			return m.giveUpBackup(ctx, b, err)
		case err != nil:
			return fmt.Errorf("backup %s: %w", b.ARN(), err)
		}
		_, err = m.Tables.Catalog.Backups.Change(ctx, b.Key(), func(b *catalog.Backup) error {
			b.Status, b.Items, b.Bytes = catalog.BackupAvailable, filled.Items, filled.Bytes
			return nil
		})
		return err
	}, Panicked: func(ctx context.Context, p *jobs.PanicError) error {
		return m.giveUpBackup(ctx, b, p)
	}, Done: func() { snap.Close() }})
}

// giveUpBackup removes a backup that can't be made, and reports why. Backups have no status for a failure ("BackupDetails").
func (m *Manager) giveUpBackup(ctx context.Context, b *catalog.Backup, why error) error {
	m.Jobs.Report(fmt.Errorf("removing backup %s, which can't be made: %w", b.ARN(), why))
	return m.Tables.Catalog.RemoveBackup(ctx, b)
}

// fill copies the state of a table or backup at a time to another, both given by the table ids in their items' keys.
// Each item is a step of run.
func (m *Manager) fill(ctx context.Context, to *catalog.Table, snap kv.Reader, from uint32, at kv.TS, run *attempts.Run) (table.Filled, error) {
	return m.Tables.Fill(ctx, to, func(part int, put table.PutItem) error {
		bounds := pitr.Part{Start: keyspace.HashBound(part, table.Parts), End: keyspace.HashBound(part+1, table.Parts)}
		return pitr.State(ctx, snap, from, bounds, at, func(suffix []byte, it attribute.Item) error {
			if err := run.Step(ctx, 1); err != nil {
				return err
			}
			return put(suffix, it)
		})
	})
}

// Delete removes a backup, unless it is being made or restored.
func (m *Manager) Delete(ctx context.Context, b *catalog.Backup) error {
	if b.Status != catalog.BackupAvailable {
		return ErrInUse
	}
	for t := range m.Tables.Catalog.Tables() {
		if t.Loading != nil && t.Loading.From == b.Data {
			return ErrInUse
		}
	}
	return m.Tables.Catalog.RemoveBackup(ctx, b)
}

// Expire removes the backups whose retention has ended.
func (m *Manager) Expire(ctx context.Context) error {
	var errs []error
	for _, b := range m.Tables.Catalog.Backups.All() {
		if b.Expires != 0 && m.Now().UnixMilli() >= b.Expires {
			if err := m.Delete(ctx, b); !errors.Is(err, ErrInUse) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// Trim deletes history older than each table's recovery period.
func (m *Manager) Trim(ctx context.Context) error {
	var errs []error
	for t := range m.Tables.Catalog.Tables() {
		if t.Recovery == nil {
			continue
		}
		before := kv.AtMillis(m.Now().AddDate(0, 0, -t.Recovery.Days).UnixMilli())
		errs = append(errs, pitr.Trim(ctx, m.Tables.KV, t.ID, before))
	}
	return errors.Join(errs...)
}

// Restore creates a table and starts to fill it from t.Loading. If the name is taken, it returns the existing table.
func (m *Manager) Restore(ctx context.Context, t *catalog.Table) (taken *catalog.Table, err error) {
	snap, err := m.Tables.KV.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	if !m.sourceExists(t.Loading) { // removed before the snapshot was taken, so the snapshot may lack it
		return nil, errors.Join(ErrGone, snap.Close())
	}
	taken, err = m.Tables.Catalog.Create(ctx, t)
	if err != nil || taken != nil {
		return taken, errors.Join(err, snap.Close())
	}
	m.restore(m.Tables.Catalog.Get(t.Namespace, t.Name), snap)
	return nil, nil
}

// sourceExists reports whether the source of a restore can still be read.
func (m *Manager) sourceExists(l *catalog.Loading) bool {
	if slices.ContainsFunc(m.Tables.Catalog.Backups.All(), func(b *catalog.Backup) bool { return b.Data == l.From }) {
		return true
	}
	for t := range m.Tables.Catalog.Tables() {
		if t.ID == l.From {
			return t.Recovery != nil && t.Recovery.Since <= l.At
		}
	}
	return false
}

// resume starts a restore again. If its source is gone, it deletes the table.
func (m *Manager) resume(ctx context.Context, t *catalog.Table) error {
	if !m.sourceExists(t.Loading) {
		m.Jobs.Report(fmt.Errorf("table %s was not fully restored and its source is gone: removing the table", t.ARN()))
		return m.Tables.AbandonLoading(ctx, t)
	}
	snap, err := m.Tables.KV.Snapshot(ctx)
	if err != nil {
		return err
	}
	m.restore(t, snap)
	return nil
}

// restore fills a table in the background and makes it ACTIVE. It closes the snapshot.
func (m *Manager) restore(t *catalog.Table, snap kv.Snapshot) {
	run := &attempts.Run{Suspects: m.Suspects, Change: func(ctx context.Context, change func(*attempts.Count) error) error {
		_, err := m.Tables.Catalog.Change(ctx, t.Namespace, t.Name, func(now *catalog.Table) error {
			if now.ID != t.ID || now.Loading == nil {
				return nil
			}
			return change(&now.Loading.Runs)
		})
		return err
	}}
	m.Jobs.Start("restore "+t.ARN(), jobs.Job{Due: func() bool { return m.restoring(t) }, Run: func(ctx context.Context) error {
		err := run.Begin(ctx, 0)
		if err == nil {
			err = guard.Run(nil, "a restore", func() error {
				_, err := m.fill(ctx, t, snap, t.Loading.From, t.Loading.At, run)
				return err
			})
		}
		if err := run.End(ctx); err != nil {
			return err
		}
		switch {
		case errors.Is(err, attempts.ErrGivenUp):
			return m.giveUpRestore(ctx, t, err)
		case err != nil:
			return fmt.Errorf("restoring table %s: %w", t.ARN(), err)
		}
		return m.Tables.FinishLoading(ctx, t)
	}, Panicked: func(ctx context.Context, p *jobs.PanicError) error {
		return m.giveUpRestore(ctx, t, p)
	}, Done: func() { snap.Close() }})
}

// giveUpRestore deletes a table that can't be restored, and reports why. Tables have no status for a failed restore
// ("TableDescription").
func (m *Manager) giveUpRestore(ctx context.Context, t *catalog.Table, why error) error {
	m.Jobs.Report(fmt.Errorf("removing table %s, which can't be restored: %w", t.ARN(), why))
	return m.Tables.AbandonLoading(ctx, t)
}
