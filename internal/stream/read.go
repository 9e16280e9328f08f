package stream

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/keyspace"
	"github.com/statordb/stator/internal/kv"
)

const (
	// Retention is how long records can be read ("Change data capture for DynamoDB Streams").
	Retention = 24 * time.Hour
	// MaxPage is the largest size of a page, in bytes of records, unless a single record is larger ("GetRecords").
	MaxPage = 1 << 20
	// MaxRecords is the largest number of records in a page ("GetRecords").
	MaxRecords = 1000
)

// Position is a place in a shard: before the n-th record of the transaction with that stamp.
type Position struct {
	Stamp kv.TS
	N     uint16
}

// SequenceNumber returns the sequence number of the record at the position. Sequence numbers sort like positions.
func (p Position) SequenceNumber() string {
	return fmt.Sprintf("%018d%03d", uint64(p.Stamp), p.N)
}

// ParseSequenceNumber parses the result of SequenceNumber.
func ParseSequenceNumber(text string) (p Position, ok bool) {
	if len(text) < 21 {
		return p, false
	}
	stamp, err1 := strconv.ParseUint(text[:len(text)-3], 10, 64)
	n, err2 := strconv.ParseUint(text[len(text)-3:], 10, 16)
	return Position{kv.TS(stamp), uint16(n)}, err1 == nil && err2 == nil
}

// Next returns the position after the record at p.
func (p Position) Next() Position { return Position{p.Stamp, p.N + 1} }

// Before reports whether p is before q.
func (p Position) Before(q Position) bool {
	return p.Stamp < q.Stamp || p.Stamp == q.Stamp && p.N < q.N
}

// Reader reads streams.
type Reader struct {
	KV  kv.Store
	Now func() time.Time
}

// ErrTrimmed means that a position refers to records older than Retention.
var ErrTrimmed = errors.New("stream: position is older than the oldest record")

// Horizon returns the oldest position that can still be read.
func (r *Reader) Horizon() Position {
	return Position{Stamp: kv.AtMillis(r.Now().Add(-Retention).UnixMilli())}
}

// Start returns the oldest position of a shard that can still be read.
func (r *Reader) Start(shard *catalog.Shard) Position {
	p := Position{Stamp: shard.Start}
	if h := r.Horizon(); p.Before(h) {
		return h
	}
	return p
}

// Latest returns the position after all records that the shard has now, or after its last record if it is closed.
func (r *Reader) Latest(ctx context.Context, shard *catalog.Shard) (Position, error) {
	if shard.End != 0 {
		return Position{Stamp: shard.End}, nil
	}
	stable, err := r.KV.Stable(ctx)
	return Position{Stamp: max(stable, shard.Start)}, err
}

// Entry is a record and its position.
type Entry struct {
	Record
	Position
}

// Page is the result of a Read.
type Page struct {
	Entries []Entry
	Next    Position // where to continue
	End     bool     // no records will ever follow Next
}

// Read reads up to limit records of a shard, from a position on. It returns copies that stay valid.
func (r *Reader) Read(ctx context.Context, ref *catalog.StreamRef, shard *catalog.Shard, from Position, limit int) (*Page, error) {
	if from.Before(r.Start(shard)) {
		return nil, ErrTrimmed
	}
	end, err := r.Latest(ctx, shard)
	if err != nil {
		return nil, err
	}
	p := &Page{Next: from}
	if from.Before(end) {
		if err := r.read(ctx, ref, shard, end, limit, p); err != nil {
			return nil, err
		}
	}
	p.End = shard.End != 0 && !p.Next.Before(end)
	return p, nil
}

// read adds the records between p.Next and end to the page, until it is full.
func (r *Reader) read(ctx context.Context, ref *catalog.StreamRef, shard *catalog.Shard, end Position, limit int, p *Page) (err error) {
	snap, err := r.KV.Latest(ctx)
	if err != nil {
		return err
	}
	defer snap.Close()
	it, err := snap.Scan(kv.Range{Start: p.Next.key(ref, shard), End: end.key(ref, shard)}, kv.ScanOpt{})
	if err != nil {
		return err
	}
	defer kv.CloseInto(it, &err)
	size := 0
	for it.Next() {
		if len(p.Entries) == limit || size >= MaxPage {
			return nil
		}
		e, err := decodeEntry(it.Key(), slices.Clone(it.Value()), ref)
		if err != nil {
			return err
		}
		// A record larger than a page gets a page of its own.
		if size += len(it.Value()); size > MaxPage && len(p.Entries) > 0 {
			return nil
		}
		p.Entries = append(p.Entries, e)
		p.Next = e.Position.Next()
	}
	// The range is exhausted, so the next page starts at its end rather than after the last record. If the iterator has failed, the caller
	// drops the page.
	p.Next = end
	return nil
}

// key returns the storage key of a position.
func (p Position) key(ref *catalog.StreamRef, shard *catalog.Shard) []byte {
	return keyspace.AppendChange(nil, ref.TableID, shard.Number, uint64(p.Stamp), p.N)
}

func decodeEntry(key, val []byte, ref *catalog.StreamRef) (Entry, error) {
	stamp, n, ok := keyspace.ChangePosition(key)
	if !ok {
		return Entry{}, errRecord
	}
	rec, err := DecodeRecord(val, func(name []byte) bool { return ref.Key.Has(string(name)) })
	return Entry{rec, Position{kv.TS(stamp), n}}, err
}

// Iterator is a shard iterator: where its holder reads next.
type Iterator struct {
	StreamARN string
	Shard     string
	Position
	Created time.Time
}

// IteratorLifetime is how long a shard iterator is valid ("GetShardIterator").
const IteratorLifetime = 15 * time.Minute

// iteratorForm follows the stream's ARN in an iterator, as in AWS's: the stream's ARN, one digit, and Base64.
const iteratorForm = "|1|"

// String returns the iterator's wire format.
func (i *Iterator) String() string {
	at := i.Shard + "|" + i.SequenceNumber() + "|" + strconv.FormatInt(i.Created.UnixMilli(), 10)
	return i.StreamARN + iteratorForm + base64.StdEncoding.EncodeToString([]byte(at))
}

// ParseIterator parses an iterator's wire format.
func ParseIterator(text string) (*Iterator, bool) {
	arn, encoded, ok := strings.Cut(text, iteratorForm)
	if !ok {
		return nil, false
	}
	at, err := base64.StdEncoding.DecodeString(encoded)
	parts := strings.Split(string(at), "|")
	if err != nil || len(parts) != 3 {
		return nil, false
	}
	p, ok := ParseSequenceNumber(parts[1])
	created, err := strconv.ParseInt(parts[2], 10, 64)
	return &Iterator{StreamARN: strings.Clone(arn), Shard: parts[0], Position: p, Created: time.UnixMilli(created)}, ok && err == nil
}
