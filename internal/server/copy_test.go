package server

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/statordb/stator/internal/admin"
)

// TestCopy copies a table with indexes, a stream and a backup from a data directory to PostgreSQL, and back while servers
// write.
func TestCopy(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	d := open(t, Options{DataDir: dir})
	in := indexedTable("tbl")
	in["StreamSpecification"] = obj{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}
	d.must("CreateTable", in)
	for i := range 300 {
		d.must("PutItem", obj{"TableName": "tbl", "Item": randomItem(i)})
	}
	backup := d.must("CreateBackup", obj{"TableName": "tbl", "BackupName": "before"})
	arn := field(backup, "BackupDetails.BackupArn").(string)
	eventually(t, "the backup", func() bool {
		return field(d.must("DescribeBackup", obj{"BackupArn": arn}), "BackupDescription.BackupDetails.BackupStatus") == "AVAILABLE"
	})
	want := sorted(d.all("tbl", "", 0))
	records := len(d.history(field(d.must("DescribeTable", obj{"TableName": "tbl"}), "Table.LatestStreamArn").(string)))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	url := newDatabase(t)
	copied, err := admin.Copy(ctx, dir, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if copied.Tables != 1 || copied.Records < 600 {
		t.Errorf("copied %+v", copied)
	}
	if _, err := admin.Copy(ctx, dir, url, nil); !errors.Is(err, admin.ErrNotEmpty) {
		t.Errorf("copying again: %v", err)
	}
	servers := []*db{open(t, Options{Storage: url, DataDir: t.TempDir()}), open(t, Options{Storage: url, DataDir: t.TempDir()})}
	check := func(d *db) {
		t.Helper()
		if got := sorted(d.all("tbl", "", 0)); !slices.Equal(got, want) {
			t.Fatalf("%d items, want %d", len(got), len(want))
		}
		if got := len(d.history(field(d.must("DescribeTable", obj{"TableName": "tbl"}), "Table.LatestStreamArn").(string))); got != records {
			t.Fatalf("%d change records, want %d", got, records)
		}
	}
	check(servers[1])
	servers[0].must("PutItem", obj{"TableName": "tbl", "Item": randomItem(1000)})
	want, records = sorted(servers[1].all("tbl", "", 0)), records+1
	servers[1].must("RestoreTableFromBackup", obj{"BackupArn": arn, "TargetTableName": "restored"})
	servers[0].isActive("restored")
	// Copy back while the servers run.
	back := filepath.Join(t.TempDir(), "back")
	if _, err := admin.Copy(ctx, url, back, nil); err != nil {
		t.Fatal(err)
	}
	servers[0].must("PutItem", obj{"TableName": "tbl", "Item": randomItem(1001)})
	if v, err := admin.Verify(ctx, back, nil); err != nil || len(v.Problems) > 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	if v, err := admin.Verify(ctx, url, nil); err != nil || len(v.Problems) > 0 {
		t.Fatalf("%+v, %v", v, err)
	}
	check(open(t, Options{DataDir: back}))
}

// TestCluster checks ReadCluster before and after a server closes: the other one takes over its jobs.
func TestCluster(t *testing.T) {
	ctx := context.Background()
	url := newDatabase(t)
	a := open(t, Options{Storage: url, DataDir: t.TempDir(), Name: "a"})
	b := open(t, Options{Storage: url, DataDir: t.TempDir(), Name: "b"})
	a.must("CreateTable", indexedTable("tbl"))
	jobs := []string{"indexes", "metrics", "sweep", "ttl"}
	var c *admin.Cluster
	eventually(t, "all jobs to be done", func() bool {
		var err error
		if c, err = admin.ReadCluster(ctx, url); err != nil {
			t.Fatal(err)
		}
		return len(c.Leases) == len(jobs)
	})
	if len(c.Servers) != 2 || !c.Servers[0].Alive || !c.Servers[1].Alive || c.Servers[0].Behind != 0 || c.Changes == 0 || c.Servers[0].URL == "" {
		t.Errorf("%+v", c)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the other server to take over", func() bool {
		var err error
		if c, err = admin.ReadCluster(ctx, url); err != nil {
			t.Fatal(err)
		}
		for _, job := range jobs {
			if c.Leases[job] == "" || c.Leases[job] != c.Servers[0].ID {
				return false
			}
		}
		return len(c.Servers) == 1
	})
}
