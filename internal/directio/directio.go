// Package directio writes large files without a copy in the system's cache of pages.
//
// Whoever fills a table writes more than that cache should hold, once, and reads none of it soon; copying it there and finding
// pages for it takes the system more processor time than everything else that an import does.
package directio

import (
	"io"
	"unsafe"
)

const (
	// bufferSize is how many bytes are written at a time.
	bufferSize = 1 << 20
	// alignment is that of addresses, lengths and offsets: all that disks and file systems of today ask for, in bytes.
	alignment = 4096
)

// File is a file open for writing, at its beginning. Fd returns its descriptor, or a number that is none for a file in memory.
type File interface {
	io.Writer
	Fd() uintptr
}

// Writer writes to a file in large pieces, past the system's cache where system and file system can. It is used by one goroutine.
type Writer struct {
	file   File
	buf    []byte
	direct bool
	err    error
}

// NewWriter returns a Writer to a file, which must be written to through it alone.
func NewWriter(f File) *Writer {
	buf := make([]byte, bufferSize+alignment)
	skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(buf)))) & (alignment - 1)
	return &Writer{file: f, buf: buf[skip : skip : skip+bufferSize], direct: setDirect(f.Fd(), true) == nil}
}

// Write implements io.Writer. An error may be that of an earlier Write, and stays.
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

func (w *Writer) write() {
	n, err := w.file.Write(w.buf)
	if err != nil && w.direct && w.indirect() == nil { // some file systems take the flag, and then no data
		_, err = w.file.Write(w.buf[n:])
	}
	w.buf, w.err = w.buf[:0], err
}

func (w *Writer) indirect() error {
	w.direct = false
	return setDirect(w.file.Fd(), false)
}

// Flush writes what is left. Nothing may be written any more: the file's length is no multiple of anything now. What was written
// is durable only once the file was synced.
func (w *Writer) Flush() error {
	if w.err == nil && w.direct {
		w.err = w.indirect()
	}
	if w.err == nil && len(w.buf) > 0 {
		w.write()
	}
	return w.err
}
