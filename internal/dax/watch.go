package dax

import (
	"errors"
	"os"
	"sync"
	"time"
)

// watcher notices that a client goes away while its request runs, and ends the connection's context then. It reads on behind the
// request: what comes is the next request's.
type watcher struct {
	timer *time.Timer

	mu      sync.Mutex
	running bool
	reading chan struct{} // closed when nothing reads any more; nil if nothing does
}

// begin watches the connection if the request runs for longer than watchAfter.
func (w *watcher) begin(c *conn) {
	w.mu.Lock()
	w.running = true
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, func() { w.look(c) })
	} else {
		w.timer.Reset(watchAfter)
	}
}

// look reads until the request has ended, the client has gone, or there is no room for more.
func (w *watcher) look(c *conn) {
	w.mu.Lock()
	if !w.running || w.reading != nil || c.net.SetReadDeadline(time.Time{}) != nil {
		w.mu.Unlock()
		return
	}
	reading := make(chan struct{})
	w.reading = reading
	w.mu.Unlock()
	defer close(reading)
	for c.have < len(c.in) {
		n, err := c.net.Read(c.in[c.have:])
		c.have += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return // end has come
		}
		if err != nil {
			c.cancel()
			return
		}
	}
}

// end stops watching. When it returns nothing else uses the connection.
func (w *watcher) end(c *conn) {
	w.timer.Stop()
	w.mu.Lock()
	reading := w.reading
	w.running, w.reading = false, nil
	w.mu.Unlock()
	if reading == nil {
		return
	}
	c.readBy = time.Unix(1, 0)
	_ = c.net.SetReadDeadline(c.readBy) // fails only if the connection is closed, and the reader has ended
	<-reading
}
