//go:build !unix

package turns

import "time"

// yield lets requests run.
func yield() { time.Sleep(pause) }
