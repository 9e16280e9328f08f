//go:build !linux

package directio

import "errors"

// setDirect always fails: on this system direct writing is not worth its cost.
func setDirect(uintptr, bool) error { return errors.ErrUnsupported }
