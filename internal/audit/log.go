package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/internal/guard"
)

// Overflow says what happens to an event that the queue has no room for.
type Overflow string

const (
	// Drop loses the event, counts it, and logs that events are being lost.
	Drop Overflow = "drop"
	// Block makes the event's request wait, so that nothing is done without its event.
	Block Overflow = "block"
)

// Stdout is the file name that stands for standard output.
const Stdout = "stdout"

const (
	// defaultQueue is the size of the queue in bytes. Events leave it once the system has taken them.
	defaultQueue = 16 << 20
	// retryAfter is the pause after a failed write.
	retryAfter = time.Second
)

// Options configure a Log.
type Options struct {
	// File is the path of the file that events are appended to, or Stdout.
	File string
	// Selectors say which data events are recorded; nil for none.
	Selectors *Selectors
	// Overflow is Drop if it is empty.
	Overflow Overflow
	// Queue is the size of the queue in bytes; 0 means 16 MB.
	Queue int
	// Table returns the ARN of a table that a request names, by name or ARN, and the names of its key attributes, or none if there is no such
	// table. An empty arn means that the text can't name a table.
	Table func(account, region, given string) (arn string, key []string)
	// Now is the clock.
	Now func() time.Time
	// Logger receives the log.
	Logger *slog.Logger

	// open opens the file; nil means the file system's. For tests.
	open func() (io.WriteCloser, error)
}

// Log writes events to a file. It is safe for concurrent use. A nil Log records nothing.
type Log struct {
	opt Options
	// candidates are the selectors that may take data events of an operation. Operations without any are not in it.
	candidates map[*operation][]*selector

	mu      sync.Mutex
	work    sync.Cond // the writer waits for events, a new file or the end
	room    sync.Cond // requests wait for room in the queue
	queue   []byte    // whole lines
	writing int       // bytes that the writer holds besides
	next    io.WriteCloser
	closed  bool
	gaveUp  bool
	losing  int64 // events lost since the queue was last emptied

	ended  chan struct{} // closed when the writer has ended
	closes chan struct{} // closed by Close

	recorded, lost, failures atomic.Int64
}

// Open opens the file and starts the writer. The caller must Close the Log.
func Open(opt Options) (*Log, error) {
	if opt.Queue == 0 {
		opt.Queue = defaultQueue
	}
	if opt.Selectors == nil {
		opt.Selectors = &Selectors{}
	}
	switch opt.Overflow {
	case "":
		opt.Overflow = Drop
	case Drop, Block:
	default:
		return nil, fmt.Errorf("overflow of the audit log: %q is neither %s nor %s", opt.Overflow, Drop, Block)
	}
	if opt.open == nil {
		opt.open = func() (io.WriteCloser, error) { return openFile(opt.File) }
	}
	l := &Log{opt: opt, candidates: map[*operation][]*selector{}, ended: make(chan struct{}), closes: make(chan struct{})}
	l.work.L, l.room.L = &l.mu, &l.mu
	for _, op := range operations() {
		for i := range opt.Selectors.list {
			if s := &opt.Selectors.list[i]; op.resource != "" && s.may(op) {
				l.candidates[op] = append(l.candidates[op], s)
			}
		}
	}
	file, err := opt.open()
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	guard.Go(opt.Logger, "writing the audit log", func() {
		defer close(l.ended)
		l.write(file)
	})
	return l, nil
}

// openFile opens a file for events.
func openFile(name string) (io.WriteCloser, error) {
	if name == Stdout {
		return keptOpen{os.Stdout}, nil
	}
	return os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
}

// keptOpen is a file that Close leaves open.
type keptOpen struct{ io.Writer }

// Close implements io.Closer.
func (keptOpen) Close() error { return nil }

// Reopen opens the file again, so that it may have been moved away: later events go to the new one. On an error they go to the old one.
func (l *Log) Reopen() error {
	if l == nil {
		return nil
	}
	file, err := l.opt.open()
	if err != nil {
		return fmt.Errorf("audit log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return file.Close()
	}
	if l.next != nil { // the writer has not come to the last one yet
		err = l.next.Close()
	}
	l.next = file
	l.work.Signal()
	return err
}

// Close writes the events in the queue and closes the file. If that takes longer than ctx, the events that remain are lost: Close logs their
// number and returns an error.
func (l *Log) Close(ctx context.Context) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.closes)
	}
	l.work.Signal()
	l.mu.Unlock()
	select {
	case <-l.ended:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.Broadcast()
	if left := len(l.queue) + l.writing; left > 0 {
		return fmt.Errorf("audit log: %d bytes of events could not be written", left)
	}
	return nil
}

// GiveUp makes requests that wait for room, now or later, lose their events instead: the server is stopping and can't wait any longer.
func (l *Log) GiveUp() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaveUp = true
	l.room.Broadcast()
}

// add puts a line into the queue.
func (l *Log) add(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// A line that is larger than the queue passes through an empty one.
	for full := func() bool { held := len(l.queue) + l.writing; return held > 0 && held+len(line) > l.opt.Queue }; full(); l.room.Wait() {
		if l.opt.Overflow == Drop || l.gaveUp || l.closed {
			l.lose()
			return
		}
	}
	if l.closed { // the writer may have ended
		l.lose()
		return
	}
	l.recorded.Add(1)
	l.queue = append(l.queue, line...)
	l.work.Signal()
}

// lose counts an event that is lost, and logs the first of a series. l.mu is held.
func (l *Log) lose() {
	l.lost.Add(1)
	if l.losing++; l.losing == 1 {
		l.opt.Logger.Error("the audit log loses events: its queue is full, or it is closed", "queue", l.opt.Queue)
	}
}

// write is the writer. It owns the file.
func (l *Log) write(file io.WriteCloser) {
	var spare []byte
	for {
		l.mu.Lock()
		for len(l.queue) == 0 && l.next == nil && !l.closed {
			l.work.Wait()
		}
		lines, next := l.queue, l.next
		l.queue, l.next, l.writing = spare[:0], nil, len(lines)
		end := l.closed && len(lines) == 0 && next == nil
		l.mu.Unlock()
		if next != nil {
			l.closeFile(file)
			file = next
		}
		if end {
			l.closeFile(file)
			return
		}
		var written bool
		if file, written = l.writeAll(file, lines); !written {
			l.closeFile(file)
			return
		}
		l.mu.Lock()
		l.writing = 0
		if l.losing > 0 {
			l.opt.Logger.Warn("the audit log records all events again", "lost", l.losing)
			l.losing = 0
		}
		l.room.Broadcast()
		l.mu.Unlock()
		if spare = lines; cap(spare) > maxSpare {
			spare = nil
		}
	}
}

// maxSpare is the largest buffer in bytes that the writer keeps.
const maxSpare = 1 << 20

// writeAll writes lines to a file until it succeeds, or until the log is closed: then the last attempt counts. If a new file comes meanwhile,
// the line that the old file has only in part begins anew. It returns the file that it wrote to.
func (l *Log) writeAll(file io.WriteCloser, lines []byte) (_ io.WriteCloser, ok bool) {
	for failing := false; len(lines) > 0; {
		n, err := file.Write(lines)
		if err == nil {
			if failing {
				l.opt.Logger.Info("the audit log can be written again")
			}
			return file, true
		}
		l.failures.Add(1)
		if !failing {
			failing = true
			l.opt.Logger.Error("cannot write the audit log; trying again every second", "error", err)
		}
		select {
		case <-time.After(retryAfter):
		case <-l.closes:
			return file, false
		}
		l.mu.Lock()
		next := l.next
		l.next = nil
		if next != nil {
			n = bytes.LastIndexByte(lines[:n], '\n') + 1
		}
		lines = lines[n:]
		l.writing = len(lines)
		l.mu.Unlock()
		if next != nil {
			l.closeFile(file)
			file = next
		}
	}
	return file, true
}

// closeFile closes a file that nothing more is written to.
func (l *Log) closeFile(file io.Closer) {
	if err := file.Close(); err != nil {
		l.opt.Logger.Error("cannot close the audit log", "error", err)
	}
}

// AppendMetrics appends the log's metrics in Prometheus's text format.
func (l *Log) AppendMetrics(dst []byte) []byte {
	if l == nil {
		return dst
	}
	for _, m := range []struct {
		name, help string
		value      *atomic.Int64
	}{
		{"stator_audit_events_total", "Events that the audit log has taken", &l.recorded},
		{"stator_audit_events_lost_total", "Events that the audit log has lost because its queue was full", &l.lost},
		{"stator_audit_write_errors_total", "Attempts to write the audit log that have failed", &l.failures},
	} {
		dst = append(dst, "# HELP "+m.name+" "+m.help+"\n# TYPE "+m.name+" counter\n"+m.name+" "...)
		dst = append(strconv.AppendInt(dst, m.value.Load(), 10), '\n')
	}
	return dst
}
