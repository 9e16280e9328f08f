package objectstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/statordb/stator/test/s3server"
)

// grants are the buckets that each account may use.
type grants map[string][]string

func (g grants) MayUse(account, bucket string) bool {
	for _, b := range g[account] {
		if b == bucket {
			return true
		}
	}
	return false
}

const alice, bob, carol = "111111111111", "222222222222", "333333333333"

func TestAccess(t *testing.T) {
	dir := t.TempDir()
	f := NewFolder(dir)
	if err := os.Mkdir(filepath.Join(dir, "old"), 0o700); err != nil {
		t.Fatal(err)
	}
	rules := grants{carol: {"old", "made", "new-of-carol"}}
	use := func(account, bucket, owner string, write bool) error {
		_, err := For(f, rules, Use{Account: account, Bucket: bucket, Owner: owner, Write: write})
		return err
	}
	for i, c := range []struct {
		account, bucket, owner string
		write                  bool
		want                   error
	}{
		{alice, "made", "", false, ErrNoBucket},
		{alice, "made", bob, true, ErrNoBucket}, // the bucket should be bob's
		{alice, "made", "", true, nil},          // makes it
		{alice, "made", alice, false, nil},
		{bob, "made", "", false, ErrAccess},
		{bob, "made", "", true, ErrAccess},
		{bob, "made", alice, false, ErrAccess},
		{carol, "made", "", false, nil}, // granted
		{carol, "made", alice, true, nil},
		{carol, "made", carol, true, ErrAccess}, // it is alice's
		{alice, "made", bob, false, ErrAccess},
		{alice, "old", "", false, ErrAccess}, // made by the operator
		{alice, "old", "", true, ErrAccess},
		{"", "old", "", true, ErrAccess}, // no account owns nothing
		{carol, "old", "", true, nil},
		{carol, "old", carol, true, nil},
		{carol, "old", alice, true, ErrAccess},
		{carol, "new-of-carol", "", false, ErrNoBucket},
		{alice, ".owners", "", false, ErrInvalidKey},
		{alice, ".incoming", "", true, ErrInvalidKey},
		{alice, "..", "", true, ErrInvalidKey},
		{alice, "made/../old", "", false, ErrInvalidKey},
		{alice, "made/x", "", true, ErrInvalidKey},
		{alice, "", "", true, ErrInvalidKey},
	} {
		if err := use(c.account, c.bucket, c.owner, c.write); !errors.Is(err, c.want) {
			t.Errorf("%d: %+v: %v", i, c, err)
		}
	}
	if _, err := For(f, nil, Use{Account: bob, Bucket: "made"}); err != nil {
		t.Errorf("without rules: %v", err)
	}
	// The owner is known after a restart, even if the bucket is gone.
	f = NewFolder(dir)
	if err := os.Remove(filepath.Join(dir, "made")); err != nil {
		t.Fatal(err)
	}
	if err := use(bob, "made", "", true); !errors.Is(err, ErrAccess) {
		t.Errorf("after a restart: %v", err)
	}
}

// TestMakeOnce makes a bucket for many accounts concurrently: exactly one of them must own it.
func TestMakeOnce(t *testing.T) {
	f := NewFolder(t.TempDir())
	var all sync.WaitGroup
	got := make([]error, 20)
	for i := range got {
		all.Add(1)
		go func() {
			defer all.Done()
			_, got[i] = For(f, grants{}, Use{Account: string(rune('a' + i)), Bucket: "bucket", Write: true})
		}()
	}
	all.Wait()
	n := 0
	for _, err := range got {
		if err == nil {
			n++
		} else if !errors.Is(err, ErrAccess) {
			t.Error(err)
		}
	}
	if n != 1 {
		t.Errorf("%d accounts own it", n)
	}
}

// TestAccessS3 checks that a bucket of another store is only for accounts that it is granted to, and that the expected
// owner is sent.
func TestAccessS3(t *testing.T) {
	url, _ := s3server.Start(t, "bucket")
	s, err := NewS3(ctx, S3Options{Endpoint: url, Region: "us-east-1", AccessKey: s3server.AccessKey, SecretKey: s3server.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := For(s, grants{}, Use{Account: alice, Bucket: "bucket"}); !errors.Is(err, ErrAccess) {
		t.Errorf("without a rule: %v", err)
	}
	store, err := For(s, grants{alice: {"bucket"}}, Use{Account: alice, Bucket: "bucket", Owner: bob})
	if err != nil || *store.(*S3).owner != bob || s.owner != nil {
		t.Errorf("with a rule: %v, %v", store, err)
	}
}

// TestLinks checks that a link can't lead from one bucket to another.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	f := NewFolder(dir)
	for _, bucket := range []string{"a", "b"} {
		if _, err := Put(ctx, f, bucket, "dir/key", []byte("secret"), PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"c": "b", "a/file": "../b/dir/key", "a/sub": "../b/dir"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range [][2]string{{"c", "dir/key"}, {"a", "file"}, {"a", "sub/key"}} {
		if body, err := Get(ctx, f, o[0], o[1], 100); !errors.Is(err, ErrAccess) {
			t.Errorf("%v reads as %q, %v", o, body, err)
		}
	}
	for _, o := range [][2]string{{"c", "new"}, {"a", "sub/new"}} {
		if _, err := Put(ctx, f, o[0], o[1], nil, PutOptions{}); !errors.Is(err, ErrAccess) {
			t.Errorf("%v was written: %v", o, err)
		}
		if err := f.Delete(ctx, o[0], o[1]); !errors.Is(err, ErrAccess) {
			t.Errorf("%v was deleted: %v", o, err)
		}
	}
	var keys []string
	if err := f.List(ctx, "a", "", func(o Object) error { keys = append(keys, o.Key); return nil }); err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
	if err := f.List(ctx, "c", "", func(Object) error { return nil }); !errors.Is(err, ErrAccess) {
		t.Errorf("a link was listed: %v", err)
	}
}

// TestModes checks that only the server's user can use what a Folder makes.
func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s3")
	f := NewFolder(dir)
	if _, err := For(f, grants{}, Use{Account: alice, Bucket: "bucket", Write: true}); err != nil {
		t.Fatal(err)
	}
	for _, bucket := range []string{"bucket", "other"} {
		if _, err := Put(ctx, f, bucket, "some/where/key", []byte("x"), PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n++
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s is %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || n != 12 {
		t.Errorf("%d files and directories, %v", n, err)
	}
}

// TestGetLimit reads an object that exceeds the limit.
func TestGetLimit(t *testing.T) {
	f := NewFolder(t.TempDir())
	if _, err := Put(ctx, f, "bucket", "key", make([]byte, 1001), PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Get(ctx, f, "bucket", "key", 1000); !errors.Is(err, ErrTooLarge) {
		t.Errorf("1,001 bytes: %v", err)
	}
	if body, err := Get(ctx, f, "bucket", "key", 1001); err != nil || len(body) != 1001 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
}
