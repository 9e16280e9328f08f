// Package s3server starts a real S3 server for tests: versitygw, which make test installs.
package s3server

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Credentials of the server.
const (
	AccessKey = "testaccess"
	SecretKey = "testsecret"
)

// Variable is the environment variable with the path of the server's program. Tests that need the server are skipped without it.
const Variable = "STATOR_TEST_S3"

// Start runs a server with the buckets until the test ends. It returns its URL, and the directory whose folders are the buckets.
func Start(t testing.TB, buckets ...string) (url, dir string) {
	t.Helper()
	program := os.Getenv(Variable)
	if program == "" {
		t.Skipf("%s does not name the S3 server's program (make test sets it)", Variable)
	}
	dir = t.TempDir()
	for _, b := range buckets {
		if err := os.Mkdir(filepath.Join(dir, b), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd := exec.Command(program, "--port", address, "--access", AccessKey, "--secret", SecretKey, "--quiet", "posix", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for range 200 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return fmt.Sprint("http://", address), dir
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the S3 server does not answer")
	return "", ""
}
