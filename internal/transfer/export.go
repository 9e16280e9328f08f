package transfer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5" // #nosec: AWS's manifests have it
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/pitr"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/turns"
)

// Export is an export of a table.
type Export struct {
	catalog.Namespace
	ID          string
	Caller      string // the account that requested it; "" for the table's account, in records of earlier versions
	Table       string // name of the table
	TableUUID   string
	TableID     uint32
	Version     Version
	Request     ExportRequest
	Fingerprint string // hash of the request, for idempotency
	Status      string
	Start, End  int64 // milliseconds since 1970
	At          kv.TS // the moment exported; for an incremental export, the end of the period
	From        kv.TS // beginning of the period
	Items       int64
	Bytes       int64    // of the items
	Failure     *Failure `json:",omitempty"`
	Runs        attempts.Count
}

// Key returns the export's key in Manager.Exports.
func (e *Export) Key() registry.ID {
	return registry.ID{Account: e.Account, Region: e.Region, Name: e.ID}
}

// TableARN returns the Amazon Resource Name of the table.
func (e *Export) TableARN() string { return catalog.ARN(e.Namespace, e.Table) }

// ARN returns the export's Amazon Resource Name.
func (e *Export) ARN() string { return e.TableARN() + "/export/" + e.ID }

// Incremental reports whether it exports changes rather than items.
func (e *Export) Incremental() bool {
	return e.Request.ExportType.Value == api.ExportTypeIncrementalExport
}

// folder returns the common prefix of all exports to a prefix.
func (e *Export) folder() string {
	if p := strings.Trim(e.Request.S3Prefix.Value, "/"); p != "" {
		return p + "/AWSDynamoDB/"
	}
	return "AWSDynamoDB/"
}

// data returns the prefix of the data files. All incremental exports share one.
func (e *Export) data() string {
	if e.Incremental() {
		return e.folder() + "data/"
	}
	return e.folder() + e.ID + "/data/"
}

// Manifest returns the key of the manifest's summary.
func (e *Export) Manifest() string { return e.folder() + e.ID + "/manifest-summary.json" }

// partSize is the size of a data file before compression, in bytes.
const partSize = 64 << 20

// StartExport records an export and starts it.
func (m *Manager) StartExport(ctx context.Context, e *Export) (*Export, error) {
	// Take the snapshot before answering, so that later changes of the table do not matter. Everything is read from
	// this snapshot.
	snap, err := m.Tables.KV.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	e.Version, e.ID, e.Status, e.Start = recordVersion, catalog.JobID(m.Now().UnixMilli()), InProgress, m.Now().UnixMilli()
	if err := m.Exports.Put(ctx, e.Key(), e); err != nil {
		return nil, errors.Join(err, snap.Close())
	}
	e = m.Exports.Get(e.Key())
	m.startExport(e, snap)
	return e, nil
}

// startExport runs an export in the background. It closes the snapshot; if it is nil, it takes one.
func (m *Manager) startExport(e *Export, snap kv.Snapshot) {
	run := &attempts.Run{Suspects: m.Suspects, Change: func(ctx context.Context, change func(*attempts.Count) error) error {
		_, err := m.Exports.Change(ctx, e.Key(), func(now *Export) error { return change(&now.Runs) })
		return err
	}}
	m.Jobs.Start("export "+e.ARN(), jobs.Job{
		Due: func() bool {
			now := m.Exports.Get(e.Key())
			return now != nil && now.Status == InProgress
		},
		Run: func(ctx context.Context) error {
			if snap == nil {
				var err error
				if snap, err = m.Tables.KV.Snapshot(ctx); err != nil {
					return err
				}
			}
			x := &exporter{Manager: m, Export: e, runs: run}
			err := run.Begin(ctx, 0)
			if err == nil {
				err = guard.Run(m.Logger, "an export", func() error { return x.run(ctx, snap) })
			}
			if err := run.End(ctx); err != nil {
				return err
			}
			return m.endExport(ctx, x, err)
		},
		Done: func() {
			if snap != nil {
				snap.Close()
			}
		},
	})
}

// endExport records the outcome of an export; err says why it failed.
func (m *Manager) endExport(ctx context.Context, x *exporter, err error) error {
	if err != nil {
		m.Logger.Warn("an export failed", "export", x.ARN(), "error", message(err))
	}
	_, err2 := m.Exports.Change(ctx, x.Key(), func(e *Export) error {
		e.Status, e.End, e.Items, e.Bytes = Completed, x.end, x.items.Load(), x.size.Load()
		if err != nil {
			e.Status, e.End, e.Failure = Failed, m.Now().UnixMilli(), failure(err)
		}
		return nil
	})
	return err2
}

// exporter is an export in progress.
type exporter struct {
	*Manager
	*Export
	runs   *attempts.Run
	store  objectstore.Store
	filter func(attribute.Item) attribute.Item
	items  atomic.Int64
	size   atomic.Int64
	end    int64 // when it ended, in milliseconds since 1970

	mu    sync.Mutex
	parts []itemfile.DataFile
	files int // data files begun so far
}

func (x *exporter) put(ctx context.Context, key string, body []byte) error {
	_, err := objectstore.Put(ctx, x.store, x.Request.S3Bucket.Value, key, body, x.options())
	return err
}

func (x *exporter) options() objectstore.PutOptions {
	return objectstore.PutOptions{Algorithm: x.Request.S3SseAlgorithm.Value, KMSKey: x.Request.S3SseKmsKeyId.Value}
}

// run exports items or changes, and then writes the manifest. If it fails, it deletes the data files.
func (x *exporter) run(ctx context.Context, snap kv.Snapshot) error {
	t, err := x.table()
	if err != nil {
		return err
	}
	if x.store, err = x.bucket(cmp.Or(x.Caller, x.Account), x.Request.S3Bucket.Value, x.Request.S3BucketOwner.Value, true); err != nil {
		return err
	}
	if x.filter, err = x.rules.Filter(t, x.Request.Filter()); err != nil {
		return err
	}
	if err := x.put(ctx, x.folder()+x.ID+"/_started", nil); err != nil {
		return err
	}
	err = x.write(ctx, func(line func(add func([]byte) []byte) error) error {
		if x.Incremental() {
			return x.changes(ctx, snap, t, line)
		}
		return pitr.State(ctx, snap, x.TableID, pitr.Part{}, x.At, func(_ []byte, it attribute.Item) error {
			if it = x.filter(it); it == nil {
				return nil
			}
			x.size.Add(int64(it.Size()))
			return line(func(dst []byte) []byte { return itemfile.AppendItem(dst, x.format(), it) })
		})
	})
	if err == nil {
		err = x.manifest(ctx)
	}
	if err != nil && ctx.Err() == nil {
		for i := range x.files { // leave nothing incomplete behind
			err = errors.Join(err, x.store.Delete(ctx, x.Request.S3Bucket.Value, x.file(i)))
		}
	}
	return err
}

// table returns the table, whose history must reach back to the beginning of the export.
func (x *exporter) table() (*catalog.Table, error) {
	first := x.At
	if x.Incremental() {
		first = x.From
	}
	t := x.Tables.Catalog.Get(x.Namespace, x.Table)
	if t == nil || t.ID != x.TableID || t.Recovery == nil || t.Recovery.Since > first {
		return nil, &Failure{"PointInTimeRecoveryUnavailable", "The table was deleted, or its point in time recovery disabled, before the export was done"}
	}
	return t, nil
}

func (x *exporter) format() string { return x.Request.ExportFormat.Or(api.ExportFormatDynamodbJson) }

func (x *exporter) view() string {
	if s := x.Request.IncrementalExportSpecification; s != nil {
		return s.ExportViewType.Or(api.ExportViewTypeNewAndOldImages)
	}
	return ""
}

// changes exports the items that changed during the period: as they were at its beginning and at its end.
func (x *exporter) changes(ctx context.Context, snap kv.Reader, t *catalog.Table, line func(func([]byte) []byte) error) error {
	isKey := func(name []byte) bool { return t.Key.Has(string(name)) }
	return pitr.Changes(ctx, snap, x.TableID, x.From, x.At, func(c *pitr.Change) error {
		some := c.Some
		out := itemfile.Change{Micros: c.Last.Millis() * 1000}
		if c.Old != nil {
			some, out.Old = c.Old, x.filter(c.Old)
		}
		if c.New != nil {
			some, out.New = c.New, x.filter(c.New)
		}
		if out.Old == nil && out.New == nil && (c.Old != nil || c.New != nil || x.filter(some) == nil) {
			return nil
		}
		out.Keys = some.Project(isKey)
		x.size.Add(int64(out.Keys.Size() + out.Old.Size() + out.New.Size()))
		if x.view() == api.ExportViewTypeNewImage {
			out.Old = nil
		}
		return line(func(dst []byte) []byte { return itemfile.AppendChange(dst, x.format(), &out) })
	})
}

// batch is a piece of lines on its way to a data file.
type batch struct {
	lines []byte
	items int64
}

// batchSize is the target size of a batch, in bytes.
const batchSize = 512 << 10

// pieceSize is how many bytes are compressed at a time, before requests may run: some 0.1 ms of work.
const pieceSize = 16 << 10

// write writes the lines that produce makes, to as many files concurrently as there are processors. Batches are reused
// through free.
func (x *exporter) write(ctx context.Context, produce func(line func(add func([]byte) []byte) error) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the writers if produce panics
	writers, ctx := errgroup.WithContext(ctx)
	// Making lines is one pass over the table; compressing them, which costs more, is spread over the processors.
	batches, free := make(chan *batch), make(chan *batch, 2*runtime.GOMAXPROCS(0))
	for range runtime.GOMAXPROCS(0) {
		writers.Go(func() error {
			return guard.Run(nil, "writing an export", func() error { return x.writeFiles(ctx, batches, free) })
		})
	}
	now := &batch{}
	send := func() error {
		select {
		case batches <- now:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case now = <-free:
			now.lines, now.items = now.lines[:0], 0
		default:
			now = &batch{lines: make([]byte, 0, batchSize+batchSize/4)}
		}
		return nil
	}
	err := produce(func(add func([]byte) []byte) error {
		now.lines = add(now.lines)
		now.items++
		x.items.Add(1)
		if err := x.runs.Step(ctx, 1); err != nil {
			return err
		}
		if len(now.lines) < batchSize {
			return nil
		}
		return send()
	})
	if err == nil && now.items > 0 {
		err = send()
	}
	close(batches)
	if failed := writers.Wait(); err == nil {
		err = failed
	}
	return err
}

// file returns the key of the n-th data file. It is the same in every attempt, so that a new attempt replaces what an
// earlier one left.
func (x *exporter) file(n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s#%d", x.ARN(), n))
	// AWS's names look like this: 26 characters of base 32.
	name := strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
	extension := ".json.gz"
	if x.format() == api.ExportFormatIon {
		extension = ".ion.gz"
	}
	return x.data() + name + extension
}

// writeFiles writes batches to files until there are none left.
func (x *exporter) writeFiles(ctx context.Context, batches <-chan *batch, free chan<- *batch) error {
	for {
		select {
		case b, ok := <-batches:
			if !ok {
				return nil
			}
			if err := x.writeFile(ctx, b, batches, free); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// writeFile writes a data file that begins with batch b, and continues with further batches up to partSize.
func (x *exporter) writeFile(ctx context.Context, b *batch, batches <-chan *batch, free chan<- *batch) error {
	x.mu.Lock()
	p := itemfile.DataFile{Key: x.file(x.files)}
	x.files++
	x.mu.Unlock()
	w, err := x.store.Create(ctx, x.Request.S3Bucket.Value, p.Key, x.options())
	if err != nil {
		return err
	}
	defer w.Abort()
	// The manifest has the MD5 of the compressed file.
	sum := summed{Writer: w, hash: md5.New()}
	z, err := gzip.NewWriterLevel(&sum, gzip.BestSpeed)
	if err != nil {
		return err
	}
	var pace turns.Pace
	for size := 0; b != nil; {
		for piece := range slices.Chunk(b.lines, pieceSize) {
			if _, err := z.Write(piece); err != nil {
				return err
			}
			pace.Yield()
		}
		p.Items += b.items
		size += len(b.lines)
		select {
		case free <- b:
		default:
		}
		if b = nil; size < partSize {
			select {
			case b = <-batches: // nil when there are none left
			case <-ctx.Done():
				return nil
			}
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	if p.ETag, err = w.Commit(); err != nil {
		return err
	}
	p.MD5 = base64.StdEncoding.EncodeToString(sum.hash.Sum(nil))
	x.mu.Lock()
	defer x.mu.Unlock()
	x.parts = append(x.parts, p)
	return nil
}

// summed computes the checksum of what is written.
type summed struct {
	objectstore.Writer
	hash hash.Hash
}

func (s *summed) Write(p []byte) (int, error) {
	s.hash.Write(p)
	return s.Writer.Write(p)
}

// stamp formats a time, in milliseconds since 1970, for a manifest.
func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format(itemfile.ManifestTime) }

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// manifest writes the manifest. The summary comes last, so that a reader that finds it finds everything.
func (x *exporter) manifest(ctx context.Context) error {
	slices.SortFunc(x.parts, func(a, b itemfile.DataFile) int { return strings.Compare(a.Key, b.Key) })
	var files bytes.Buffer
	lines := json.NewEncoder(&files)
	for _, p := range x.parts {
		if err := lines.Encode(p); err != nil {
			return err
		}
	}
	x.end = x.Now().UnixMilli()
	s := itemfile.Manifest{
		Version: "2020-06-30", ExportARN: x.ARN(), Start: stamp(x.Start), End: stamp(x.end), TableARN: x.TableARN(), TableID: x.TableUUID,
		Bucket: x.Request.S3Bucket.Value, Prefix: optional(x.Request.S3Prefix.Value), Algorithm: x.Request.S3SseAlgorithm.Or("AES256"),
		KMSKey: optional(x.Request.S3SseKmsKeyId.Value), Files: x.folder() + x.ID + "/manifest-files.json",
		BilledSize: x.size.Load(), Items: x.items.Load(), OutputFormat: x.format(), ExportType: api.ExportTypeFullExport,
	}
	if x.Incremental() {
		s.Version, s.ExportType, s.OutputView = "2023-08-01", api.ExportTypeIncrementalExport, x.view()
		s.From, s.To = stamp(x.From.Millis()), stamp(x.At.Millis())
	} else {
		s.ExportTime = stamp(x.At.Millis())
	}
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		body []byte
	}{{"manifest-files", files.Bytes()}, {"manifest-summary", body}} {
		sum := md5.Sum(f.body)
		if err := x.put(ctx, x.folder()+x.ID+"/"+f.name+".md5", []byte(base64.StdEncoding.EncodeToString(sum[:]))); err != nil {
			return err
		}
		if err := x.put(ctx, x.folder()+x.ID+"/"+f.name+".json", f.body); err != nil {
			return err
		}
	}
	return nil
}
