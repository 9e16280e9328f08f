package server

import (
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// clockPath is the path at which a server with a test clock reports it (GET) and moves it (POST {"advance": "25h"}).
const clockPath = "/_stator/clock"

// testClock is the system's clock plus an offset that only grows.
type testClock struct{ ahead atomic.Int64 } // nanoseconds ahead of the system's clock

// now returns the time of the test clock.
func (c *testClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// control answers a request to clockPath. An empty body only reads the clock. After a move, settle runs whatever has become
// due.
func (c *testClock) control(body []byte, settle func() error) ([]byte, error) {
	if len(body) > 0 {
		var in struct{ Advance string }
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		d, err := time.ParseDuration(in.Advance)
		if err != nil || d < 0 {
			return nil, fmt.Errorf("advance must be a duration such as 25h, and not negative")
		}
		c.ahead.Add(int64(d))
		if err := settle(); err != nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]string{"now": c.now().UTC().Format(time.RFC3339Nano)})
}
