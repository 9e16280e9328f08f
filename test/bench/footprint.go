package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/statordb/stator/test/process"
)

// footprint measures start-up, memory and disk.
func footprint() error {
	fmt.Printf("\n## Footprint\n\n| what | value |\n|---|--:|\n")
	binary, remove, err := install()
	if err != nil {
		return err
	}
	defer remove()
	var starts, idles []float64
	for range *rounds {
		dir, err := os.MkdirTemp(*scratch, "stator-bench")
		if err != nil {
			return err
		}
		begin := time.Now()
		p, err := process.Stator(binary, "--data-dir", dir)
		if err != nil {
			return err
		}
		c, err := dial(p.Addr)
		if err == nil {
			_, err = c.call("ListTables", "{}")
		}
		starts = append(starts, float64(time.Since(begin).Microseconds())/1000)
		idles = append(idles, float64(p.RSS())/1e6)
		p.Kill()
		os.RemoveAll(dir)
		if err != nil {
			return err
		}
	}
	fmt.Printf("| start of the process to the first answer, empty, ms | %.0f |\n| memory when idle, MB | %.0f |\n", median(starts), median(idles))
	return fill(1_000_000)
}

// install copies the program as an installation does: in small pieces. The page cache keeps what is written at once, by the linker too,
// in pieces of up to some MB, and each piece would count as a whole as the server's memory.
func install() (binary string, remove func() error, err error) {
	dir, err := os.MkdirTemp(*scratch, "stator-bench")
	if err != nil {
		return "", nil, err
	}
	binary, remove = filepath.Join(dir, "stator"), func() error { return os.RemoveAll(dir) }
	if err := copyProgram(*statorBinary, binary); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return binary, remove, nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	// Without the wrappers, Go would have the system copy, in pieces of its choice.
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, 64<<10))
	return errors.Join(err, out.Close())
}

// fill loads n items of 1 KB into a durable server and reports what that takes.
func fill(n int) error {
	dir, err := os.MkdirTemp(*scratch, "stator-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := process.Stator(*statorBinary, "--data-dir", dir)
	if err != nil {
		return err
	}
	defer func() { p.Kill() }()
	begin := time.Now()
	if err := loadLarge(p.Addr, 0, n); err != nil {
		return err
	}
	fmt.Printf("| loading %d items of 1 KB by BatchWriteItem, items/s | %.0f |\n| memory then, MB | %.0f |\n", n, float64(n)/time.Since(begin).Seconds(), float64(p.RSS())/1e6)
	if err := p.Terminate(); err != nil {
		return err
	}
	fmt.Printf("| disk bytes per item | %.0f |\n", float64(diskBytes(dir))/float64(n))
	begin = time.Now()
	if p, err = process.Stator(*statorBinary, "--data-dir", dir); err != nil {
		return err
	}
	c, err := dial(p.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.call("GetItem", `{"TableName":"large","Key":`+largeKey(n/2)+`}`); err != nil {
		return err
	}
	fmt.Printf("| start to the first GetItem with them, ms | %d |\n", time.Since(begin).Milliseconds())
	return nil
}

func diskBytes(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if info, err := d.Info(); err == nil {
			n += info.Size()
		}
		return nil
	})
	return n
}

// random is incompressible text. Each item takes a different part of it.
var random = sync.OnceValue(func() string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	out := make([]byte, 1<<20)
	x := uint64(88172645463325252)
	for i := range out {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		out[i] = letters[x>>58]
	}
	return string(out)
})

func largeKey(i int) string { return fmt.Sprintf(`{"pk":{"S":"item-%d"}}`, i) }

func largeItem(i int) string {
	at := i * 131 % (1<<20 - 1000)
	return fmt.Sprintf(`{"pk":{"S":"item-%d"},"g":{"S":"g%d"},"data":{"S":"%s"}}`, i, i%5000, random()[at:at+970])
}

// loadLarge puts the items from, …, to-1 into the table "large". It creates the table if from is 0.
func loadLarge(addr string, from, n int) error {
	c, err := dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if from == 0 {
		if _, err := c.call("CreateTable", simpleTable("large", "")); err != nil {
			return err
		}
	}
	const loaders = 8
	errs := make(chan error, loaders)
	for w := range loaders {
		go func() {
			c, err := dial(addr)
			if err != nil {
				errs <- err
				return
			}
			defer c.Close()
			for i := from + w*25; i < n; i += loaders * 25 {
				if _, err := c.call("BatchWriteItem", `{"RequestItems":{"large":[`+list(min(25, n-i), func(j int) string { return `{"PutRequest":{"Item":` + largeItem(i+j) + `}}` })+`]}}`); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range loaders {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return err
}

// waitIdle waits until the server has finished the aftermath of a load, mainly compactions.
func waitIdle(s *server) {
	look := min(2*duration(), 2*time.Second)
	for last := s.CPU(); ; {
		time.Sleep(look)
		now := s.CPU()
		if now-last < look/20 {
			return
		}
		last = now
	}
}
