package cli

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// forgetStart returns the program pages that only the start needed. Initialisation touches most packages, while an idle server
// needs few of them. The pages are clean and file-backed, so the kernel reloads them on demand. The advice is best-effort:
// errors are ignored.
func forgetStart() {
	_ = eachMapping(func(m mapping) {
		// Pages that the loader relocated differ from the file. Dropping them would lose the relocations.
		if m.changed == 0 {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, m.from, m.to-m.from, unix.MADV_DONTNEED)
		}
	})
}

// mapping is a read-only part of the program in memory.
type mapping struct {
	from, to uintptr
	changed  int // kilobytes that differ from the file
}

// eachMapping visits every read-only mapping of the program's own file, as /proc/self/smaps lists them.
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
