//go:build unix

package auth

import (
	"io/fs"
	"os"
	"syscall"
)

// ownFile reports whether the file belongs to the server's user.
func ownFile(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}
