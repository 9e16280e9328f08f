package abuse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/statordb/stator/test/process"
)

// Target is a server under attack, in a process of its own.
type Target struct {
	*process.Process
	// Long says that the attack may take seconds: the long form.
	Long bool
	// Dir is the data directory; Bucket is the folder that serves as bucket "bucket".
	Dir, Bucket string
	// DAX is the address for DAX clients, host:port.
	DAX string
	// Credentials is the credentials file, if there is one.
	Credentials string

	binary   string
	flags    []string
	profiles string // address of Go's profiles
	client   *http.Client
	ended    atomic.Bool // ended on purpose
	killed   atomic.Bool // killed because it used too much memory
	stop     context.CancelFunc
	light    *lightProcess // learns of restarts; nil if there is none
	most     int64         // peak memory of earlier processes, in bytes
}

// Keys of the credentials file; targets without credentials are called with them too. Alice and Mallory have different accounts. Operator
// has operator permissions.
var (
	Alice    = Key{ID: "AKIDALICE00000000000", Secret: "alices-secret-which-no-log-may-show", Account: "111111111111"}
	Mallory  = Key{ID: "AKIDMALLORY000000000", Secret: "mallorys-secret-which-no-log-may-show", Account: "222222222222"}
	Operator = Key{ID: "AKIDOPERATOR00000000", Secret: "operators-secret-which-no-log-may-show", Account: "111111111111"}
)

// Start starts a server with default flags, plus those that the attack needs, and its data in dir.
func Start(binary, dir string, needs Needs) (*Target, error) {
	t := &Target{binary: binary, Dir: filepath.Join(dir, "data"), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}}
	profiles, err := process.FreeAddr()
	if err != nil {
		return nil, err
	}
	t.profiles = profiles
	t.flags = append([]string{"--data-dir", t.Dir, "--pprof", profiles}, needs.Flags...)
	if needs.Credentials {
		t.Credentials = filepath.Join(dir, "credentials.json")
		if err := WriteCredentials(t.Credentials, Alice, Mallory, Operator); err != nil {
			return nil, err
		}
		t.flags = append(t.flags, "--credentials", t.Credentials)
	}
	if needs.DAX {
		if t.DAX, err = process.FreeAddr(); err != nil {
			return nil, err
		}
		t.flags = append(t.flags, "--dax-listen", t.DAX)
	}
	if needs.Clock {
		t.flags = append(t.flags, "--test-clock")
	}
	if err := t.start(); err != nil {
		return nil, err
	}
	t.Bucket = filepath.Join(t.Dir, "s3", "bucket")
	return t, os.MkdirAll(t.Bucket, 0o755)
}

// WriteCredentials writes a credentials file that only its owner can read.
func WriteCredentials(file string, keys ...Key) error {
	var list []map[string]any
	for _, k := range keys {
		entry := map[string]any{"accessKeyId": k.ID, "secretAccessKey": k.Secret, "account": k.Account}
		if k == Operator {
			entry["operator"] = true
		}
		list = append(list, entry)
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o600)
}

func (t *Target) start() error {
	p, err := process.Stator(t.binary, t.flags...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Process, t.stop = p, cancel
	go t.guard(ctx, p)
	return nil
}

// killAt is the memory in bytes at which guard kills a server, so that a successful attack doesn't take the machine down.
const killAt = 2 << 30

// guard kills the server if it uses too much memory.
func (t *Target) guard(ctx context.Context, p *process.Process) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.RSS() > killAt {
			t.killed.Store(true)
			p.Kill()
			return
		}
	}
}

// Close kills the server.
func (t *Target) Close() {
	t.client.CloseIdleConnections()
	t.stop()
	t.Kill()
}

// End terminates the server with SIGTERM. It fails if the server doesn't end cleanly.
func (t *Target) End() error {
	t.ended.Store(true)
	t.most = t.MostMemory()
	done := make(chan error, 1)
	go func() { done <- t.Terminate() }()
	select {
	case err := <-done:
		t.stop()
		if err != nil {
			return fmt.Errorf("the server ended with %w: %s", err, tail(t.Output.String()))
		}
		return nil
	case <-time.After(ended):
		stack := t.profile("goroutine?debug=2")
		t.Kill()
		return fmt.Errorf("the server did not end at SIGTERM; its goroutines: %.4000s", stack)
	}
}

// Restart ends the server, unless it has ended already, and starts it again.
func (t *Target) Restart() error {
	if err := t.tell(""); err != nil {
		return err
	}
	if !t.ended.Load() {
		if err := errors.Join(t.Alive(), t.checkMemory(), t.checkLog()); err != nil {
			return err
		}
		if err := t.End(); err != nil {
			return err
		}
	}
	t.ended.Store(false)
	t.client.CloseIdleConnections()
	if err := t.start(); err != nil {
		return err
	}
	return t.tell(t.Addr)
}

// tell reports the server's address to the light client.
func (t *Target) tell(address string) error {
	if t.light == nil {
		return nil
	}
	return t.light.tell(address)
}

// Alive fails if the process has ended.
func (t *Target) Alive() error {
	if t.killed.Load() {
		return fmt.Errorf("the server took more than %d MiB and was killed", killAt>>20)
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", t.PID()))
	if err != nil || strings.Contains(string(raw), ") Z ") {
		return fmt.Errorf("the server has ended: %s", tail(t.Output.String()))
	}
	return nil
}

// tail returns the end of a log, or the part where the process crashed.
func tail(log string) string {
	if i := strings.Index(log, "panic"); i >= 0 {
		log = log[i:]
		return log[:min(len(log), 1500)]
	}
	if i := strings.Index(log, "fatal error"); i >= 0 {
		log = log[max(0, i-200):]
		return log[:min(len(log), 1500)]
	}
	return log[max(0, len(log)-1500):]
}

// checkLog fails if the server has logged a panic or a failed request.
func (t *Target) checkLog() error {
	for line := range strings.SplitSeq(t.Output.String(), "\n") {
		if strings.Contains(line, "panic") || strings.Contains(line, "request failed") {
			return fmt.Errorf("the log has: %.1000s", line)
		}
	}
	return nil
}

// Advance advances the clock of a server with --test-clock.
func (t *Target) Advance(by time.Duration) error {
	res, err := t.client.Post("http://"+t.Addr+"/_stator/clock", "application/json", strings.NewReader(`{"advance":"`+by.String()+`"}`))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("the clock: %d %s", res.StatusCode, answer)
	}
	return err
}

// Dial opens a connection that is closed when the context ends.
func (t *Target) Dial(ctx context.Context) (net.Conn, error) { return dial(ctx, t.Addr, nil) }

// DialFrom opens connection i of many thousands. They come from several loopback addresses: beyond ten thousand connections from one
// address, a kernel takes milliseconds to find the next free port, and does nothing else on that processor meanwhile.
func (t *Target) DialFrom(ctx context.Context, i int) (net.Conn, error) {
	return dial(ctx, t.Addr, &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/perAddress))})
}

// perAddress is how many connections DialFrom opens from one address.
const perAddress = 4000

func dial(ctx context.Context, addr string, from net.Addr) (net.Conn, error) {
	d := net.Dialer{LocalAddr: from}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if until, ok := ctx.Deadline(); ok {
		err = c.SetDeadline(until)
	}
	context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, err
}
