package serverbackup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/objectstore"
)

var began = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// write replaces the content of a data directory.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// content returns the files of a directory.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func same(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, text := range a {
		if got, ok := b[name]; !ok || got != text {
			return false
		}
	}
	return true
}

// TestSaveAndRestore saves a changing directory three times and restores each backup.
func TestSaveAndRestore(t *testing.T) {
	ctx, base := t.Context(), t.TempDir()
	data := filepath.Join(base, "data")
	p := &Place{objectstore.Place{Store: objectstore.NewFolder(base), Bucket: "bucket", Prefix: "p/"}}
	if _, err := p.Restore(ctx, "", filepath.Join(base, "none")); !errors.Is(err, ErrNoBackup) {
		t.Errorf("restoring without a backup: %v", err)
	}
	states := []map[string]string{
		{"MANIFEST": "1", "db/000001.sst": "aaaa", "db/000002.sst": "bbbb"},
		{"MANIFEST": "2", "db/000002.sst": "bbbb", "db/copy.sst": "bbbb", "empty": ""},
		{"MANIFEST": "3"},
	}
	added := []int{3, 2, 1} // content that an earlier backup has is not copied again
	var ids []string
	for i, files := range states {
		write(t, data, files)
		r, err := p.Save(ctx, data, "v1", began.Add(time.Duration(i)*time.Hour), 0)
		if err != nil {
			t.Fatal(err)
		}
		if r.Added != added[i] || len(r.Files) != len(files) || r.Removed != 0 {
			t.Errorf("backup %d: %d files, %d added, %d removed", i, len(r.Files), r.Added, r.Removed)
		}
		ids = append(ids, r.ID)
	}
	for i, id := range append(ids, "") {
		dir := filepath.Join(base, "restored"+id)
		if _, err := p.Restore(ctx, id, dir); err != nil {
			t.Fatal(err)
		}
		if got := content(t, dir); !same(got, states[min(i, 2)]) {
			t.Errorf("backup %q restores %v", id, got)
		}
	}
	if _, err := p.Restore(ctx, ids[0], data); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restoring over data: %v", err)
	}
	if _, err := p.Restore(ctx, "20200101T000000.000Z", filepath.Join(base, "none")); !errors.Is(err, ErrNoBackup) {
		t.Errorf("restoring a backup that doesn't exist: %v", err)
	}
	// Keeping two deletes the first backup, with the files that only it has.
	write(t, data, states[2])
	r, err := p.Save(ctx, data, "v1", began.Add(3*time.Hour), 2)
	if err != nil || r.Removed == 0 {
		t.Fatalf("%d files removed, %v", r.Removed, err)
	}
	list, err := p.List(ctx)
	if err != nil || len(list) != 2 || list[0].Stator != "v1" {
		t.Fatalf("%d backups, %v", len(list), err)
	}
	for _, b := range list {
		dir := filepath.Join(base, "again"+b.ID)
		if _, err := p.Restore(ctx, b.ID, dir); err != nil || !same(content(t, dir), states[2]) {
			t.Errorf("backup %s after the deletion: %v", b.ID, err)
		}
	}
}

// TestDamaged: a backup with a damaged, missing or foreign file leaves nothing behind.
func TestDamaged(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, bucket, sum string){
		"changed": func(t *testing.T, bucket, sum string) { write(t, bucket+"/files", map[string]string{sum: "xxxx"}) },
		"longer":  func(t *testing.T, bucket, sum string) { write(t, bucket+"/files", map[string]string{sum: "aaaaa"}) },
		"missing": func(t *testing.T, bucket, sum string) { write(t, bucket+"/files", nil) },
		"outside": func(t *testing.T, bucket, sum string) {
			record := filepath.Join(bucket, "backups", began.Format(idFormat)+".json")
			text, err := os.ReadFile(record)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(record, []byte(strings.Replace(string(text), "db/a.sst", "../a.sst", 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, base := t.Context(), t.TempDir()
			data, dir := filepath.Join(base, "data"), filepath.Join(base, "restored")
			write(t, data, map[string]string{"db/a.sst": "aaaa"})
			p := &Place{objectstore.Place{Store: objectstore.NewFolder(base), Bucket: "bucket"}}
			r, err := p.Save(ctx, data, "v1", began, 0)
			if err != nil {
				t.Fatal(err)
			}
			damage(t, filepath.Join(base, "bucket"), r.Files[0].SHA256)
			if _, err := p.Restore(ctx, "", dir); err == nil {
				t.Error("the damage went unnoticed")
			}
			for _, left := range []string{dir, dir + ".restoring", filepath.Join(base, "a.sst")} {
				if _, err := os.Stat(left); err == nil {
					t.Errorf("%s is left behind", left)
				}
			}
		})
	}
}
