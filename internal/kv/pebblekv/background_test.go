package pebblekv

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
)

// TestBehind checks when flushes and compactions must hurry: from when a memtable is filled during a flush until the flush ends, and
// while writes are stalled, whatever flushes end meanwhile.
func TestBehind(t *testing.T) {
	var fs backgroundFS
	l := fs.listener()
	for _, step := range []struct {
		name  string
		event func()
		want  bool
	}{
		{"a log", func() { l.WALCreated(pebble.WALCreateInfo{}) }, false},
		{"a flush", func() { l.FlushBegin(pebble.FlushInfo{}) }, false},
		{"a log during the flush", func() { l.WALCreated(pebble.WALCreateInfo{}) }, true},
		{"the end of the flush", func() { l.FlushEnd(pebble.FlushInfo{}) }, false},
		{"a stall", func() { l.WriteStallBegin(pebble.WriteStallBeginInfo{}) }, true},
		{"a flush during the stall", func() { l.FlushBegin(pebble.FlushInfo{}) }, true},
		{"the end of that flush", func() { l.FlushEnd(pebble.FlushInfo{}) }, true},
		{"the end of the stall", func() { l.WriteStallEnd() }, false},
	} {
		step.event()
		if got := fs.behind(); got != step.want {
			t.Errorf("after %s: behind %v, want %v", step.name, got, step.want)
		}
	}
}
