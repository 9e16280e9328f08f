//go:build !unix

package node

// maxFiles returns how many files the process may open; 0 if that is unknown.
func maxFiles() uint64 { return 0 }
