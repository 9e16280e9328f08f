package wirejson

import (
	"bytes"
	"testing"
)

func BenchmarkPlain(b *testing.B) {
	text := bytes.Repeat([]byte("x"), 960)
	for b.Loop() {
		plain(text)
	}
}
