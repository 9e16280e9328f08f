//go:build !linux

package pebblekv

import (
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func releasingSync(f vfs.File) error                   { return f.Sync() }
func releasingSyncData(f vfs.File) error               { return f.SyncData() }
func releasingWrite(f vfs.File, p []byte) (int, error) { return f.Write(p) }
func releasingRemove(name string) error                { return os.Remove(name) }
func lockThread()                                      {}
