package transfer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/index"
	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/wait"
)

// Bulk is a bulk operation: items from objects are put into a table that is in use.
type Bulk struct {
	catalog.Namespace
	ID          string
	Caller      string // the account that requested it; "" for the table's account, in records of earlier versions
	Table       string // name of the table
	TableUUID   string
	TableID     uint32
	Version     Version
	Request     BulkRequest
	Fingerprint string // hash of the request, for idempotency
	Status      string
	Start, End  int64 // milliseconds since 1970
	Total       int64 // bytes of all objects; 0 until known
	Progress
	Failure *Failure       `json:",omitempty"`
	Runs    attempts.Count // starts of the job
}

// Progress is the progress of a bulk operation. It is stored about once a second; after a restart the operation
// continues from there.
type Progress struct {
	Object   string // key of the object that is being read
	Records  int    // its records that are done
	Done     int64  // bytes of the objects that are done
	Bytes    int64  // bytes read
	Items    int64  // items processed
	Errors   int64
	PutBytes []int64 // put into the table and into each index, by its ID
	Reports  int     // report objects written
}

// Key returns the operation's key in Manager.Bulk.
func (b *Bulk) Key() registry.ID {
	return registry.ID{Account: b.Account, Region: b.Region, Name: b.ID}
}

// ARN returns the operation's Amazon Resource Name.
func (b *Bulk) ARN() string {
	return "arn:aws:dynamodb:" + b.Region + ":" + b.Account + ":bulk-operation/" + b.ID
}

func (b *Bulk) job() string { return "bulk operation " + b.ARN() }

const (
	// bulkItems and bulkBytes bound what one transaction of a bulk operation puts, and so how long writers of these items wait.
	bulkItems = 100
	bulkBytes = 256 << 10
	// saveEvery is how often progress is stored.
	saveEvery = time.Second
	// reportSize is the target size of a report object, in bytes.
	reportSize = 1 << 20
)

// StartBulk records a bulk operation and starts it.
func (m *Manager) StartBulk(ctx context.Context, b *Bulk) (*Bulk, error) {
	b.Version, b.ID, b.Status, b.Start = recordVersion, catalog.JobID(m.Now().UnixMilli()), InProgress, m.Now().UnixMilli()
	if err := m.Bulk.Put(ctx, b.Key(), b); err != nil {
		return nil, err
	}
	b = m.Bulk.Get(b.Key())
	m.startBulk(b)
	return b, nil
}

// CancelBulk requests the end of an operation. It returns nil if there is no such operation; one that has ended stays as it is.
func (m *Manager) CancelBulk(ctx context.Context, key registry.ID) (*Bulk, error) {
	b, err := m.Bulk.Change(ctx, key, func(b *Bulk) error {
		if b.Status == InProgress {
			b.Status = Cancelling
		}
		return nil
	})
	if err != nil || b == nil {
		return nil, err
	}
	m.Jobs.Cancel(b.job())
	if b.Status == Cancelling {
		m.startBulk(b) // in case the job ended without seeing the request
	}
	return b, nil
}

// errCancelled is the failure of a cancelled operation.
var errCancelled = &Failure{"Cancelled", "The bulk operation was cancelled"}

// startBulk runs a bulk operation in the background.
func (m *Manager) startBulk(b *Bulk) {
	run := &attempts.Run{Suspects: m.Suspects, Change: func(ctx context.Context, change func(*attempts.Count) error) error {
		_, err := m.Bulk.Change(ctx, b.Key(), func(now *Bulk) error { return change(&now.Runs) })
		return err
	}}
	due := func() bool {
		now := m.Bulk.Get(b.Key())
		return now != nil && (now.Status == InProgress || now.Status == Cancelling)
	}
	m.Jobs.Start(b.job(), jobs.Job{Due: due, Run: func(ctx context.Context) error {
		x := &bulkPut{Manager: m, Bulk: *m.Bulk.Get(b.Key()), saved: m.Now(), runs: run}
		var err error
		if x.Status == InProgress {
			err = run.Begin(ctx, x.Items)
		}
		if x.Status == InProgress && err == nil {
			err = guard.Run(m.Logger, "a bulk operation", func() error { return x.run(ctx) })
		}
		// Cancelling ends ctx, so record the outcome with a context that lives on.
		if now := m.Bulk.Get(b.Key()); now != nil && now.Status == Cancelling {
			err, ctx = errCancelled, context.WithoutCancel(ctx)
		}
		if err := run.End(ctx); err != nil {
			return err
		}
		return x.end(ctx, err)
	}})
}

// end records the outcome of a bulk operation; err says why it failed or was cancelled.
func (x *bulkPut) end(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errCancelled):
		x.Status, x.Failure = Cancelled, errCancelled
	case err != nil:
		x.Logger.Warn("a bulk operation failed", "operation", x.ARN(), "error", message(err))
		x.Status, x.Failure = Failed, failure(err)
	case x.Errors > 0:
		x.Status = CompletedWithErrors
	default:
		x.Status = Completed
	}
	if err != nil {
		x.batch = nil
		if err := x.flush(ctx, true); err != nil { // still report what was refused
			x.Logger.Warn("cannot write the report of a bulk operation", "operation", x.ARN(), "error", message(err))
		}
	}
	x.End = x.Now().UnixMilli()
	_, err = x.Manager.Bulk.Change(ctx, x.Key(), func(now *Bulk) error {
		if now.Status == Cancelling && x.Status != Cancelled {
			x.Status, x.Failure = Cancelled, errCancelled
		}
		*now = x.Bulk
		return nil
	})
	return err
}

// bulkPut is a bulk operation in progress.
type bulkPut struct {
	*Manager
	Bulk
	runs   *attempts.Run
	saved  time.Time
	batch  []table.Mutation
	size   int
	output objectstore.Store // where reports go; nil until known
	pause  time.Duration     // time still to wait for the requested rate
	report bytes.Buffer
}

// Kinds of report lines.
const (
	reportError     = "ERROR"
	reportCondition = "CONDITION_CHECK_FAILURE"
)

// run puts the items of all objects, in the order of their keys.
func (x *bulkPut) run(ctx context.Context) error {
	in, out := x.Request.InputS3Configuration, x.Request.OutputS3Configuration
	store, err := x.bucket(cmp.Or(x.Caller, x.Account), in.S3Bucket.Value, in.S3BucketOwner.Value, false)
	if err != nil {
		return err
	}
	if len(out.OutputType) > 0 {
		if x.output, err = x.bucket(cmp.Or(x.Caller, x.Account), x.reports(), out.S3BucketOwner.Value, true); err != nil {
			return err
		}
	}
	src := &source{store: store, bucket: in.S3Bucket.Value, prefix: in.S3KeyPrefix.Value, file: itemfile.Options{
		Format: in.InputFormat.Value, Compression: in.InputCompressionType.Value,
	}}
	list, size, err := src.list(ctx)
	if err != nil {
		return err
	}
	x.Total = size
	for _, o := range list {
		if o.Key < x.Object {
			continue // done before a restart
		}
		if o.Key != x.Object {
			x.Object, x.Records = o.Key, 0
		}
		if err := x.object(ctx, src, o); err != nil {
			return err
		}
		x.Done += o.Size
		x.Bytes = x.Done
	}
	return x.flush(ctx, true)
}

// object puts the items of an object, except those that were put before a restart.
func (x *bulkPut) object(ctx context.Context, src *source, o objectstore.Object) error {
	n := 0
	err := src.read(ctx, o.Key, func(p parsed) error {
		for i := range p.records {
			if n++; n <= x.Records {
				continue
			}
			if err := x.record(ctx, o.Key, n-1, &p.records[i]); err != nil {
				return err
			}
		}
		x.Bytes = x.Done + p.read
		return nil
	})
	var bad *Failure
	if errors.As(err, &bad) && bad.Code == invalidInput {
		// Continue with the other objects ("StartBulkPutItems": input objects that could not be processed are errors).
		x.Items++
		err = x.refuse(ctx, reportError, o.Key, n, nil, nil, bad)
	}
	if err != nil {
		return err
	}
	return x.write(ctx)
}

// record adds a record to the batch, or reports why it was refused.
func (x *bulkPut) record(ctx context.Context, object string, n int, rec *itemfile.Record) error {
	t := x.Tables.Catalog.Get(x.Namespace, x.Table)
	if t == nil || t.ID != x.TableID {
		return &Failure{"TableNotFound", "The table was deleted"}
	}
	x.Items++
	if err := x.runs.Step(ctx, 1); err != nil {
		return err
	}
	err := rec.Err
	if err == nil && rec.Item == nil {
		err = itemfile.ErrEmptyRecord
	}
	if err == nil {
		err = x.rules.CheckItem(t, rec.Item)
	}
	var check func(old attribute.Item) error
	if err == nil {
		check, err = x.rules.Condition(rec)
	}
	if err != nil {
		x.Records = n + 1
		return x.refuse(ctx, reportError, object, n, rec.Item, nil, err)
	}
	item := rec.Item
	m := table.Mutation{Table: t, Key: item, Check: check, Next: func(attribute.Item) (attribute.Item, error) { return item, nil }}
	// A transaction may have an item only once, and an item whose condition fails must not fail others with it.
	if check != nil || len(x.batch) == bulkItems || x.size+item.Size() > bulkBytes || x.has(t, item) {
		if err := x.write(ctx); err != nil {
			return err
		}
	}
	x.batch, x.size = append(x.batch, m), x.size+item.Size()
	x.Records = n + 1
	if check == nil {
		return nil
	}
	var old attribute.Item
	err = x.write(ctx)
	var failed *conditionFailed
	if errors.As(err, &failed) {
		old, err = failed.old, nil
		return errors.Join(err, x.refuse(ctx, reportCondition, object, n, item, old, failed))
	}
	return err
}

// conditionFailed is the error of a conditional write of a single item. old is the item that it found.
type conditionFailed struct{ old attribute.Item }

func (*conditionFailed) Error() string { return "The conditional request failed" }

// has reports whether the batch has an item with the same key.
func (x *bulkPut) has(t *catalog.Table, it attribute.Item) bool {
	return slices.ContainsFunc(x.batch, func(m table.Mutation) bool {
		for a := range t.Key.Attributes {
			if !m.Key.Get(a.Name).Equal(it.Get(a.Name)) {
				return false
			}
		}
		return true
	})
}

// write puts the batch, then waits as the requested rate demands.
func (x *bulkPut) write(ctx context.Context) error {
	if len(x.batch) == 0 {
		return x.flush(ctx, false)
	}
	batch := x.batch
	var old attribute.Item
	if len(batch) == 1 && batch[0].Check != nil {
		// Keep the item that the condition saw, for the report.
		check := batch[0].Check
		batch[0].Check = func(now attribute.Item) error {
			old = now.Clone()
			return check(now)
		}
	}
	results, err := x.Tables.Write(ctx, batch, table.WriteOpt{Background: true})
	t := batch[0].Table
	x.batch, x.size = x.batch[:0], 0
	var failed *table.FailedError
	switch {
	case errors.As(err, &failed) && len(batch) == 1 && batch[0].Check != nil:
		return &conditionFailed{old}
	case errors.Is(err, table.ErrNotFound):
		return &Failure{"TableNotFound", "The table was deleted"}
	case err != nil:
		return err
	}
	var units float64
	for _, r := range results {
		x.count(t, r.New)
		units += r.Units.Table
	}
	if err := x.slow(ctx, units); err != nil {
		return err
	}
	return x.flush(ctx, false)
}

// count counts the bytes of an item and of its index entries.
func (x *bulkPut) count(t *catalog.Table, it attribute.Item) {
	add := func(id uint8, n int) {
		for len(x.PutBytes) <= int(id) {
			x.PutBytes = append(x.PutBytes, 0)
		}
		x.PutBytes[id] += int64(n)
	}
	add(0, it.Size())
	for _, i := range t.Indexes {
		if _, ok := index.AppendKey(nil, t, i, it); ok {
			add(i.ID, index.Entry(i, it).Size())
		}
	}
}

// slow waits as the requested rate demands. Waits of less than 10 ms are postponed.
func (x *bulkPut) slow(ctx context.Context, units float64) error {
	limit := x.Request.MaxWriteRequestUnits
	if !limit.Set {
		return ctx.Err()
	}
	x.pause += time.Duration(units / float64(limit.Value) * float64(time.Second))
	if x.pause < 10*time.Millisecond {
		return ctx.Err()
	}
	due := x.pause
	x.pause = 0
	return wait.Pause(ctx, due)
}

// refuse counts a record that was not put, and adds it to the report if that was requested.
func (x *bulkPut) refuse(ctx context.Context, kind, object string, n int, item, old attribute.Item, why error) error {
	if kind == reportError {
		x.Errors++
	}
	out := x.Request.OutputS3Configuration
	if !slices.Contains(out.OutputType, kind) {
		return nil
	}
	line := map[string]any{
		"Type": kind, "Message": message(why),
		"InputObject": map[string]any{"Bucket": x.Request.InputS3Configuration.S3Bucket.Value, "Key": object, "RecordIndex": n},
	}
	if item != nil {
		line["Item"] = json.RawMessage(item.AppendJSON(nil))
	}
	if old != nil {
		line["ExistingItem"] = json.RawMessage(old.AppendJSON(nil))
	}
	if err := json.NewEncoder(&x.report).Encode(line); err != nil {
		return err
	}
	return x.flush(ctx, false)
}

// reports returns the bucket for reports.
func (x *bulkPut) reports() string {
	return x.Request.OutputS3Configuration.S3Bucket.Or(x.Request.InputS3Configuration.S3Bucket.Value)
}

// flush writes the report when it is large enough, and stores the progress when that is due; all does both at once.
func (x *bulkPut) flush(ctx context.Context, all bool) error {
	due := all || x.Now().Sub(x.saved) >= saveEvery
	if len(x.batch) > 0 && !all {
		due = false // progress counts records of the batch, which are not put yet
	}
	if x.report.Len() > 0 && (due || x.report.Len() >= reportSize) {
		out := x.Request.OutputS3Configuration
		prefix := strings.Trim(out.S3KeyPrefix.Value, "/")
		if prefix != "" {
			prefix += "/"
		}
		key := fmt.Sprintf("%sAWSDynamoDB/%s/output-%06d.json", prefix, x.ID, x.Reports)
		_, err := objectstore.Put(ctx, x.output, x.reports(), key, x.report.Bytes(), objectstore.PutOptions{
			Algorithm: out.S3SseAlgorithm.Value, KMSKey: out.S3SseKmsKeyId.Value,
		})
		if err != nil {
			return err
		}
		x.Reports++
		x.report.Reset()
	}
	if !due {
		return nil
	}
	x.saved = x.Now()
	_, err := x.Manager.Bulk.Change(ctx, x.Key(), func(now *Bulk) error {
		now.Progress, now.Total = x.Progress, x.Total
		return nil
	})
	return err
}
