package importer

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/itemfile"
	"github.com/statordb/stator/internal/objectstore"
)

// TestHostileManifests reads manifests that are far too large, in constant memory.
func TestHostileManifests(t *testing.T) {
	const summary = "e/AWSDynamoDB/1/manifest-summary.json"
	const files = "e/AWSDynamoDB/1/manifest-files.json"
	for _, c := range []struct{ name, key, begin, repeat, want string }{
		{"summary", summary, `{"tableArn":"`, "x", "too large"},
		{"deep summary", summary, `{"x":`, "[", "too large"},
		{"line of files", files, `{"dataFileS3Key":"`, "x", "token too long"},
		{"deep files", files, "", "[", "token too long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := objectstore.NewFolder(t.TempDir())
			put := func(key string, parts ...string) {
				t.Helper()
				w, err := store.Create(t.Context(), "bucket", key, objectstore.PutOptions{})
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range parts {
					if _, err := io.WriteString(w, p); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := w.Commit(); err != nil {
					t.Fatal(err)
				}
			}
			put(summary, `{"tableArn":"arn:aws:dynamodb:us-east-1:000000000000:table/t"}`)
			parts := []string{c.begin}
			mb := strings.Repeat(c.repeat, 1<<20)
			for range 100 {
				parts = append(parts, mb)
			}
			put(c.key, parts...)
			x := Exports{Place: objectstore.Place{Store: store, Bucket: "bucket"}}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			all, err := x.find(t.Context())
			if err == nil && len(all) == 1 {
				err = x.files(t.Context(), all[0], func(itemfile.DataFile) error { return nil })
			}
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// TestManyFiles checks that the files of an export are listed one at a time.
func TestManyFiles(t *testing.T) {
	store := objectstore.NewFolder(t.TempDir())
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, `{"itemCount":%d,"dataFileS3Key":"k"}`+"\n", i)
	}
	if _, err := objectstore.Put(t.Context(), store, "bucket", "e/manifest-files.json", []byte(body.String()), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	x := Exports{Place: objectstore.Place{Store: store, Bucket: "bucket"}}
	var n int64
	err := x.files(t.Context(), &export{folder: "e"}, func(f itemfile.DataFile) error {
		if f.Items != n || f.Key != "k" {
			return errors.New("another file")
		}
		n++
		return nil
	})
	if err != nil || n != 1000 {
		t.Errorf("%d files, %v", n, err)
	}
}

// TestHostileLocal reads SQLite files that DynamoDB Local would not write: with queries that never end, and values of any size.
func TestHostileLocal(t *testing.T) {
	const tables = `CREATE TABLE dm (TableName, ReadCapacityUnits, WriteCapacityUnits, BillingMode, TableInfo); CREATE TABLE sm (TableName, StreamStatus, StreamInfo);`
	for _, c := range []struct{ name, statements, want string }{
		{"no tables", `CREATE TABLE x (y)`, "not a data file of DynamoDB Local"},
		{"a view without end", `CREATE TABLE sm (TableName, StreamStatus, StreamInfo);
			CREATE VIEW dm AS WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r) SELECT n TableName, 1 ReadCapacityUnits, 1 WriteCapacityUnits, 1 BillingMode, '{}' TableInfo FROM r`, "dm is not a table"},
		{"a large description", tables + `INSERT INTO dm VALUES ('t', 1, 1, 1, CAST(zeroblob(20000000) AS TEXT))`, "too big"},
		{"a computed description", `CREATE TABLE sm (TableName, StreamStatus, StreamInfo);
			CREATE TABLE dm (TableName, ReadCapacityUnits, WriteCapacityUnits, BillingMode, TableInfo AS (zeroblob(1000000000))); INSERT INTO dm VALUES ('t', 1, 1, 1)`, "too big"},
		{"many tables", tables + `INSERT INTO dm WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM r LIMIT 20000) SELECT n, 1, 1, 1, '{}' FROM r`, "more than 10000 tables"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "local.db")
			db, err := sql.Open("sqlite", "file:"+file)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(c.statements); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			err = FromDynamoDBLocal(context.Background(), file, Options{Out: io.Discard})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
