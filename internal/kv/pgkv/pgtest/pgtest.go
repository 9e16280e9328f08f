// Package pgtest runs a private PostgreSQL server for tests, from binaries such as Debian's package postgresql installs.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Instance is a database server, with its files in a temporary directory, listening on loopback only.
type Instance struct {
	bin, dir string
	durable  bool
	port     int
	as       *syscall.Credential // nil for the current user
	process  *exec.Cmd
	exited   chan struct{}
	bases    atomic.Int64
}

// binaries returns the directory of PostgreSQL's binaries; "" if it is not installed.
func binaries() string {
	if at, err := exec.LookPath("initdb"); err == nil {
		if at, err = filepath.EvalSymlinks(at); err == nil {
			return filepath.Dir(at)
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// New starts a server and stops it when the test ends.
func New(t testing.TB) *Instance {
	t.Helper()
	i := MustStart(t)
	t.Cleanup(func() {
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// MustStart starts a server that the caller must close. It skips the test if PostgreSQL is not installed, unless
// STATOR_TEST_POSTGRES is set, as `make test` does.
func MustStart(t testing.TB) *Instance {
	t.Helper()
	i, err := Start(false)
	if errors.Is(err, errNotInstalled) && os.Getenv("STATOR_TEST_POSTGRES") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return i
}

var errNotInstalled = errors.New("the PostgreSQL server is not installed")

// Start starts a server. Committed data survives a crash of its processes; if durable, also a crash of the machine, which costs
// an fsync per commit.
func Start(durable bool) (_ *Instance, err error) {
	i := &Instance{bin: binaries(), durable: durable}
	if i.bin == "" {
		return nil, errNotInstalled
	}
	if i.dir, err = os.MkdirTemp("", "stator-postgres-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(i.dir))
		}
	}()
	if os.Getuid() == 0 { // PostgreSQL refuses to run as root
		if err := i.asOther(); err != nil {
			return nil, err
		}
	}
	if err := i.run("initdb", "-D", i.data(), "-U", "stator", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	return i, i.Restart()
}

func (i *Instance) data() string { return filepath.Join(i.dir, "data") }

// asOther makes the server run as a user without privileges.
func (i *Instance) asOther() error {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		i.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		return os.Chown(i.dir, uid, gid)
	}
	return errors.New("neither user postgres nor user nobody exists to run PostgreSQL")
}

func (i *Instance) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(i.bin, name), args...)
	cmd.Dir = i.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: i.as}
	return cmd
}

func (i *Instance) run(name string, args ...string) error {
	var out bytes.Buffer
	cmd := i.command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out.Bytes())
	}
	return nil
}

// Restart starts the server, stopping it first if it runs, and returns once it answers.
func (i *Instance) Restart() error {
	if err := i.Stop(syscall.SIGINT); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(i.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := i.command("postgres", "-D", i.data(), "-p", strconv.Itoa(i.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", fmt.Sprint("fsync=", i.durable), "-c", "max_connections=200", "-c", "shared_buffers=128MB")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the log says how it ended
		close(exited)
	}()
	i.process, i.exited = cmd, exited
	for deadline := time.Now().Add(time.Minute); ; {
		err := i.exec(i.url("postgres"), "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			raw, _ := os.ReadFile(filepath.Join(i.dir, "log"))
			return fmt.Errorf("PostgreSQL has ended: %w\n%s", err, raw)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// Stop ends the server: SIGINT shuts down fast but cleanly, SIGQUIT ends it as a crash would.
func (i *Instance) Stop(sig syscall.Signal) error {
	if i.process == nil {
		return nil
	}
	if err := i.process.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-i.exited
	i.process = nil
	return nil
}

// PID returns the process id of the running server, whose children serve its connections.
func (i *Instance) PID() int { return i.process.Process.Pid }

func (i *Instance) url(database string) string {
	return fmt.Sprintf("postgres://stator@127.0.0.1:%d/%s?sslmode=disable", i.port, database)
}

func (i *Instance) exec(url, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	_, err = c.Exec(ctx, statement)
	return errors.Join(err, c.Close(ctx))
}

// Database creates a new, empty database and returns its URL.
func (i *Instance) Database() (url string, err error) {
	name := fmt.Sprint("stator", i.bases.Add(1))
	return i.url(name), i.exec(i.url("postgres"), "CREATE DATABASE "+name)
}

// Gone returns once no server is connected whose name begins with name and a hyphen.
func (i *Instance) Gone(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, i.url("postgres"))
	if err != nil {
		return err
	}
	for n := 1; n > 0 && err == nil; {
		err = c.QueryRow(ctx, "SELECT count(*) FROM pg_stat_activity WHERE starts_with(application_name, $1)", name+"-").Scan(&n)
	}
	return errors.Join(err, c.Close(ctx))
}

// Close stops the server and removes its files.
func (i *Instance) Close() error { return errors.Join(i.Stop(syscall.SIGINT), os.RemoveAll(i.dir)) }
