package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// forgetStart gives back the pages of the program that only its start has used: initialisation goes through most packages, and a
// server that waits needs few of them. They are clean pages of a file, and come back when somebody needs them. It is advice: where
// the system does not take it, nothing is lost.
func forgetStart() {
	_ = eachMapping(func(m mapping) {
		// What the loader has written into before it was made read-only would be gone.
		if m.changed == 0 {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
		}
	})
}

// mapping is a part of the program in memory that is not writable.
type mapping struct {
	from, to uintptr
	changed  int // kilobytes that are not as in the file
}

// eachMapping visits all of them.
func eachMapping(visit func(m mapping)) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	maps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer maps.Close()
	lines := bufio.NewScanner(maps)
	var m mapping
	ours := false
	for lines.Scan() {
		line := lines.Text()
		if changed, ok := strings.CutPrefix(line, "Anonymous:"); ok {
			if _, err := fmt.Sscan(changed, &m.changed); err == nil && ours {
				visit(m)
			}
			continue
		}
		var mode string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &m.from, &m.to, &mode); n == 3 {
			ours = strings.HasSuffix(line, " "+program) && !strings.Contains(mode, "w")
		}
	}
	return lines.Err()
}
