package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/statordb/stator/test/s3server"
)

// TestServerBackup backs up a running server repeatedly while clients write to it, restores each backup, and detects damage.
func TestServerBackup(t *testing.T) {
	t.Run("Folder", func(t *testing.T) { serverBackup(t, filepath.Join(t.TempDir(), "backups"), filepath.Join("files")) })
	t.Run("S3", func(t *testing.T) {
		url, dir := s3server.Start(t, "bucket")
		t.Setenv("STATOR_S3_ACCESS_KEY", s3server.AccessKey)
		t.Setenv("STATOR_S3_SECRET_KEY", s3server.SecretKey)
		serverBackup(t, "s3://bucket/some/where", filepath.Join(dir, "bucket", "some", "where", "files"), "--s3-endpoint", url, "--s3-region", "us-east-1")
	})
}

func serverBackup(t *testing.T, target, files string, flags ...string) {
	if !filepath.IsAbs(files) {
		files = filepath.Join(target, files)
	}
	data := t.TempDir()
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	stator := func(args ...string) (string, error) {
		out, err := exec.Command(file, append(args, flags...)...).CombinedOutput()
		return string(out), err
	}
	p := start(t, "--data-dir", data)
	if status, answer, err := p.call("CreateTable", `{"TableName":"tbl","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"N"},{"AttributeName":"g","AttributeType":"S"}],"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"GlobalSecondaryIndexes":[{"IndexName":"by-g","KeySchema":[{"AttributeName":"g","KeyType":"HASH"}],"Projection":{"ProjectionType":"ALL"}}]}`); err != nil || status != 200 {
		t.Fatal(status, string(answer), err)
	}
	next := 0
	write := func(n int) {
		t.Helper()
		for range n {
			item := fmt.Sprintf(`{"TableName":"tbl","Item":{"id":{"N":"%d"},"g":{"S":"g%d"},"v":{"S":"%s"}}}`, next, next%3, strings.Repeat("v", 1000))
			if status, answer, err := p.call("PutItem", item); err != nil || status != 200 {
				t.Fatal(status, string(answer), err)
			}
			next++
		}
	}
	var have []int // acknowledged items before each backup
	for range 3 {
		write(500)
		stop, stopped := make(chan struct{}), make(chan struct{})
		have = append(have, next)
		go func() {
			defer close(stopped)
			for {
				select {
				case <-stop:
					return
				default:
					write(1)
				}
			}
		}()
		out, err := stator("backup", target, "--data-dir", data, "--endpoint-url", "http://"+p.Addr)
		close(stop)
		<-stopped
		if err != nil {
			t.Fatalf("backup: %v %s", err, out)
		}
		t.Log(strings.TrimSpace(out))
	}
	if left, err := filepath.Glob(filepath.Join(data, "tmp", "checkpoint-*")); err != nil || len(left) > 0 {
		t.Errorf("checkpoints stay: %v %v", left, err)
	}
	list, err := stator("restore", target, "--list")
	ids := strings.Fields(strings.ReplaceAll(list, "\n", " "))
	if err != nil || strings.Count(list, "\n") != 3 {
		t.Fatalf("list: %v %s", err, list)
	}
	for i, id := range []string{ids[0], ""} {
		dir := filepath.Join(t.TempDir(), "restored")
		args := []string{"restore", target, "--data-dir", dir}
		want := have[2]
		if id != "" {
			args = append(args, "--backup", id)
			want = have[0]
		}
		out, err := stator(args...)
		if err != nil || !strings.Contains(out, "1 tables") {
			t.Fatalf("restore: %v %s", err, out)
		}
		r := start(t, "--data-dir", dir)
		for _, n := range []int{0, want - 1} {
			if status, answer, err := r.call("GetItem", fmt.Sprintf(`{"TableName":"tbl","Key":{"id":{"N":"%d"}}}`, n)); err != nil || status != 200 || !strings.Contains(string(answer), "vvv") {
				t.Errorf("backup %d: item %d: %d %s %v", i, n, status, answer, err)
			}
		}
		if out, err := stator("restore", target, "--data-dir", dir); err == nil {
			t.Errorf("a directory that is not empty is overwritten: %s", out)
		}
	}
	if out, err := stator("restore", target, "--data-dir", filepath.Join(t.TempDir(), "x"), "--backup", "none"); err == nil {
		t.Errorf("an unknown backup is restored: %s", out)
	}
	// Now a stopped server. Older backups are pruned.
	p.Kill()
	out, err := stator("backup", target, "--data-dir", data, "--keep", "1")
	if err != nil {
		t.Fatalf("backup of a server that does not run: %v %s", err, out)
	}
	if list, err = stator("restore", target, "--list"); err != nil || strings.Count(list, "\n") != 1 {
		t.Errorf("list: %v %s", err, list)
	}
	if out, err := stator("restore", target, "--data-dir", filepath.Join(t.TempDir(), "last")); err != nil || !strings.Contains(out, fmt.Sprint(next, " items")) {
		t.Errorf("restore: %v %s", err, out)
	}
	// A damaged file is detected, and the failed restore leaves nothing behind.
	sums, err := os.ReadDir(files)
	if err != nil || len(sums) == 0 {
		t.Fatal(err)
	}
	for _, f := range sums {
		raw, err := os.ReadFile(filepath.Join(files, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 100000 {
			raw[len(raw)/2] ^= 1
			if err := os.WriteFile(filepath.Join(files, f.Name()), raw, 0o644); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	dir := filepath.Join(t.TempDir(), "damaged")
	if out, err := stator("restore", target, "--data-dir", dir); err == nil || !strings.Contains(out, "damaged") {
		t.Errorf("a damaged backup is restored: %s", out)
	}
	if left, _ := filepath.Glob(dir + "*"); len(left) > 0 {
		t.Errorf("a restore that failed leaves %v", left)
	}
}

// TestBackupNeedsOperator: backing up a running server with credentials takes an operator's key. The credentials file changes during the
// test, and SIGHUP makes the server read it.
func TestBackupNeedsOperator(t *testing.T) {
	data, target := t.TempDir(), t.TempDir()
	keys := filepath.Join(t.TempDir(), "keys.json")
	write := func(operator bool) {
		t.Helper()
		text := fmt.Sprintf(`[{"accessKeyId":"KEY","secretAccessKey":"secret","account":"111111111111","operator":%v}]`, operator)
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(false)
	p := start(t, "--data-dir", data, "--credentials", keys)
	file, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	backup := func() (string, error) {
		cmd := exec.Command(file, "backup", target, "--data-dir", data, "--endpoint-url", "http://"+p.Addr)
		cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID=KEY", "AWS_SECRET_ACCESS_KEY=secret")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := backup(); err == nil || !strings.Contains(out, "its access key is not an operator's") {
		t.Fatalf("backup by a key that is no operator's: %v %s", err, out)
	}
	write(true)
	if err := syscall.Kill(p.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for { // the signal is asynchronous; the test's own deadline ends the loop
		out, err := backup()
		if err == nil {
			break
		}
		if !strings.Contains(out, "its access key is not an operator's") {
			t.Fatalf("backup by an operator: %v %s", err, out)
		}
	}
	if left, err := filepath.Glob(filepath.Join(data, "tmp", "checkpoint-*")); err != nil || len(left) > 0 {
		t.Errorf("checkpoints stay: %v %v", left, err)
	}
	if out, err := exec.Command(file, "restore", target, "--data-dir", filepath.Join(t.TempDir(), "restored")).CombinedOutput(); err != nil {
		t.Errorf("restore: %v %s", err, out)
	}
}
