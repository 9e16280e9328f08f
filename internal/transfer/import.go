package transfer

import (
	"cmp"
	"context"
	"errors"
	"log/slog"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/table"
)

// Import is an import of objects into a new table.
type Import struct {
	catalog.Namespace
	ID          string
	Caller      string // the account that requested it; "" for the table's account, in records of earlier versions
	Table       string // the name of the table
	TableUUID   string
	Version     Version
	Request     ImportRequest
	Fingerprint string // hash of the request, for idempotency
	Status      string
	Start, End  int64    // milliseconds since 1970
	Bytes       int64    // of the objects read so far
	Processed   int64    // items read
	Imported    int64    // items accepted, including those replaced by later ones with the same key
	Errors      int64    // items refused
	Failure     *Failure `json:",omitempty"`
	Runs        attempts.Count
}

// Key returns the import's key in Manager.Imports.
func (i *Import) Key() registry.ID {
	return registry.ID{Account: i.Account, Region: i.Region, Name: i.ID}
}

// TableARN returns the Amazon Resource Name of the table.
func (i *Import) TableARN() string { return catalog.ARN(i.Namespace, i.Table) }

// ARN returns the import's Amazon Resource Name.
func (i *Import) ARN() string { return i.TableARN() + "/import/" + i.ID }

// maxLogged bounds the refused items that an import logs ("DynamoDB import formats, quotas, and validation").
const maxLogged = 10000

// errItems is the failure of an import that refused some items.
var errItems = &Failure{"ItemValidationError", "Some of the items failed validation checks and were not imported. Please check CloudWatch error logs for more details."}

// StartImport creates a table and starts to fill it. If the name is taken, it returns the existing table.
func (m *Manager) StartImport(ctx context.Context, i *Import, t *catalog.Table) (made *Import, taken *catalog.Table, err error) {
	i.Version, i.ID, i.Status, i.Start = recordVersion, catalog.JobID(m.Now().UnixMilli()), InProgress, m.Now().UnixMilli()
	t.Loading = &catalog.Loading{Import: i.ID}
	// Store the record first: without it, a restart would not know how to fill the table.
	if err := m.Imports.Put(ctx, i.Key(), i); err != nil {
		return nil, nil, err
	}
	taken, err = m.Tables.Catalog.Create(ctx, t)
	if err != nil || taken != nil {
		err2 := m.Imports.Remove(ctx, i.Key())
		return nil, taken, errors.Join(err, err2)
	}
	i = m.Imports.Get(i.Key())
	m.startImport(i)
	return i, nil, nil
}

// startImport runs an import in the background, always from its beginning.
func (m *Manager) startImport(i *Import) {
	run := &attempts.Run{Suspects: m.Suspects, Change: func(ctx context.Context, change func(*attempts.Count) error) error {
		_, err := m.Imports.Change(ctx, i.Key(), func(now *Import) error { return change(&now.Runs) })
		return err
	}}
	due := func() bool {
		now := m.Imports.Get(i.Key())
		return now != nil && now.Status == InProgress
	}
	m.Jobs.Start("import "+i.ARN(), jobs.Job{Due: due, Run: func(ctx context.Context) error {
		select {
		// Wait for a slot before reading anything.
		case m.filling <- struct{}{}:
			defer func() { <-m.filling }()
		case <-ctx.Done():
			return ctx.Err()
		}
		t := m.Tables.Catalog.Get(i.Namespace, i.Table)
		x := &importer{Manager: m, Import: *i, runs: run}
		// An import starts from nothing, whatever an earlier attempt has counted.
		x.Processed, x.Imported, x.Errors, x.Bytes, x.Failure = 0, 0, 0, 0, nil
		if now := m.Imports.Get(i.Key()); now != nil && now.Status != InProgress { // only the table's part has failed before
			return m.endTable(ctx, now)
		}
		err := run.Begin(ctx, 0)
		switch {
		case err != nil:
		case t == nil || t.Loading == nil || t.Loading.Import != i.ID:
			err = &Failure{"TableNotFound", "The table was deleted before the import was done"}
		default:
			err = guard.Run(m.Logger, "an import", func() error { return x.run(ctx, t) })
		}
		if err := run.End(ctx); err != nil {
			return err
		}
		return m.endImport(ctx, x.Import, err)
	}})
}

// endImport records the outcome of an import; err says why it failed. A table that could not be filled is deleted. An import that refused
// items has failed too, but the table keeps the others.
func (m *Manager) endImport(ctx context.Context, i Import, err error) error {
	i.Status, i.End = Completed, m.Now().UnixMilli()
	if i.Errors > 0 {
		i.Status, i.Failure = Failed, errItems
	}
	if err != nil {
		m.Logger.Warn("an import failed", "import", i.ARN(), "error", message(err))
		i.Status, i.Failure, i.Imported = Failed, failure(err), 0
	}
	// The record comes first: after a crash in between, Resume ends the table's part, and could not tell the outcome from the table.
	if _, err := m.Imports.Change(ctx, i.Key(), func(now *Import) error { *now = i; return nil }); err != nil {
		return err
	}
	return m.endTable(ctx, &i)
}

// endTable makes the table of an import that has ended usable, or deletes it if the import could not fill it.
func (m *Manager) endTable(ctx context.Context, i *Import) error {
	t := m.Tables.Catalog.Get(i.Namespace, i.Table)
	switch {
	case t == nil || t.Loading == nil || t.Loading.Import != i.ID:
		return nil
	case i.Status == Completed || *i.Failure == *errItems:
		return m.Tables.FinishLoading(ctx, t)
	}
	return m.Tables.AbandonLoading(ctx, t)
}

// importer is an import in progress.
type importer struct {
	*Manager
	Import
	runs *attempts.Run
}

// file returns how to read the objects.
func (i *Import) file(t *catalog.Table) itemfile.Options {
	o := itemfile.Options{Format: i.Request.InputFormat.Value, Compression: i.Request.InputCompressionType.Value}
	if f := i.Request.InputFormatOptions; f != nil && f.Csv != nil {
		o.Headers = f.Csv.HeaderList
		if f.Csv.Delimiter.Set {
			o.Delimiter = f.Csv.Delimiter.Value[0]
		}
	}
	o.Types = map[string]attribute.Type{}
	for _, a := range t.Attributes {
		o.Types[a.Name] = a.Type
	}
	return o
}

// run sorts the items of all objects, and fills the table with them.
func (x *importer) run(ctx context.Context, t *catalog.Table) error {
	from := x.Request.S3BucketSource
	store, err := x.bucket(cmp.Or(x.Caller, x.Account), from.S3Bucket.Value, from.S3BucketOwner.Value, false)
	if err != nil {
		return err
	}
	src := &source{store: store, bucket: from.S3Bucket.Value, prefix: from.S3KeyPrefix.Value, file: x.file(t)}
	list, _, err := src.list(ctx)
	if err != nil && !errors.Is(err, objectstore.ErrNoObject) { // AWS makes an empty table if there is no object
		return err
	}
	items := x.Tables.NewSorted()
	err = x.sort(ctx, t, src, list, items)
	if err == nil {
		_, err = x.Tables.Fill(ctx, t, func(part int, put table.PutItem) error {
			return items.Each(part, func(key, val []byte) error {
				if err := x.step(ctx); err != nil {
					return err
				}
				return put(keyspace.Suffix(key), attribute.Item(val))
			})
		})
	}
	return errors.Join(err, items.Close())
}

// step counts an item that was read or put.
func (x *importer) step(ctx context.Context) error {
	return errors.Join(ctx.Err(), x.runs.Step(ctx, 1))
}

// sort reads all objects. Of several items with the same key, the last one wins, in the order of the objects' keys.
func (x *importer) sort(ctx context.Context, t *catalog.Table, src *source, list []objectstore.Object, items *table.Sorted) error {
	// Check records where they are parsed, on several processors.
	src.check = func(rec *itemfile.Record) {
		if rec.Err == nil && rec.Item == nil {
			rec.Err = itemfile.ErrEmptyRecord
		}
		if rec.Err == nil {
			rec.Err = x.rules.CheckItem(t, rec.Item)
		}
	}
	for _, o := range list {
		if err := x.sortObject(ctx, t, src, o.Key, items); err != nil {
			return err
		}
		x.Bytes += o.Size
		_, err := x.Imports.Change(ctx, x.Key(), func(now *Import) error {
			now.Bytes, now.Processed, now.Imported, now.Errors = x.Bytes, x.Processed, x.Imported, x.Errors
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// errUnreadable ends an object at a record that can't be read.
var errUnreadable = errors.New("a record can't be read")

// sortObject adds the items of an object. Like AWS it reads no further than the first record that is no JSON.
func (x *importer) sortObject(ctx context.Context, t *catalog.Table, src *source, object string, items *table.Sorted) error {
	var key []byte
	n := 0
	err := src.read(ctx, object, func(p parsed) error {
		for i := range p.records {
			if err := x.step(ctx); err != nil {
				return err
			}
			x.Processed++
			if rec := &p.records[i]; rec.Err != nil {
				x.refuse(object, n, rec.Err)
				if rec.Unreadable {
					return errUnreadable
				}
			} else {
				x.Imported++
				key = t.AppendItemKey(key[:0], rec.Item)
				if err := items.Add(key, rec.Item); err != nil {
					return err
				}
			}
			n++
		}
		return nil
	})
	var damaged *Failure
	switch {
	case errors.Is(err, errUnreadable):
		return nil
	case errors.As(err, &damaged) && damaged.Code == invalidInput: // an object that is not in the format counts as one item
		x.Processed++
		x.refuse(object, n, err)
		return nil
	}
	return err
}

// refuse counts an item that can't be imported, and logs it in AWS's format.
func (x *importer) refuse(object string, index int, err error) {
	if x.Errors++; x.Errors <= maxLogged {
		x.Logger.Warn("an item was not imported", "importArn", x.ARN(), "errorMessages", []string{message(err)},
			slog.Group("itemS3Pointer", "bucket", x.Request.S3BucketSource.S3Bucket.Value, "key", object, "itemIndex", index))
	}
}
