//go:build !unix

package auth

import "io/fs"

// ownFile says that a file is the server's, where that can't be told.
func ownFile(fs.FileInfo) bool { return true }
