package directio

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// TestWriter writes files of sizes around multiples of the buffer's, in pieces of many sizes.
func TestWriter(t *testing.T) {
	for _, size := range []int{0, 1, alignment, bufferSize - 1, bufferSize, bufferSize + 1, 3 * bufferSize, 3*bufferSize + 12345} {
		want := make([]byte, size)
		for i := range want {
			want[i] = byte(rand.Uint32())
		}
		name := filepath.Join(t.TempDir(), "file")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		w := NewWriter(f)
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(rand.IntN(2*bufferSize)+1))
			if m, err := w.Write(rest[:n]); m != n || err != nil {
				t.Fatalf("%d of %d bytes: %v", m, n, err)
			}
			rest = rest[n:]
		}
		if err := errors.Join(w.Flush(), f.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
		}
	}
}

// brittleFile is a file that fails after some bytes, once or permanently.
type brittleFile struct {
	*os.File
	left int
	once bool
	got  []byte
}

var errBrittle = errors.New("brittle")

func (f *brittleFile) Write(p []byte) (int, error) {
	n := min(len(p), f.left)
	f.got = append(f.got, p[:n]...)
	if f.left -= n; n == len(p) {
		return n, nil
	}
	if f.once {
		f.left = 1 << 30
	}
	return n, errBrittle
}

// TestWriterFallsBack checks that a file that does not accept direct writes is written normally, without losing or
// repeating bytes.
func TestWriterFallsBack(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	want := bytes.Repeat([]byte("0123456789"), bufferSize/4)
	f := &brittleFile{File: file, left: bufferSize + 100, once: true}
	w := NewWriter(f)
	if !w.direct {
		t.Skip("this system writes nothing directly")
	}
	if _, err := w.Write(want); err != nil || w.Flush() != nil || w.direct || !bytes.Equal(f.got, want) {
		t.Errorf("error %v, direct %v, %d bytes of %d", err, w.direct, len(f.got), len(want))
	}
}

// TestWriterFails checks that the Writer returns the file's error, and keeps returning it.
func TestWriterFails(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := NewWriter(&brittleFile{File: file, left: bufferSize})
	_, err = w.Write(make([]byte, 2*bufferSize))
	if _, again := w.Write([]byte("more")); !errors.Is(err, errBrittle) || !errors.Is(again, errBrittle) || !errors.Is(w.Flush(), errBrittle) {
		t.Errorf("got %v", err)
	}
}
