// Package sorter sorts more pairs of keys and values than fit into memory. It writes sorted runs to files and merges them.
//
// Other libraries bound their memory by a number of records. Items have between 20 bytes and 400 KB, so this one counts bytes.
package sorter

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/statordb/stator/internal/guard"
	"github.com/statordb/stator/internal/turns"
)

const (
	// DefaultMemory is how many bytes are sorted in memory at a time. While a run is written, twice as many are in use.
	DefaultMemory = 32 << 20
	// maxRuns bounds the runs that are merged at a time, and so the open files.
	maxRuns = 256
	// readBuffer is the buffer of each run's reader, writeBuffer that of a run's writer, in bytes. Large writes cost
	// the system less.
	readBuffer  = 64 << 10
	writeBuffer = 1 << 20
)

// Options configure a Sorter.
type Options struct {
	// Dir is where runs are kept; it must exist. "" keeps everything in memory.
	Dir string
	// Memory is how many bytes are sorted in memory at a time; 0 for DefaultMemory.
	Memory int
	// Free returns the free bytes on the disk of Dir; nil asks the system.
	Free func(dir string) (int64, error)
}

// Reserve is how many bytes of the disk are left free, more than a server needs to accept writes. So a file that
// decompresses to more than the disk holds fails its import and nothing else.
const Reserve = 256 << 20

// ErrNoSpace means that the disk has no room for more runs.
var ErrNoSpace = fmt.Errorf("the disk would have less than %d MB free", Reserve>>20)

// Sorter collects pairs, then returns them in key order. It is not safe for concurrent use.
type Sorter struct {
	opt     Options
	buf     *buffer
	runs    []string   // files, oldest first
	writing chan error // result of the run that is being written; nil for none
	spare   *buffer    // buffer of the run that is being written; reused for the next
	made    int        // runs so far, for the names of files
}

// New returns an empty Sorter, which the caller must close.
func New(opt Options) *Sorter {
	opt.Memory = cmp.Or(opt.Memory, DefaultMemory)
	if opt.Free == nil {
		opt.Free = free
	}
	return &Sorter{opt: opt, buf: &buffer{}}
}

// buffer holds pairs one after the other, and their positions.
type buffer struct {
	data    []byte
	entries []entry
}

// entry is a pair in a buffer.
type entry struct {
	at       int
	key, val uint32 // lengths
}

func (b *buffer) key(e entry) []byte { return b.data[e.at : e.at+int(e.key)] }
func (b *buffer) val(e entry) []byte {
	return b.data[e.at+int(e.key) : e.at+int(e.key)+int(e.val)]
}

// paceEvery is after how many comparisons, some 20 µs of them, sorting lets requests run.
const paceEvery = 512

// sort sorts the pairs and keeps only the last value of each key.
func (b *buffer) sort() {
	var pace turns.Pace
	n := 0
	less := func(x, y entry) int {
		if n++; n%paceEvery == 0 {
			pace.Yield()
		}
		return cmp.Or(bytes.Compare(b.key(x), b.key(y)), cmp.Compare(x.at, y.at))
	}
	if !slices.IsSortedFunc(b.entries, less) {
		slices.SortFunc(b.entries, less)
	}
	kept := b.entries[:0]
	for i, e := range b.entries {
		if i+1 < len(b.entries) && bytes.Equal(b.key(e), b.key(b.entries[i+1])) {
			continue
		}
		kept = append(kept, e)
	}
	b.entries = kept
}

// Add adds a pair. If a key is added more than once, the last value wins.
func (s *Sorter) Add(key, val []byte) error {
	if s.opt.Dir != "" && len(s.buf.data) > 0 && len(s.buf.data)+len(key)+len(val) > s.opt.Memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	b := s.buf
	b.entries = append(b.entries, entry{len(b.data), uint32(len(key)), uint32(len(val))})
	b.data = append(append(b.data, key...), val...)
	return nil
}

// spill writes the buffer to a new run in the background, while the next buffer is filled.
func (s *Sorter) spill() error {
	if err := s.written(); err != nil {
		return err
	}
	// Bound the open files of the final merge.
	if len(s.runs) >= maxRuns {
		if err := s.compact(); err != nil {
			return err
		}
	}
	// Swap the buffers: the full one is written while the other is filled.
	full := s.buf
	if s.buf = s.spare; s.buf == nil {
		s.buf = &buffer{data: make([]byte, 0, s.opt.Memory), entries: make([]entry, 0, len(full.entries))}
	}
	s.buf.data, s.buf.entries = s.buf.data[:0], s.buf.entries[:0]
	s.spare = full
	file, err := s.create()
	if err != nil {
		return err
	}
	s.writing = make(chan error, 1)
	done := s.writing
	guard.Go(nil, "sorting", func() {
		done <- guard.Run(nil, "sorting", func() error {
			full.sort()
			w := newRunWriter(file)
			var pace turns.Pace
			for _, e := range full.entries {
				pace.Yield()
				w.write(full.key(e), full.val(e))
			}
			return w.close()
		})
	})
	return nil
}

// create creates the file of the next run, if the disk has room for it.
func (s *Sorter) create() (*os.File, error) {
	if n, err := s.opt.Free(s.opt.Dir); err != nil || n < Reserve+int64(s.opt.Memory) {
		return nil, cmp.Or(err, ErrNoSpace)
	}
	s.made++
	file, err := os.CreateTemp(s.opt.Dir, fmt.Sprintf("run-%d-*", s.made))
	if err == nil {
		s.runs = append(s.runs, file.Name())
	}
	return file, err
}

// written waits for the run that is being written.
func (s *Sorter) written() error {
	if s.writing == nil {
		return nil
	}
	err := <-s.writing
	s.writing = nil
	return err
}

// compact merges all runs into one, to bound the number of open files.
func (s *Sorter) compact() error {
	old := s.runs
	it, err := merge(old, nil)
	if err != nil {
		return err
	}
	s.runs = nil
	file, err := s.create()
	if err != nil {
		s.runs = old
		return errors.Join(err, it.Close())
	}
	w := newRunWriter(file)
	for it.Next() {
		w.write(it.Key(), it.Value())
	}
	err = errors.Join(it.Close(), w.close())
	for _, name := range old {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// Sorted returns the pairs in key order. Add must not be called any more. The iterator is valid until the Sorter is closed.
func (s *Sorter) Sorted() (*Iterator, error) {
	if err := s.written(); err != nil {
		return nil, err
	}
	s.buf.sort()
	return merge(s.runs, s.buf)
}

// Close deletes the runs.
func (s *Sorter) Close() error {
	err := s.written()
	for _, name := range s.runs {
		err = errors.Join(err, os.Remove(name))
	}
	s.runs, s.buf, s.spare = nil, nil, nil
	return err
}

// runWriter writes a run: for each pair the lengths of key and value as uvarints, key and value. It remembers its first error.
type runWriter struct {
	file *os.File
	w    *bufio.Writer
	err  error
}

func newRunWriter(f *os.File) *runWriter {
	return &runWriter{file: f, w: bufio.NewWriterSize(f, writeBuffer)}
}

func (w *runWriter) write(key, val []byte) {
	var head [2 * binary.MaxVarintLen32]byte
	h := binary.AppendUvarint(binary.AppendUvarint(head[:0], uint64(len(key))), uint64(len(val)))
	for _, b := range [...][]byte{h, key, val} {
		if w.err == nil {
			_, w.err = w.w.Write(b)
		}
	}
}

func (w *runWriter) close() error {
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return errors.Join(w.err, w.file.Close())
}

// source is a sorted list of pairs: a buffer in memory or a run.
type source struct {
	age  int // of two sources with the same key, the one with the larger age wins
	key  []byte
	val  []byte
	buf  *buffer // nil for a run
	at   int
	file *os.File
	r    *bufio.Reader
	data []byte
}

// next moves to the next pair; false at the end or on error. key and val are valid until the next call.
func (s *source) next() (bool, error) {
	if s.buf != nil {
		if s.at == len(s.buf.entries) {
			return false, nil
		}
		e := s.buf.entries[s.at]
		s.at++
		s.key, s.val = s.buf.key(e), s.buf.val(e)
		return true, nil
	}
	k, err := binary.ReadUvarint(s.r)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	v, err2 := binary.ReadUvarint(s.r)
	if err := errors.Join(err, err2); err != nil {
		return false, err
	}
	if n := int(k + v); cap(s.data) < n {
		s.data = make([]byte, n)
	}
	s.data = s.data[:k+v]
	if _, err := io.ReadFull(s.r, s.data); err != nil {
		return false, err
	}
	s.key, s.val = s.data[:k], s.data[k:]
	return true, nil
}

// sourceHeap implements heap.Interface: by key, and for equal keys the youngest source first.
type sourceHeap []*source

func (h sourceHeap) Len() int { return len(h) }

func (h sourceHeap) Less(i, j int) bool {
	return cmp.Or(bytes.Compare(h[i].key, h[j].key), cmp.Compare(h[j].age, h[i].age)) < 0
}

func (h sourceHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *sourceHeap) Push(x any)   { *h = append(*h, x.(*source)) }

func (h *sourceHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// Iterator moves through the sorted pairs.
type Iterator struct {
	sources sourceHeap
	last    []byte // scratch space for the key that Next leaves behind
	started bool
	pace    turns.Pace
	err     error
}

// merge returns an iterator over runs and a buffer, which is younger than all runs; nil for none.
func merge(runs []string, buf *buffer) (*Iterator, error) {
	it := &Iterator{}
	var all []*source
	for i, name := range runs {
		file, err := os.Open(name)
		if err != nil {
			it.sources = all
			return nil, errors.Join(err, it.Close())
		}
		all = append(all, &source{age: i, file: file, r: bufio.NewReaderSize(file, readBuffer)})
	}
	if buf != nil {
		all = append(all, &source{age: len(runs), buf: buf})
	}
	for _, s := range all {
		it.add(s)
	}
	heap.Init(&it.sources)
	return it, it.err
}

// add moves a source to its first pair, and keeps the source if there is one.
func (it *Iterator) add(s *source) {
	if some, err := s.next(); some {
		it.sources = append(it.sources, s)
	} else {
		it.err = errors.Join(it.err, err, s.close())
	}
}

func (s *source) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Close ends the iterator and returns the error that ended it, if any.
func (it *Iterator) Close() error {
	for _, s := range it.sources {
		it.err = errors.Join(it.err, s.close())
	}
	it.sources = nil
	return it.err
}

// Next moves to the next pair, the first time to the first pair; it returns false at the end and on error.
func (it *Iterator) Next() bool {
	it.pace.Yield()
	if it.started {
		// The sources with the same key hold older values: skip them.
		it.last = append(it.last[:0], it.sources[0].key...)
		it.advance()
		for len(it.sources) > 0 && it.err == nil && bytes.Equal(it.sources[0].key, it.last) {
			it.advance() // an older value of the same key
		}
	}
	it.started = true
	return it.err == nil && len(it.sources) > 0
}

// advance moves the first source to its next pair.
func (it *Iterator) advance() {
	s := it.sources[0]
	some, err := s.next()
	if some {
		heap.Fix(&it.sources, 0)
		return
	}
	heap.Pop(&it.sources)
	it.err = errors.Join(it.err, err, s.close())
}

// Key returns the current key, valid until Next.
func (it *Iterator) Key() []byte { return it.sources[0].key }

// Value returns the current value, valid until Next.
func (it *Iterator) Value() []byte { return it.sources[0].val }
