package stator

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// openServers starts several servers over one new database.
func openServers(t *testing.T, n int, opt Options) []*db {
	t.Helper()
	opt.Storage = newDatabase(t)
	list := make([]*db, n)
	for i := range list {
		opt.DataDir = t.TempDir()
		list[i] = open(t, opt)
	}
	return list
}

// TestServers changes tables by one server and uses them by others at once.
func TestServers(t *testing.T) {
	servers := openServers(t, 3, Options{})
	a, b, c := servers[0], servers[1], servers[2]
	began := time.Now()
	a.must("CreateTable", indexedTable("tbl"))
	t.Logf("CreateTable took %v", time.Since(began))
	b.must("PutItem", obj{"TableName": "tbl", "Item": randomItem(1)})
	if got := c.must("GetItem", obj{"TableName": "tbl", "Key": project(randomItem(1), "pk", "sk"), "ConsistentRead": true}); got["Item"] == nil {
		t.Fatal("the item is not there")
	}
	if _, err := c.call("CreateTable", indexedTable("tbl")); kindOf(err) != "ResourceInUseException" {
		t.Errorf("creating the table again: %v", err)
	}
	began = time.Now()
	b.must("UpdateTable", obj{"TableName": "tbl", "DeletionProtectionEnabled": true})
	t.Logf("UpdateTable took %v", time.Since(began))
	if got := c.must("DescribeTable", obj{"TableName": "tbl"}); field(got, "Table.DeletionProtectionEnabled") != true {
		t.Errorf("another server says %v", got)
	}
	a.must("UpdateTable", obj{"TableName": "tbl", "DeletionProtectionEnabled": false})
	a.must("TagResource", obj{"ResourceArn": field(a.must("DescribeTable", obj{"TableName": "tbl"}), "Table.TableArn"), "Tags": []obj{{"Key": "k", "Value": "v"}}})
	c.must("DeleteTable", obj{"TableName": "tbl"})
	if _, err := b.call("DescribeTable", obj{"TableName": "tbl"}); kindOf(err) != "ResourceNotFoundException" {
		t.Errorf("a deleted table: %v", err)
	}
	b.must("CreateTable", indexedTable("tbl"))
	if got := a.must("Scan", obj{"TableName": "tbl"}); got["Count"] != 0.0 {
		t.Errorf("the new table has %v", got)
	}
}

// TestServersCreate creates the same tables by all servers at a time: one of them succeeds.
func TestServersCreate(t *testing.T) {
	servers := openServers(t, 3, Options{})
	for i := range 5 {
		var made atomic.Int64
		var wg sync.WaitGroup
		for _, d := range servers {
			wg.Add(1)
			go func() {
				defer wg.Done()
				_, err := d.call("CreateTable", indexedTable(fmt.Sprint("table", i)))
				switch kindOf(err) {
				case "":
					made.Add(1)
				case "ResourceInUseException":
				default:
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		if made.Load() != 1 {
			t.Fatalf("table %d was created %d times", i, made.Load())
		}
	}
	for _, d := range servers {
		if got := d.must("ListTables", obj{})["TableNames"].([]any); len(got) != 5 {
			t.Errorf("a server lists %v", got)
		}
	}
}
