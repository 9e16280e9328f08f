// Package transfer moves items between tables and objects: exports, imports and bulk puts. A [Manager] keeps a record
// of each, and runs it in a background job, which starts again or continues after a restart.
//
// Source: "DynamoDB data export to Amazon S3: how it works", "DynamoDB data import from Amazon S3: how it works".
package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/statordb/stator/internal/api"
	"github.com/statordb/stator/internal/attempts"
	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/cluster"
	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/jobs"
	"github.com/statordb/stator/internal/objectstore"
	"github.com/statordb/stator/internal/registry"
	"github.com/statordb/stator/internal/table"
	"github.com/statordb/stator/internal/turns"
)

// maxFilling bounds the imports of a server that fill tables concurrently, each with some 200 MB of memory. Others wait.
const maxFilling = 3

// Quotas of an import ("DynamoDB import formats, quotas, and validation"). They apply to bulk puts too.
const (
	maxObjects = 50_000
	maxBytes   = 15 << 40
)

// TokenLifetime is how long, after a request has ended, another one with the same client token counts as the same
// ("ImportTable").
const TokenLifetime = 8 * time.Hour

// Retention is how long ended work is listed ("ListImports").
const Retention = 90 * 24 * time.Hour

// Options configure a Manager.
type Options struct {
	Tables      *table.Store
	Jobs        *jobs.Runner
	Coordinator cluster.Coordinator
	Objects     objectstore.Store
	// Access says which buckets accounts may use besides their own; nil lets all accounts use all buckets.
	Access objectstore.Access
	// Suspects are shared by all jobs of the server.
	Suspects *attempts.Suspects
	Now      func() time.Time
	Logger   *slog.Logger
}

// Rules are what this package needs to know about items and expressions. Package ops provides them.
type Rules struct {
	// CheckItem returns an error if an item can't be put into a table.
	CheckItem func(t *catalog.Table, it attribute.Item) error
	// Filter returns a function that maps an item to its exported form; nil to leave the item out.
	Filter func(t *catalog.Table, f *api.FilterSpecification) (func(it attribute.Item) attribute.Item, error)
	// Condition returns the check of a record's condition; nil if it has none.
	Condition func(rec *itemfile.Record) (func(old attribute.Item) error, error)
}

// Manager runs exports, imports and bulk operations, and keeps their records.
type Manager struct {
	Options
	rules   Rules
	filling chan struct{} // a semaphore: holds one element for each import that fills a table
	Exports *registry.Set[Export]
	Imports *registry.Set[Import]
	Bulk    *registry.Set[Bulk]
}

// Open reads the records of past and current work. Resume must follow before any is started.
func Open(ctx context.Context, opt Options) (*Manager, error) {
	m := &Manager{Options: opt, filling: make(chan struct{}, maxFilling)}
	var err1, err2, err3 error
	records := registry.Storage{Coordinator: opt.Coordinator, KV: opt.Tables.KV}
	m.Exports, err1 = registry.Open[Export](ctx, records, registry.Exports)
	m.Imports, err2 = registry.Open[Import](ctx, records, registry.Imports)
	m.Bulk, err3 = registry.Open[Bulk](ctx, records, registry.BulkOperations)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	m.Bulk.Changed = func(b *Bulk) {
		if b.Status == Cancelling {
			m.Jobs.Cancel(b.job()) // the request may have gone to another server
		}
	}
	return m, nil
}

// Resume continues what the end of an earlier process has interrupted.
func (m *Manager) Resume(ctx context.Context, rules Rules) error {
	m.rules = rules
	for _, e := range m.Exports.All() {
		if e.Status == InProgress {
			m.startExport(e, nil)
		}
	}
	for _, i := range m.Imports.All() {
		if i.Status == InProgress {
			m.startImport(i)
		}
	}
	// An import ends in two steps, its record and then its table, so a crash may have come in between.
	for t := range m.Tables.Catalog.Tables() {
		if t.Loading == nil || t.Loading.Import == "" {
			continue
		}
		i := m.Imports.Get(registry.ID{Account: t.Account, Region: t.Region, Name: t.Loading.Import})
		var err error
		if i == nil {
			err = m.Tables.AbandonLoading(ctx, t)
		} else if i.Status != InProgress {
			err = m.endTable(ctx, i)
		}
		if err != nil {
			return err
		}
	}
	for _, b := range m.Bulk.All() {
		if b.Status == InProgress || b.Status == Cancelling {
			m.startBulk(b)
		}
	}
	return nil
}

// Current returns an import as clients should see it: IN_PROGRESS until its table is usable, which comes after its record.
func (m *Manager) Current(i *Import) *Import {
	t := m.Tables.Catalog.Get(catalog.Namespace{Account: i.Account, Region: i.Region}, i.Table)
	if t == nil || t.Loading == nil || t.Loading.Import != i.ID {
		return i
	}
	now := *i
	now.Status, now.End, now.Failure = InProgress, 0, nil
	return &now
}

// Sweep removes records of work that ended longer than Retention ago.
func (m *Manager) Sweep(ctx context.Context) error {
	before := m.Now().Add(-Retention).UnixMilli()
	return errors.Join(
		sweep(ctx, m.Exports, func(e *Export) (registry.ID, int64) { return e.Key(), e.End }, before),
		sweep(ctx, m.Imports, func(i *Import) (registry.ID, int64) { return i.Key(), i.End }, before),
		sweep(ctx, m.Bulk, func(b *Bulk) (registry.ID, int64) { return b.Key(), b.End }, before),
	)
}

// sweep removes the records of a set that ended before a time. of returns a record's key and end.
func sweep[T any](ctx context.Context, set *registry.Set[T], of func(*T) (registry.ID, int64), before int64) error {
	for _, v := range set.All() {
		id, end := of(v)
		if end == 0 || end >= before {
			continue
		}
		if err := set.Remove(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// Statuses of exports, imports and bulk operations.
const (
	InProgress          = "IN_PROGRESS"
	Completed           = "COMPLETED"
	CompletedWithErrors = "COMPLETED_WITH_ERRORS"
	Cancelling          = "CANCELLING"
	Cancelled           = "CANCELLED"
	Failed              = "FAILED"
)

// Failure is why a job failed, as clients see it.
type Failure struct{ Code, Message string }

// Error implements error.
func (f *Failure) Error() string { return f.Code + ": " + f.Message }

// maxMessage bounds the bytes of a logged and stored message, which may quote a file.
const maxMessage = 1000

// message returns an error's message, truncated to maxMessage.
func message(err error) string {
	text := err.Error()
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// failure returns the Failure for an error.
func failure(err error) *Failure {
	var known *Failure
	switch {
	case errors.Is(err, attempts.ErrGivenUp):
		return &Failure{"InternalFailure", err.Error()}
	case errors.As(err, &known):
		return known
	case errors.Is(err, objectstore.ErrNoBucket):
		return &Failure{"S3NoSuchBucket", "The specified bucket does not exist"}
	case errors.Is(err, objectstore.ErrNoObject):
		return &Failure{"S3NoSuchKey", "The specified key does not exist"}
	case errors.Is(err, objectstore.ErrAccess):
		return &Failure{"S3AccessDenied", "Access Denied"}
	case errors.Is(err, objectstore.ErrInvalidKey):
		return &Failure{"S3InvalidKey", message(err)}
	}
	return &Failure{"InternalFailure", message(err)}
}

// bucket returns the store for a use of a bucket by the account that made the request.
func (m *Manager) bucket(caller, bucket, owner string, write bool) (objectstore.Store, error) {
	return objectstore.For(m.Objects, m.Access, objectstore.Use{Account: caller, Bucket: bucket, Owner: owner, Write: write})
}

// source is the objects that an import or bulk put reads.
type source struct {
	store          objectstore.Store
	bucket, prefix string
	file           itemfile.Options
	// check sets the error of an invalid record. It runs in any goroutine; nil checks nothing.
	check func(*itemfile.Record)
}

// list returns the objects, except those that stand for folders.
func (s *source) list(ctx context.Context) (list []objectstore.Object, size int64, err error) {
	err = s.store.List(ctx, s.bucket, s.prefix, func(o objectstore.Object) error {
		if !strings.HasSuffix(o.Key, "/") {
			list = append(list, o)
			size += o.Size
		}
		if len(list) > maxObjects {
			return &Failure{quotaExceeded, fmt.Sprintf("There are more than %d objects with the key prefix", maxObjects)}
		}
		if size > maxBytes {
			return &Failure{quotaExceeded, fmt.Sprintf("The objects with the key prefix have more than %d TB", maxBytes>>40)}
		}
		return nil
	})
	if err == nil && len(list) == 0 {
		err = objectstore.ErrNoObject
	}
	return list, size, err
}

// parsed is the records of a chunk.
type parsed struct {
	records []itemfile.Record
	read    int64 // bytes of the object read so far
	err     error
}

// inFlight bounds the bytes of chunks that are being parsed or wait to be visited. A larger chunk is processed alone.
const inFlight = 32 << 20

// read reads an object and calls visit with its records, in order. One goroutine reads chunks, one per chunk parses, and the caller
// visits.
func (s *source) read(ctx context.Context, key string, visit func(parsed) error) error {
	raw, err := s.store.Open(ctx, s.bucket, key)
	if err != nil {
		return err
	}
	defer raw.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	counted := &counter{ctx: ctx, Reader: raw}
	in, err := itemfile.NewReader(counted, s.file)
	if err != nil {
		return unreadable(key, err)
	}
	defer in.Close()
	p := &pipeline{
		in: in, key: key, counted: counted, check: s.check,
		memory: semaphore.NewWeighted(inFlight), queue: make(chan pending, runtime.GOMAXPROCS(0)),
	}
	guard.Go(nil, "reading an object", func() { // run reports panics
		defer close(p.queue)
		p.run(ctx)
	})
	// The goroutine reads from raw until the queue is closed, so wait for that before raw is closed.
	defer func() {
		cancel()
		for range p.queue {
		}
	}()
	for next := range p.queue {
		chunk := <-next.chunk
		if chunk.err != nil {
			return chunk.err
		}
		if err := visit(chunk); err != nil {
			return err
		}
		p.memory.Release(next.size)
	}
	return ctx.Err()
}

// pipeline reads and parses the chunks of an object.
type pipeline struct {
	in      *itemfile.Reader
	key     string   // of the object
	counted *counter // counts bytes of the object as it is stored, before decompression
	check   func(*itemfile.Record)
	memory  *semaphore.Weighted // bounds the bytes of chunks in flight
	queue   chan pending        // keeps the order
}

// pending is a chunk that is being parsed.
type pending struct {
	chunk chan parsed // receives the chunk
	size  int64       // what it holds of pipeline.memory
}

// run queues chunks until the object's end, an error, or the end of ctx.
func (p *pipeline) run(ctx context.Context) {
	for {
		var chunk itemfile.Chunk
		err := guard.Run(nil, "reading an object", func() (err error) {
			chunk, err = p.in.Next()
			return err
		})
		if errors.Is(err, io.EOF) {
			return
		}
		next := pending{chunk: make(chan parsed, 1), size: int64(min(chunk.Bytes, inFlight))}
		if p.memory.Acquire(ctx, next.size) != nil {
			return // ctx has ended
		}
		if err != nil {
			next.chunk <- parsed{err: unreadable(p.key, err)}
		} else {
			p.parse(chunk, next.chunk)
		}
		select {
		case p.queue <- next:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// parse parses and checks a chunk in a goroutine, and sends it to done.
func (p *pipeline) parse(chunk itemfile.Chunk, done chan<- parsed) {
	out := parsed{read: p.counted.n}
	guard.Go(nil, "parsing an object", func() {
		out.err = guard.Run(nil, "parsing an object", func() error {
			began := time.Now()
			out.records = chunk.Records()
			turns.Rest(time.Since(began))
			if p.check == nil {
				return nil
			}
			for i := range out.records {
				p.check(&out.records[i])
			}
			return nil
		})
		done <- out
	})
}

// Codes of failures: an object is malformed, or there are too many or too large objects.
const (
	invalidInput  = "InvalidInput"
	quotaExceeded = "LimitExceeded"
)

// unreadable returns the failure for an object that is malformed or can't be read.
func unreadable(key string, err error) error {
	for _, known := range []error{objectstore.ErrAccess, objectstore.ErrNoBucket, objectstore.ErrNoObject, context.Canceled} {
		if errors.Is(err, known) {
			return err
		}
	}
	return &Failure{invalidInput, fmt.Sprintf("The object %s can't be read: %s", key, message(err))}
}

// counter counts the bytes read, and fails once ctx has ended.
type counter struct {
	ctx context.Context
	io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}
