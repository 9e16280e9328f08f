package main

import (
	"context"
	"errors"
	"fmt"
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

// install copies the program, as an installation does. The linker leaves its output in the page cache in large pieces, and each piece
// would count as a whole as the server's memory.
func install() (binary string, remove func() error, err error) {
	dir, err := os.MkdirTemp(*scratch, "stator-bench")
	if err != nil {
		return "", nil, err
	}
	program, err := os.ReadFile(*statorBinary)
	binary, remove = filepath.Join(dir, "stator"), func() error { return os.RemoveAll(dir) }
	if err = errors.Join(err, os.WriteFile(binary, program, 0o755)); err != nil {
		return "", nil, errors.Join(err, remove())
	}
	return binary, remove, nil
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
	const look = 2 * time.Second
	for last := s.CPU(); ; {
		time.Sleep(look)
		now := s.CPU()
		if now-last < look/20 {
			return
		}
		last = now
	}
}

// growth compares latencies on a large table with those on a small one.
func growth() error {
	servers, stop, err := start(statorDurable)
	defer stop()
	if err != nil {
		return err
	}
	s := servers[0]
	const n = 16
	fmt.Printf("\n## Growth\n\n%d connections, open loop at 2,000 requests per second, random items of 1 KB.\n\n| items | workload | p50 ms | p99 ms | p99.9 ms | memory MB |\n|--:|---|--:|--:|--:|--:|\n", n)
	from := 0
	for _, count := range []int{min(100_000, *growthItems/2), *growthItems} {
		if err := loadLarge(s.Addr, from, count); err != nil {
			return err
		}
		from = count
		waitIdle(s)
		for _, w := range []workload{
			simple(getWorkload, "GetItem", 1, func(i int) string { return `{"TableName":"large","Key":` + largeKey(i*104729%count) + `}` }),
			simple(putWorkload, "PutItem", 1, func(i int) string { return `{"TableName":"large","Item":` + largeItem(i*104729%count) + `}` }),
		} {
			r, err := measureRounds(s, w, n, 2000)
			if err != nil {
				return err
			}
			fmt.Printf("| %d | %s | %s | %.0f |\n", count, w.name, latencies(r), float64(s.RSS())/1e6)
		}
	}
	if err := scanForeground(s, n); err != nil {
		return err
	}
	dir := s.dir
	if err := s.Terminate(); err != nil {
		return err
	}
	// The time includes the process's start and the recovery of the data directory.
	begin := time.Now()
	p, err := process.Stator(*statorBinary, "--data-dir", dir)
	if err != nil {
		return err
	}
	s.Process = p // for stop
	c, err := dial(p.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.call("GetItem", `{"TableName":"large","Key":`+largeKey(1)+`}`); err != nil {
		return err
	}
	fmt.Printf("\nStart to the first GetItem with %d items (%.1f GB on disk): %d ms.\n", *growthItems, float64(diskBytes(dir))/1e9, time.Since(begin).Milliseconds())
	return nil
}

// scanner scans the table "large" again and again.
type scanner struct {
	start       string // of the next page, as members of a request
	pages, size int    // so far; size is in bytes
}

// run scans until ctx ends. The next run goes on from there.
func (s *scanner) run(ctx context.Context, c *conn) error {
	for ctx.Err() == nil {
		answer, err := c.call("Scan", `{"TableName":"large"`+s.start+`}`)
		if err != nil {
			return err
		}
		s.pages, s.size, s.start = s.pages+1, s.size+len(answer), ""
		if key, ok := object(string(answer[max(0, len(answer)-400):]), "", `"LastEvaluatedKey":`); ok {
			s.start = `,"ExclusiveStartKey":` + key
		}
	}
	return nil
}

// scanForeground measures the latency of single requests, alternately with and without a client that scans the whole table.
func scanForeground(s *server, n int) error {
	waitIdle(s) // finish the aftermath of earlier writes
	get := simple(getWorkload, "GetItem", 1, func(i int) string {
		return `{"TableName":"large","Key":` + largeKey(i*104729%*growthItems) + `}`
	})
	c, err := dial(s.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	var idle, beside []result
	var scan scanner
	for range *rounds {
		r, err := measure(s, get, n, 2000)
		if err != nil {
			return err
		}
		idle = append(idle, r)
		ctx, stop := context.WithCancel(context.Background())
		scanned := make(chan error, 1)
		go func() { scanned <- scan.run(ctx, c) }()
		r, err = measure(s, get, n, 2000)
		stop()
		if err = errors.Join(err, <-scanned); err != nil {
			return err
		}
		beside = append(beside, r)
	}
	fmt.Printf("| %d | GetItem 1 KB, in turn with the next | %s | |\n", *growthItems, latencies(idle))
	fmt.Printf("| %d | GetItem 1 KB during a Scan of the table | %s | %.0f |\n", *growthItems, latencies(beside), float64(s.RSS())/1e6)
	p99 := func(r result) float64 { return r.quantiles[1] }
	fmt.Printf("\nThe Scan, %d pages with %.1f GB in all, made the p99 %.1f times as long.\n", scan.pages, float64(scan.size)/1e9, ratio(each(beside, p99), each(idle, p99)))
	return nil
}
