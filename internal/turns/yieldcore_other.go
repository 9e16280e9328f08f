//go:build !linux

package turns

func yieldCore() {}
