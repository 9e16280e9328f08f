//go:build !linux

package directio

import "errors"

// setDirect always fails: there is no direct writing that is worth it.
func setDirect(uintptr, bool) error { return errors.ErrUnsupported }
