//go:build !linux

package main

// forgetStart does nothing: what it does on Linux is a matter of that system.
func forgetStart() {}
