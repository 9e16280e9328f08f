package node

import (
	"errors"
	"os"
	"sync"
	"time"
)

// watcher cancels the connection's context when the client goes away while its request runs. The only sign of that is a failed read,
// so it reads ahead: bytes that arrive belong to the next request.
type watcher struct {
	timer *time.Timer

	mu      sync.Mutex
	running bool
	reading chan struct{} // closed when the read-ahead has stopped; nil if there is none
}

// begin arms the watcher: it starts to read ahead once the request has run for watchAfter.
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

// look reads ahead until the request has ended, the client has gone, or the buffer is full.
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
	// Nothing else touches c.in and c.have while the request runs: end waits for this loop.
	for c.have < len(c.in) {
		n, err := c.net.Read(c.in[c.have:])
		c.have += n
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return // end has set the deadline
		}
		if err != nil {
			c.cancel()
			return
		}
	}
}

// end stops watching. When it returns, nothing else uses the connection.
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
	_ = c.net.SetReadDeadline(c.readBy) // fails only if the connection is closed, and then the read-ahead has ended too
	<-reading
}
