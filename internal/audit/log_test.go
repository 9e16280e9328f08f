package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// disk is a file whose writes may fail, stop in the middle of a line, or wait.
type disk struct {
	mu     sync.Mutex
	text   bytes.Buffer
	fail   error
	torn   int           // how many bytes a failing write writes
	gate   chan struct{} // if it isn't nil, each write waits for it
	closed bool
	writes int       // how many have ended, well or not
	wrote  sync.Cond // is signalled by each; its lock is mu
}

// await waits until the disk has ended a number of writes, and their writer has dealt with the last one.
func (d *disk) await(writes int) {
	d.mu.Lock()
	d.wrote.L = &d.mu
	for d.writes < writes {
		d.wrote.Wait()
	}
	d.mu.Unlock()
	synctest.Wait()
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.writes++
	d.wrote.Broadcast()
	if d.fail != nil {
		n := min(d.torn, len(p))
		d.text.Write(p[:n])
		d.torn -= n
		return n, d.fail
	}
	return d.text.Write(p)
}

func (d *disk) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}

func (d *disk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *disk) content() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.text.String()
}

// over opens a log over disks, one after the other, and returns what it logs.
func over(t *testing.T, overflow Overflow, queue int, disks ...*disk) (*Log, *disk) {
	t.Helper()
	log := &disk{}
	l, err := Open(Options{
		Overflow: overflow, Queue: queue, Logger: slog.New(slog.NewTextHandler(log, nil)),
		open: func() (io.WriteCloser, error) {
			if len(disks) == 0 {
				return nil, errors.New("no disk")
			}
			d := disks[0]
			disks = disks[1:]
			return d, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l, log
}

func (l *Log) addAll(lines ...string) {
	for _, line := range lines {
		l.add([]byte(line + "\n"))
	}
}

func closeLog(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// TestOrder: lines are written in their order, all of them by Close.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		l, log := over(t, Drop, 0, d)
		want := ""
		for i := range 1000 {
			l.addAll(fmt.Sprint(i))
			want += fmt.Sprintln(i)
		}
		closeLog(t, l)
		expect(t, "written", d.content(), want)
		expect(t, "logged", log.content(), "")
		if !d.closed {
			t.Error("the file is open")
		}
		l.addAll("late") // it is lost, and says so
		if l.lost.Load() != 1 || !strings.Contains(log.content(), "loses events") {
			t.Errorf("%d lost, logged %s", l.lost.Load(), log.content())
		}
	})
}

// TestDrop: events that the queue has no room for are counted, and logged once per series.
func TestDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{gate: make(chan struct{})}
		l, log := over(t, Drop, 10, d)
		l.addAll("one")
		synctest.Wait() // the writer holds it
		l.addAll("two", "three", "four", "x")
		synctest.Wait()
		if l.lost.Load() != 2 || strings.Count(log.content(), "loses events") != 1 {
			t.Errorf("%d lost, logged %s", l.lost.Load(), log.content())
		}
		d.gate <- struct{}{}
		synctest.Wait()
		if !strings.Contains(log.content(), "records all events again") || !strings.Contains(log.content(), "lost=2") {
			t.Errorf("logged %s", log.content())
		}
		d.gate <- struct{}{}
		synctest.Wait()
		l.addAll("five")
		close(d.gate)
		closeLog(t, l)
		expect(t, "written", d.content(), "one\ntwo\nx\nfive\n")
		metrics := string(l.AppendMetrics(nil))
		if !strings.Contains(metrics, "\nstator_audit_events_total 4\n") || !strings.Contains(metrics, "\nstator_audit_events_lost_total 2\n") {
			t.Error(metrics)
		}
	})
}

// TestBlock: requests wait for room; nothing is lost while the disk fails.
func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{fail: errors.New("disk full"), torn: 5}
		l, log := over(t, Block, 10, d)
		l.addAll("one", "two")
		done := make(chan struct{})
		go func() {
			l.addAll("three", "four")
			close(done)
		}()
		d.await(50)
		select {
		case <-done:
			t.Fatal("the requests did not wait for room")
		default:
		}
		if n := strings.Count(log.content(), "cannot write"); n != 1 || l.failures.Load() < 50 {
			t.Errorf("%d failures are logged %d times: %s", l.failures.Load(), n, log.content())
		}
		d.set(func() { d.fail = nil })
		<-done
		closeLog(t, l)
		expect(t, "written", d.content(), "one\ntwo\nthree\nfour\n")
		if l.lost.Load() != 0 || strings.Count(log.content(), "can be written again") != 1 {
			t.Errorf("%d lost, logged %s", l.lost.Load(), log.content())
		}
	})
}

// TestLargeLine: a line that is larger than the queue gets through.
func TestLargeLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{}
		l, _ := over(t, Block, 10, d)
		line := strings.Repeat("x", 1000)
		l.addAll("one", line, line, "two")
		closeLog(t, l)
		expect(t, "written", d.content(), "one\n"+line+"\n"+line+"\ntwo\n")
	})
}

// TestGiveUp: a stopping server doesn't wait for a disk that fails. What is lost is counted.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{fail: errors.New("disk full")}
		l, _ := over(t, Block, 10, d)
		l.addAll("one", "two")
		done := make(chan struct{})
		go func() {
			l.addAll("three")
			close(done)
		}()
		synctest.Wait()
		l.GiveUp()
		<-done
		l.addAll("four")
		if l.lost.Load() != 2 {
			t.Errorf("%d lost", l.lost.Load())
		}
		if err := l.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "8 bytes of events could not be written") {
			t.Error(err)
		}
	})
}

// TestCloseInTime: Close doesn't wait longer than it may for a write that hangs.
func TestCloseInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{gate: make(chan struct{})}
		l, _ := over(t, Drop, 0, d)
		l.addAll("one")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := l.Close(ctx); err == nil {
			t.Error("no error")
		}
		close(d.gate)
		closeLog(t, l)
		expect(t, "written", d.content(), "one\n")
	})
}

// TestReopen: later lines go to the new file. A line that the old file has only in part is whole in the new one.
func TestReopen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, third := &disk{}, &disk{}, &disk{}
		l, log := over(t, Drop, 0, first, second, third)
		l.addAll("one")
		synctest.Wait()
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !first.closed {
			t.Error("the first file is open, although the log is idle")
		}
		second.set(func() { second.fail, second.torn = errors.New("disk full"), 6 })
		l.addAll("two", "three")
		synctest.Wait()
		if err := l.Reopen(); err != nil {
			t.Fatal(err)
		}
		third.await(1)
		if err := l.Reopen(); err == nil {
			t.Error("no error without a disk")
		}
		l.addAll("four")
		closeLog(t, l)
		expect(t, "first", first.content(), "one\n")
		expect(t, "second", second.content(), "two\nth")
		expect(t, "third", third.content(), "three\nfour\n")
		if !second.closed || strings.Count(log.content(), "cannot write") != 1 {
			t.Errorf("logged %s", log.content())
		}
	})
}

// TestFile: the file has mode 0600 and keeps what it has.
func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	for _, line := range []string{"one", "two"} {
		l, err := Open(Options{File: name, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		l.addAll(line)
		closeLog(t, l)
	}
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, "content", string(content), "one\ntwo\n")
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := Open(Options{File: filepath.Join(name, "below")}); err == nil {
		t.Error("a file below a file is opened")
	}
	if _, err := Open(Options{File: name, Overflow: "explode"}); err == nil {
		t.Error("an unknown overflow is accepted")
	}
}

// TestNil: a nil log does nothing.
func TestNil(t *testing.T) {
	var l *Log
	l.Record(&Request{})
	l.GiveUp()
	if err := errors.Join(l.Reopen(), l.Close(context.Background())); err != nil || l.AppendMetrics(nil) != nil {
		t.Error(err)
	}
}
