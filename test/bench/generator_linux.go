package main

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"
	"unsafe"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// The generator is one thread that sends requests when they are due and reads the answers, by epoll. Timers of Go's runtime are up to
// a millisecond late, and a goroutine per connection adds the scheduler's delays: both would count as the server's.

// runGenerator runs a job in a process of its own, on a core if one is given.
func runGenerator(j job, core int) (*measured, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var in, out, stderr bytes.Buffer
	if err := gob.NewEncoder(&in).Encode(j); err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), generatorEnv+"=1", "GODEBUG=asyncpreemptoff=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &stderr
	if err := onCore(core, cmd.Start); err != nil {
		return nil, err
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("generator: %w: %s", err, stderr.Bytes())
	}
	m := &measured{}
	return m, json.Unmarshal(out.Bytes(), m)
}

// onCores runs f, which starts processes, so that they run on some cores with all their threads.
func onCores(cores []int, f func() error) error {
	// A process inherits the affinity of the thread that forks it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, only unix.CPUSet
	for _, core := range cores {
		only.Set(core)
	}
	if err := errors.Join(unix.SchedGetaffinity(0, &before), unix.SchedSetaffinity(0, &only)); err != nil {
		return err
	}
	return errors.Join(f(), unix.SchedSetaffinity(0, &before))
}

// moveTo moves this process, with all its threads, to one core, or with anyCore to all.
func moveTo(core int) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	var cores unix.CPUSet
	if core == anyCore {
		cores.Fill()
	} else {
		cores.Set(core)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &cores); err != nil && !errors.Is(err, unix.ESRCH) { // a thread that has ended
			return err
		}
	}
	return nil
}

// generate runs the job on standard input.
func generate() error {
	var j job
	if err := gob.NewDecoder(os.Stdin).Decode(&j); err != nil {
		return err
	}
	debug.SetGCPercent(-1)
	runtime.LockOSThread()
	if !j.Spin {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, -15) // without the right to, it is late more often, which Late shows
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	}
	m, err := newGenerator(j)
	if err != nil {
		return err
	}
	res, err := m.run()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(res)
}

// socket is a connection of the generator.
type socket struct {
	fd   int
	addr int           // index in Addrs of the server
	due  time.Duration // when its request was due; since the start
	buf  []byte
	have int // bytes of the answer in buf
	need int // length of the answer; 0 while its header is incomplete
}

type generator struct {
	job
	epoll   int
	byFD    map[int32]*socket
	idle    [][]*socket // without a request, by server
	busy    int         // number of connections with a request
	latency *hdrhistogram.Histogram
	late    *hdrhistogram.Histogram
	refused int
	sent    int
}

func newGenerator(j job) (*generator, error) {
	epoll, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	const minute = int64(time.Minute / time.Microsecond)
	g := &generator{job: j, epoll: epoll, byFD: map[int32]*socket{}, latency: hdrhistogram.New(1, minute, 3), late: hdrhistogram.New(1, minute, 3)}
	g.idle = make([][]*socket, len(j.Addrs))
	for i := range j.Connections {
		s := &socket{buf: make([]byte, 64<<10), addr: i % len(j.Addrs)}
		if err := g.connect(s); err != nil {
			return nil, err
		}
		g.idle[s.addr] = append(g.idle[s.addr], s)
	}
	return g, nil
}

func (g *generator) connect(s *socket) error {
	addr, err := net.ResolveTCPAddr("tcp4", g.Addrs[s.addr])
	if err != nil {
		return err
	}
	if s.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.Connect(s.fd, &unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}); err != nil {
		return err
	}
	if err := errors.Join(unix.SetNonblock(s.fd, true), unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)); err != nil {
		return err
	}
	g.byFD[int32(s.fd)] = s
	return unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, s.fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)})
}

// run sends requests until the time is over and the last answer has come.
func (g *generator) run() (*measured, error) {
	start := time.Now()
	end := g.Warm + g.Time
	var interval float64
	if g.Rate > 0 {
		interval = float64(time.Second) / g.Rate
	}
	events := make([]unix.EpollEvent, g.Connections)
	res := &measured{}
	expected := time.Duration(0) // when the generator meant to look again
	for {
		now := time.Since(start)
		if g.Rate > 0 && now > g.Warm && now > expected {
			_ = g.late.RecordValue(max(1, (now - expected).Microseconds()))
		}
		wait := time.Duration(0)
		for {
			due := now
			if g.Rate > 0 {
				due = time.Duration(float64(g.sent) * interval)
			}
			if due >= end || now >= end && g.Rate == 0 {
				wait = 10 * time.Millisecond
				break
			}
			if due > now {
				wait = due - now
				break
			}
			s := g.take()
			if s == nil {
				res.Overload = g.Rate > 0 && g.Backlog > 0 && now-due > g.Backlog
				wait = 10 * time.Millisecond
				break
			}
			s.due = due
			if err := g.send(s, g.Requests[g.sent%len(g.Requests)]); err != nil {
				return nil, err
			}
			g.sent++
			now = time.Since(start)
		}
		if g.busy == 0 && now >= end || res.Overload {
			break
		}
		if now > end+requestTimeout {
			return nil, fmt.Errorf("no answer within %v", requestTimeout)
		}
		if g.Spin {
			wait = 0
		}
		expected = now + wait
		n, err := g.wait(events, wait)
		if err != nil {
			return nil, err
		}
		for _, e := range events[:n] {
			s := g.byFD[e.Fd]
			done, err := g.receive(s)
			if err != nil {
				return nil, err
			}
			if done {
				now := time.Since(start)
				if s.due >= g.Warm {
					_ = g.latency.RecordValue(max(1, (now - s.due).Microseconds()))
				}
				g.give(s)
			}
		}
		if n > 0 {
			expected = time.Since(start)
		}
	}
	res.Latency, res.Late, res.Refused = g.latency.Export(), g.late.Export(), g.refused
	res.Rate = float64(g.latency.TotalCount()) / (time.Since(start) - g.Warm).Seconds()
	return res, nil
}

// take returns a connection for the next request, or nil if all connections are busy. Servers take turns; a server without an idle
// connection passes its turn on.
func (g *generator) take() *socket {
	for i := range g.idle {
		list := &g.idle[(g.sent+i)%len(g.idle)]
		if last := len(*list) - 1; last >= 0 {
			s := (*list)[last]
			*list = (*list)[:last]
			g.busy++
			return s
		}
	}
	return nil
}

// give returns a connection whose answer has come.
func (g *generator) give(s *socket) {
	g.idle[s.addr] = append(g.idle[s.addr], s)
	g.busy--
}

// wait waits for answers. Raw system calls keep Go's scheduler out of the way.
func (g *generator) wait(events []unix.EpollEvent, d time.Duration) (int, error) {
	timeout := unix.NsecToTimespec(int64(d))
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(g.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
		uintptr(unsafe.Pointer(&timeout)), 0, 0)
	if errno == unix.EINTR {
		return 0, nil
	}
	if errno != 0 {
		return 0, os.NewSyscallError("epoll_pwait2", errno)
	}
	return int(n), nil
}

func (g *generator) send(s *socket, req []byte) error {
	s.have, s.need = 0, 0
	for len(req) > 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(&req[0])), uintptr(len(req)))
		switch errno {
		case 0:
			req = req[n:]
		case unix.EAGAIN, unix.EINTR:
		default:
			return os.NewSyscallError("write", errno)
		}
	}
	return nil
}

// receive reads what has arrived of an answer, and reports whether that was all of it.
func (g *generator) receive(s *socket) (done bool, err error) {
	if s.have == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s.fd), uintptr(unsafe.Pointer(&s.buf[s.have])), uintptr(len(s.buf)-s.have))
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return false, nil
	case errno != 0:
		return false, os.NewSyscallError("read", errno)
	case n == 0:
		return false, errors.New("the server closed a connection")
	}
	s.have += int(n)
	if s.need == 0 {
		head := bytes.Index(s.buf[:s.have], []byte("\r\n\r\n"))
		if head < 0 {
			return false, nil
		}
		body, ok := contentLength(s.buf[:head+2])
		if !ok {
			return false, fmt.Errorf("an answer without Content-Length: %q", s.buf[:head])
		}
		s.need = head + 4 + body
		if string(s.buf[9:12]) != "200" { // after "HTTP/1.1 "
			g.refused++
		}
	}
	return s.have >= s.need, nil
}

// contentLength returns the value of the header Content-Length.
func contentLength(head []byte) (int, bool) {
	for len(head) > 0 {
		line, rest, _ := bytes.Cut(head, []byte("\r\n"))
		head = rest
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			return n, err == nil
		}
	}
	return 0, false
}
