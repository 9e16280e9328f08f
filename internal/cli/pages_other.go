//go:build !linux

package cli

// forgetStart does nothing: what it does on Linux is a matter of that system.
func forgetStart() {}
