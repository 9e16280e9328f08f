package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/statordb/stator/internal/awserr"
	"github.com/statordb/stator/internal/engine"
)

// TestPrivateFiles checks that only the server's user can read the server's files, whatever the umask is.
func TestPrivateFiles(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	dir := filepath.Join(t.TempDir(), "above", "data")
	opt := Options{Listen: "127.0.0.1:0", DataDir: dir}
	server, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	d := &db{t, server, ""}
	d.must("CreateTable", streamedTable("tbl", "KEYS_ONLY"))
	d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("k"), "sk": n(1)}})
	checkpoint := d.must("Stator_20261101.CreateCheckpoint", obj{})["Directory"].(string)
	if _, err := os.Stat(filepath.Join(dir, checkpoint, "FORMAT")); err != nil {
		t.Error(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if err := engine.Checkpoint(context.Background(), dir, filepath.Join(dir, "checkpoint-1"), nil); err != nil {
		t.Fatal(err)
	}
	seen := 0
	check := func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		seen++
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has the mode %v", path, info.Mode())
		}
		return nil
	}
	if err := filepath.WalkDir(filepath.Dir(dir), check); err != nil || seen < 20 {
		t.Errorf("%d files, %v", seen, err)
	}
	// Opening a directory from an earlier version revokes other users' access.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if server, err = Open(opt); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the data directory is %v, %v", info.Mode(), err)
	}
}

// TestCheckpoints requests more checkpoints than are fetched, and waits until the abandoned ones are removed.
func TestCheckpoints(t *testing.T) {
	dir, clock := t.TempDir(), newMovedClock()
	left := func() []string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(dir, tempDir, "checkpoint-*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	opt := Options{Listen: "127.0.0.1:0", DataDir: dir, Now: clock.Now}
	server, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	d := &db{t, server, ""}
	made := 0
	for range 40 {
		out, err := d.call("Stator_20261101.CreateCheckpoint", obj{})
		if err != nil {
			if kindOf(err) != string(awserr.LimitExceeded) {
				t.Fatal(err)
			}
			continue
		}
		made++
		if at := out["Directory"].(string); !filepath.IsLocal(at) || strings.Contains(fmt.Sprint(out), dir) {
			t.Errorf("the answer tells where the server has its data: %v", out)
		}
	}
	if made != maxCheckpoints || len(left()) != maxCheckpoints {
		t.Errorf("%d checkpoints were made, and %d are there", made, len(left()))
	}
	sweep := func() {
		t.Helper()
		if err := server.stored.sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	fetched := left()[0]
	clock.Advance(checkpointLife - time.Minute)
	now := time.Now().Add(time.Second)
	if err := os.Chtimes(fetched, now, now); err != nil { // as `stator backup` does
		t.Fatal(err)
	}
	sweep()
	if len(left()) != maxCheckpoints {
		t.Errorf("%v are left before their time", left())
	}
	clock.Advance(2 * time.Minute)
	sweep()
	if got := left(); len(got) != 1 || got[0] != fetched {
		t.Errorf("%v are left, not %s, which is being fetched", got, fetched)
	}
	d.must("Stator_20261101.CreateCheckpoint", obj{})
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	// A backup of a stopped server left a checkpoint long ago, and another backup is running.
	long := time.Now().Add(-2 * checkpointLife)
	for name, at := range map[string]time.Time{"checkpoint-1": long, "checkpoint-2": time.Now()} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o700), os.Chtimes(filepath.Join(dir, name), at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if server, err = Open(opt); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if found, err := filepath.Glob(filepath.Join(dir, "checkpoint-*")); err != nil || len(left()) != 0 || len(found) != 1 || filepath.Base(found[0]) != "checkpoint-2" {
		t.Errorf("after a restart there are %v and %v, %v", left(), found, err)
	}
}

// TestLogTellsNoSecrets has honest and hostile clients send secrets, and searches the server's most verbose log for them.
func TestLogTellsNoSecrets(t *testing.T) {
	var out lockedBuffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a, b := strangers(t, Options{Logger: logger, DAX: DAXOptions{Listen: "127.0.0.1:0"}})
	a.must("CreateTable", streamedTable("tbl", "KEYS_ONLY"))
	secrets := []string{secretA, secretB, "TOKEN-", "SIGNATURE-", "PASSWORD-"}
	for i := range 3 {
		req := b.request(dynamo+"ListTables", obj{})
		signature := req.Header.Get("Authorization")
		secrets = append(secrets, signature[strings.Index(signature, "Signature=")+len("Signature="):])
		switch i {
		case 1:
			req.Header.Set("X-Amz-Security-Token", "TOKEN-1")
		case 2:
			req.Header.Set("Authorization", signature+"SIGNATURE-2")
		}
		b.send(req)
	}
	signed := "Authorization: AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=SIGNATURE-3\r\nX-Amz-Security-Token: TOKEN-3\r\n"
	for _, raw := range []string{
		"POST / HTTP/1.1\r\nHost: h\r\n" + signed + "bad header SIGNATURE-4\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n" + signed + "\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\n" + signed + "Content-Length: 1000\r\n\r\n{",
		"POST / HTTP/1.1\r\nHost: h\r\n" + signed + "Transfer-Encoding: chunked\r\n\r\nTOKEN-5\r\n",
		"POST / HTTP/1.1\r\nHost: h\r\n" + signed + "X-Long: " + strings.Repeat("TOKEN-6", 20000) + "\r\n\r\n",
		signed,
		"GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=SIGNATURE-7&X-Amz-Security-Token=TOKEN-7 HTTP/9.9\r\n\r\n",
		"POST /?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=SIGNATURE-8&X-Amz-Security-Token=TOKEN-8 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nX-Amz-Target: " + dynamo + "ListTables\r\n\r\n{}",
		"\x00PASSWORD-9",
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(a.server.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = conn.Read(make([]byte, 4096))
		conn.Close()
	}
	for _, authorization := range [][]byte{daxAuthorization("A", secretA, "dax.amazonaws.com", time.Now()), daxAuthorization("A", "wrong", "dax.amazonaws.com", time.Now()), []byte("SIGNATURE-10")} {
		conn := dialDAX(t, a.server.DAXURLs()[0], 0)
		conn.write(authorization)
		_ = conn.Conn.(*net.TCPConn).CloseWrite()
		_, _ = conn.Conn.Read(make([]byte, 4096))
	}
	if err := os.WriteFile(a.credentials, []byte(`[{"accessKeyId":"A","secretAccessKey":"PASSWORD-11","account":11}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := a.server.ReloadCredentials(); err == nil {
		t.Error("a file with an account that is a number was read")
	} else {
		fmt.Fprintln(&out, err)
	}
	if err := a.server.Close(); err != nil {
		t.Fatal(err)
	}
	log := out.String()
	for _, want := range []string{"component=http", "component=pebble", "the current access keys stay in force"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log has no %q", want)
		}
	}
	for _, secret := range secrets {
		if i := strings.Index(log, secret); i >= 0 {
			t.Errorf("the log tells %q: …%q…", secret, log[max(0, i-200):min(len(log), i+100)])
		}
	}
}
