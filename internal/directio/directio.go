// Package directio writes large files without copying them through the system's page cache.
//
// Filling a table writes more than that cache should hold, once, and reads none of it soon. Copying the data into the cache and
// finding pages for it would take more processor time than everything else that an import does.
package directio

import (
	"io"
	"unsafe"
)

const (
	// bufferSize is how many bytes are written at a time.
	bufferSize = 1 << 20
	// alignment of addresses, lengths and offsets, in bytes: as much as any current disk or file system requires.
	alignment = 4096
)

// File is a file open for writing, at its beginning. Fd returns its descriptor, or an invalid one for a file in memory.
type File interface {
	io.Writer
	Fd() uintptr
}

// Writer writes to a file in large pieces, bypassing the page cache where the system and file system can. It is not safe for
// concurrent use.
type Writer struct {
	file   File
	buf    []byte
	direct bool
	err    error // the first error, which stays
}

// NewWriter returns a Writer to a file. Nothing else may write to the file until Flush.
func NewWriter(f File) *Writer {
	// Start the buffer at an aligned address.
	buf := make([]byte, bufferSize+alignment)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (alignment - 1)
	return &Writer{file: f, buf: buf[skip : skip : skip+bufferSize], direct: setDirect(f.Fd(), true) == nil}
}

// Write implements io.Writer. It may return the error of an earlier Write; errors are permanent.
func (w *Writer) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) && w.err == nil {
		n := copy(w.buf[len(w.buf):cap(w.buf)], p[done:])
		w.buf = w.buf[:len(w.buf)+n]
		done += n
		if len(w.buf) == cap(w.buf) {
			w.write()
		}
	}
	return done, w.err
}

// write writes the buffer.
func (w *Writer) write() {
	n, err := w.file.Write(w.buf)
	if err != nil && w.direct && w.indirect() == nil { // some file systems accept the flag, but then no data
		_, err = w.file.Write(w.buf[n:])
	}
	w.buf, w.err = w.buf[:0], err
}

// indirect switches to normal writes.
func (w *Writer) indirect() error {
	w.direct = false
	return setDirect(w.file.Fd(), false)
}

// Flush writes what is left. Nothing may be written after it, since the length of the file is no longer aligned. The
// data is durable only once the caller has synced the file.
func (w *Writer) Flush() error {
	if w.err == nil && w.direct {
		w.err = w.indirect()
	}
	if w.err == nil && len(w.buf) > 0 {
		w.write()
	}
	return w.err
}
