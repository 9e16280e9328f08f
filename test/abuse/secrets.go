package abuse

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

var secretAttacks = []Attack{
	{Point: 12, Once: true, Name: "the modes of directories and files", Needs: Needs{DAX: true}, Run: fileModes},
	{Point: 12, Once: true, Name: "a credentials file that others can write, and one that they can read", Needs: Needs{Credentials: true}, Run: credentialModes},
	{Point: 12, Once: true, Name: "credentials that are taken away", Needs: Needs{Credentials: true}, Run: revoked},
	{Point: 12, Once: true, Name: "--test-clock with credentials", Needs: Needs{Credentials: true}, Run: clockRefused},
	{Point: 12, Once: true, Name: "/metrics with credentials", Needs: Needs{Credentials: true}, Run: metricsRefused},
	{Point: 12, Once: true, Name: "what the log says at level debug", Needs: Needs{Credentials: true, DAX: true, Flags: []string{"--log-level", "debug"}}, Run: logContents},
}

// fileModes: nothing below the data directory is accessible to others, whatever the server has done.
func fileModes(ctx context.Context, t *Target) error {
	if _, err := victimOpen(ctx, t); err != nil {
		return err
	}
	failed := t.Restart()
	err := filepath.WalkDir(t.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // files come and go
		}
		if strings.HasPrefix(path, filepath.Dir(t.Bucket)) && (path == filepath.Dir(t.Bucket) || path == t.Bucket) {
			return nil // the test itself created it
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			failed = errors.Join(failed, fmt.Errorf("%s has the mode %v", strings.TrimPrefix(path, t.Dir), info.Mode()))
		}
		return nil
	})
	return errors.Join(failed, err)
}

// victimOpen writes to the data directory in every possible way, as Alice on a server without credentials.
func victimOpen(ctx context.Context, t *Target) (string, error) {
	r := t.Call(ctx, Alice, "UpdateContinuousBackups", `{"TableName":"light","PointInTimeRecoverySpecification":{"PointInTimeRecoveryEnabled":true}}`)
	failed := r.Is("UpdateContinuousBackups", "ok")
	r = t.Call(ctx, Alice, "ExportTableToPointInTime", `{"TableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/light","S3Bucket":"bucket2"}`)
	failed = errors.Join(failed, r.Is("Export", "ok"), job(ctx, t, r, "ExportDescription", "Export"))
	r = t.Call(ctx, Alice, "Stator_20261101.CreateCheckpoint", "{}")
	return string(r.Body), failed
}

// serve starts another server, and returns its output and whether it runs.
func (t *Target) serve(ctx context.Context, dir string, flags ...string) (output string, runs bool) {
	ctx, stop := context.WithTimeout(ctx, 3*time.Second)
	defer stop()
	cmd := exec.CommandContext(ctx, t.binary, append([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", dir}, flags...)...)
	out := &lines{ready: stop}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGKILL) }
	_ = cmd.Run() // it was killed, or has refused to start
	return out.text.String(), strings.Contains(out.text.String(), "ready at")
}

// lines collects output until a server is ready.
type lines struct {
	text  strings.Builder
	ready func()
}

func (l *lines) Write(b []byte) (int, error) {
	l.text.Write(b)
	if strings.Contains(l.text.String(), "ready at") {
		l.ready()
	}
	return len(b), nil
}

func credentialModes(ctx context.Context, t *Target) error {
	dir, err := os.MkdirTemp(t.Dir, "other")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "credentials.json")
	if err := WriteCredentials(file, Alice); err != nil {
		return err
	}
	var failed error
	for mode, want := range map[fs.FileMode]struct{ runs, warns bool }{0o600: {true, false}, 0o400: {true, false}, 0o640: {true, true}, 0o644: {true, true}, 0o444: {true, true}, 0o660: {false, false}, 0o622: {false, false}, 0o666: {false, false}, 0o602: {false, false}} {
		if err := os.Chmod(file, mode); err != nil {
			return err
		}
		out, runs := t.serve(ctx, filepath.Join(dir, "data"), "--credentials", file)
		if runs != want.runs {
			failed = errors.Join(failed, fmt.Errorf("with a credentials file of mode %v: runs is %v: %.300s", mode, runs, out))
		}
		if warns := strings.Contains(out, "level=WARN") && strings.Contains(out, "credentials"); runs && warns != want.warns {
			failed = errors.Join(failed, fmt.Errorf("with a credentials file of mode %v: warns is %v: %.300s", mode, warns, out))
		}
	}
	return failed
}

// revoked removes Mallory's key from the file. She must be refused without a restart, by the change alone and by SIGHUP. An invalid file
// must change nothing.
func revoked(ctx context.Context, t *Target) error {
	failed := t.Call(ctx, Mallory, "ListTables", "{}").Is("Mallory, before", "ok")
	eventually := func(what string, key Key, code string) {
		var r Reply
		for range 200 {
			if r = t.Call(ctx, key, "ListTables", "{}"); r.Code() == code {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		failed = errors.Join(failed, r.Is(what, code))
	}
	failed = errors.Join(failed, WriteCredentials(t.Credentials, Alice, Operator))
	eventually("Mallory, once her key is gone", Mallory, "UnrecognizedClientException")
	failed = errors.Join(failed, os.WriteFile(t.Credentials, []byte("{"), 0o600), t.Signal(syscall.SIGHUP))
	eventually("Alice, with a file that is no good", Alice, "ok")
	failed = errors.Join(failed, WriteCredentials(t.Credentials, Alice, Mallory, Operator), t.Signal(syscall.SIGHUP))
	eventually("Mallory, once her key is back", Mallory, "ok")
	return failed
}

func clockRefused(ctx context.Context, t *Target) error {
	dir, err := os.MkdirTemp(t.Dir, "other")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if out, runs := t.serve(ctx, filepath.Join(dir, "data"), "--credentials", t.Credentials, "--test-clock"); runs {
		return fmt.Errorf("--test-clock runs with credentials: %s", out)
	}
	return nil
}

// metricsRefused requests the metrics of all accounts without a signature.
func metricsRefused(ctx context.Context, t *Target) error {
	r := t.Raw(ctx, "GET /metrics HTTP/1.1\r\nHost: "+t.Addr+"\r\n\r\n")
	failed := r.Refused("/metrics without a signature")
	if strings.Contains(string(r.Body), Alice.Account) || strings.Contains(string(r.Body), "light") {
		failed = errors.Join(failed, errors.New("/metrics shows the tables of accounts to strangers"))
	}
	return failed
}

// logContents makes the server log as much as possible, and searches the log for secrets.
func logContents(ctx context.Context, t *Target) error {
	const token, value = "a-session-token-which-no-log-may-show", "an-items-value"
	var sent []string
	for _, operation := range []string{"ListTables", "Nothing", "PutItem", cloudWatch + "PutMetricData", autoScaling + "DescribeScalableTargets", daxControl + "DescribeClusters", streams + "ListStreams"} {
		for _, key := range []Key{Alice, {ID: Alice.ID, Secret: "wrong"}, {ID: "AKIDUNKNOWN000000000", Secret: "unknown"}} {
			for _, body := range []string{"{}", "{", `{"TableName":"nowhere","Item":{"pk":{"S":"` + value + `"}}}`} {
				h := t.sign(key, operation, []byte(body))
				h["x-amz-security-token"] = token
				_, signature, _ := strings.Cut(h["authorization"], "Signature=")
				sent = append(sent, signature)
				t.send(ctx, h, []byte(body)) // any answer will do
				delete(h, "x-amz-security-token")
				t.send(ctx, h, []byte(body))
			}
		}
	}
	_ = daxClient(ctx, t, Key{ID: Alice.ID, Secret: "wrong"}) // refused
	t.Raw(ctx, "POST /?X-Amz-Security-Token="+token+"&X-Amz-Signature="+token+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
	var failed error
	log := t.Output.String()
	for _, secret := range append(sent, token, value, Alice.Secret, Mallory.Secret, Operator.Secret) {
		if i := strings.Index(log, secret); i >= 0 {
			failed = errors.Join(failed, fmt.Errorf("the log has a secret: %.200s", log[max(0, i-100):]))
		}
	}
	return failed
}
