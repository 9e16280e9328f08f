// Package process runs the servers that tests and benchmarks talk to, each in a process of its own on the loopback interface.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a running server.
type Process struct {
	Addr   string // host:port
	Output *Output

	cmd  *exec.Cmd
	wait func() error
}

// Output collects what a process prints.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String returns what was printed so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// startTimeout is how long a server may take until it answers: a JVM on a busy machine is slow.
const startTimeout = 60 * time.Second

// FreeAddr returns a loopback address on which nothing listens. Another process may take it before the caller does.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Start runs a command that listens on addr, and waits until it answers an HTTP request.
func Start(addr string, env []string, command ...string) (*Process, error) {
	p, err := run(env, command)
	if err != nil {
		return nil, err
	}
	p.Addr = addr
	client := http.Client{Timeout: time.Second}
	err = p.until(func() bool {
		res, err := client.Get("http://" + addr + "/")
		if err != nil {
			return false
		}
		_ = res.Body.Close()
		return true
	})
	return p, err
}

var readyLine = regexp.MustCompile(`ready at http://(\S+)`)

// Stator runs `stator serve` on a free port and waits until it reports to be ready.
func Stator(binary string, args ...string) (*Process, error) {
	p, err := run(nil, append([]string{binary, "serve", "--listen", "127.0.0.1:0"}, args...))
	if err != nil {
		return nil, err
	}
	err = p.until(func() bool {
		m := readyLine.FindStringSubmatch(p.Output.String())
		if m != nil {
			p.Addr = m[1]
		}
		return m != nil
	})
	return p, err
}

// DynamoDBLocal runs DynamoDB Local. args must contain -inMemory or -dbPath with an empty data directory.
func DynamoDBLocal(classPath string, args ...string) (*Process, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	return Start(addr, nil, append([]string{"java", "-cp", classPath,
		"software.amazon.dynamodb.services.local.main.ServerRunner", "-port", port}, args...)...)
}

// run starts a command and collects its output.
func run(env, command []string) (*Process, error) {
	p := &Process{cmd: exec.Command(command[0], command[1:]...), Output: &Output{}}
	p.cmd.Stdout, p.cmd.Stderr = p.Output, p.Output
	p.cmd.Env = append(os.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.wait = sync.OnceValue(p.cmd.Wait)
	return p, nil
}

// until waits for ready. It fails if the process ends first or takes too long.
func (p *Process) until(ready func() bool) error {
	ended := make(chan struct{})
	go func() { _ = p.wait(); close(ended) }()
	deadline := time.After(startTimeout)
	for !ready() {
		select {
		case <-ended:
			return fmt.Errorf("%s ended: %s", p.cmd.Path, p.Output)
		case <-deadline:
			p.Kill()
			return fmt.Errorf("%s does not answer: %s", p.cmd.Path, p.Output)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// Kill ends the process at once, like a crash, and waits for its end.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.wait()
}

// Terminate ends the process with SIGTERM and returns how it ended.
func (p *Process) Terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.wait()
}

// Running returns a server that runs already. Only its address is known.
func Running(addr string) *Process { return &Process{Addr: addr, Output: &Output{}} }

// PID returns the process id, or 0 if it is unknown.
func (p *Process) PID() int {
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// clockTick is the unit of CPU times in /proc on Linux, on every architecture that Go supports.
const clockTick = 10 * time.Millisecond

// CPU returns the CPU time that the process has used, or 0 if /proc doesn't tell.
func (p *Process) CPU() time.Duration { return CPU(p.PID()) }

// CPU returns the CPU time that the process with that id has used, or 0 if /proc doesn't tell.
func CPU(pid int) time.Duration {
	fields := stat(pid)
	return fields.time(utime) + fields.time(stime)
}

// FamilyCPU returns the CPU time of a process and of its children, including those that have ended, or 0 if /proc doesn't tell.
func FamilyCPU(pid int) time.Duration {
	entries, _ := os.ReadDir("/proc")
	var total time.Duration
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		switch fields := stat(id); {
		case id == pid:
			total += fields.time(utime) + fields.time(stime) + fields.time(cutime) + fields.time(cstime)
		case len(fields) > ppid && fields[ppid] == strconv.Itoa(pid):
			total += fields.time(utime) + fields.time(stime)
		}
	}
	return total
}

// Indexes of fields in status. The names are those in proc_pid_stat(5); the last two count children that have ended.
const (
	ppid   = 1
	utime  = 11
	stime  = 12
	cutime = 13
	cstime = 14
)

// status holds the fields of /proc/PID/stat that follow the command's name.
type status []string

// stat returns no fields for a process that does not exist.
func stat(pid int) status {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// The command may contain spaces; the fields behind its parenthesis don't.
	return strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
}

// time returns the CPU time in a field.
func (s status) time(field int) time.Duration {
	if field >= len(s) {
		return 0
	}
	ticks, _ := strconv.ParseInt(s[field], 10, 64)
	return time.Duration(ticks) * clockTick
}

// RSS returns the process's resident memory in bytes, or 0 if /proc doesn't tell.
func (p *Process) RSS() int64 { return p.memory("VmRSS:") }

// PeakRSS returns the most resident memory that the process has had, in bytes, or 0 if /proc doesn't tell.
func (p *Process) PeakRSS() int64 { return p.memory("VmHWM:") }

// memory returns a size in the process's status in bytes.
func (p *Process) memory(name string) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(raw), name)
	line, _, _ := strings.Cut(rest, "kB")
	n, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return n << 10
}

// Files returns the number of open file descriptors, or 0 if /proc doesn't tell.
func (p *Process) Files() int {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.PID()))
	if err != nil {
		return 0
	}
	return len(list)
}

// Signal sends the process a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }
