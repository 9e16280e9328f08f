//go:build !linux

package pebblekv

import "github.com/cockroachdb/pebble/v2/vfs"

// releasing returns f: see sync_linux.go for what it does on Linux.
func releasing(f vfs.File) vfs.File { return f }
