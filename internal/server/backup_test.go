package server

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/catalog"
	"github.com/statordb/stator/internal/kv"
	"github.com/statordb/stator/internal/pitr"
)

// field returns the value at a path of names separated by dots.
func field(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		o, ok := v.(obj)
		if !ok {
			return nil
		}
		v = o[name]
	}
	return v
}

// isActive waits until a table is ACTIVE.
func (d *db) isActive(table string) {
	d.t.Helper()
	eventually(d.t, table+" to be ACTIVE", func() bool {
		return field(d.must("DescribeTable", obj{"TableName": table}), "Table.TableStatus") == "ACTIVE"
	})
}

// backUp makes a backup, waits until it is available, and returns its ARN.
func (d *db) backUp(table, name string) string {
	d.t.Helper()
	made := d.must("CreateBackup", obj{"TableName": table, "BackupName": name})["BackupDetails"].(obj)
	if made["BackupStatus"] != "CREATING" || made["BackupType"] != "USER" || made["BackupName"] != name {
		d.t.Fatalf("made %v", made)
	}
	arn := made["BackupArn"].(string)
	eventually(d.t, "the backup to be available", func() bool {
		b := d.must("DescribeBackup", obj{"BackupArn": arn})
		return field(b, "BackupDescription.BackupDetails.BackupStatus") == "AVAILABLE"
	})
	return arn
}

func randomItem(i int) obj {
	it := obj{"pk": s(fmt.Sprint("p", i%7)), "sk": n(i), "v": s(fmt.Sprint("value ", rand.IntN(1000)))}
	if rand.IntN(3) > 0 {
		it["l"] = n(rand.IntN(5))
	}
	if rand.IntN(3) > 0 {
		it["g"], it["h"] = s(fmt.Sprint("g", rand.IntN(5))), n(rand.IntN(5))
	}
	return it
}

// TestBackup makes backups during writes, deletes the table, and restores it with all indexes, with some, and with another
// billing mode, before and after a restart.
func TestBackup(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{DataDir: dir, Durability: "none"})
	d.must("CreateTable", indexedTable("source"))
	d.must("UpdateTimeToLive", obj{"TableName": "source", "TimeToLiveSpecification": obj{"AttributeName": "e", "Enabled": true}})
	for i := range 500 {
		d.must("PutItem", obj{"TableName": "source", "Item": randomItem(i)})
	}
	want := sorted(d.all("source", "", 0))
	// From now on items are written in pairs. A backup must contain both items of a pair or neither.
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1000; ; i += 2 {
			select {
			case <-stop:
				return
			default:
			}
			put := func(i int) obj { return obj{"Put": obj{"TableName": "source", "Item": randomItem(i)}} }
			if _, err := d.call("TransactWriteItems", obj{"TransactItems": []obj{put(i), put(i + 1)}}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	first := d.backUp("source", "first")
	second := d.backUp("source", "second")
	close(stop)
	<-stopped

	described := d.must("DescribeBackup", obj{"BackupArn": first})["BackupDescription"].(obj)
	if len(field(described, "SourceTableFeatureDetails.GlobalSecondaryIndexes").([]any)) != 2 ||
		field(described, "SourceTableFeatureDetails.TimeToLiveDescription.AttributeName") != "e" ||
		field(described, "SourceTableDetails.BillingMode") != "PAY_PER_REQUEST" {
		t.Errorf("description %v", described)
	}
	d.must("DeleteTable", obj{"TableName": "source"})
	if _, err := d.call("CreateBackup", obj{"TableName": "source", "BackupName": "third"}); kindOf(err) != "TableNotFoundException" {
		t.Errorf("backup of a table that is gone: %v", err)
	}
	listed := d.must("ListBackups", obj{"TableName": "source", "Limit": 1})
	if got := list(listed["BackupSummaries"]); len(got) != 1 || got[0]["BackupArn"] != first || listed["LastEvaluatedBackupArn"] != first {
		t.Errorf("first page %v", listed)
	}
	listed = d.must("ListBackups", obj{"ExclusiveStartBackupArn": first, "BackupType": "USER"})
	if got := list(listed["BackupSummaries"]); len(got) != 1 || got[0]["BackupArn"] != second || listed["LastEvaluatedBackupArn"] != nil {
		t.Errorf("second page %v", listed)
	}

	restored := d.must("RestoreTableFromBackup", obj{"BackupArn": first, "TargetTableName": "copy"})["TableDescription"].(obj)
	if restored["TableStatus"] != "CREATING" || field(restored, "RestoreSummary.SourceBackupArn") != first || field(restored, "RestoreSummary.RestoreInProgress") != true {
		t.Errorf("restored %v", restored)
	}
	d.isActive("copy")
	items := d.all("copy", "", 0)
	d.checkIndexes("copy", items)
	have := map[string]bool{}
	for _, it := range sorted(items) {
		have[it] = true
	}
	for _, it := range want {
		if !have[it] {
			t.Fatalf("%s is missing", it)
		}
	}
	if (len(items)-len(want))%2 != 0 {
		t.Errorf("%d items, which is half a transaction", len(items))
	}
	if got := d.must("DescribeTimeToLive", obj{"TableName": "copy"}); field(got, "TimeToLiveDescription.TimeToLiveStatus") != "DISABLED" {
		t.Errorf("TTL is restored: %v", got)
	}
	for _, c := range []struct {
		in   obj
		kind string
	}{
		{obj{"BackupArn": first, "TargetTableName": "copy"}, "TableAlreadyExistsException"},
		{obj{"BackupArn": first + "0", "TargetTableName": "other"}, "BackupNotFoundException"},
		{obj{"BackupArn": "arn:aws:dynamodb:us-east-1:000000000000:nonsense", "TargetTableName": "other"}, "ValidationException"},
		{obj{"BackupArn": first, "TargetTableName": "other", "BillingModeOverride": "PROVISIONED"}, "ValidationException"},
		{obj{"BackupArn": first, "TargetTableName": "other", "GlobalSecondaryIndexOverride": []obj{newIndex("by-x", "g", "h")}}, "ValidationException"},
		{obj{"BackupArn": first, "TargetTableName": "other", "GlobalSecondaryIndexOverride": []obj{newIndex("by-g", "h", "g")}}, "ValidationException"},
	} {
		if _, err := d.call("RestoreTableFromBackup", c.in); kindOf(err) != c.kind {
			t.Errorf("%v: %v, want %s", c.in, err, c.kind)
		}
	}

	// If the server is killed during a restore, the restore starts over.
	d.must("RestoreTableFromBackup", obj{
		"BackupArn": second, "TargetTableName": "part", "BillingModeOverride": "PROVISIONED", "LocalSecondaryIndexOverride": []obj{},
		"ProvisionedThroughputOverride": obj{"ReadCapacityUnits": 500, "WriteCapacityUnits": 500},
		"GlobalSecondaryIndexOverride": []obj{{
			"IndexName": "by-g", "KeySchema": keys("g", "h"), "Projection": obj{"ProjectionType": "KEYS_ONLY"},
			"ProvisionedThroughput": obj{"ReadCapacityUnits": 700, "WriteCapacityUnits": 70},
		}},
	})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, Options{DataDir: dir, Durability: "none"})
	d.isActive("part")
	part := d.must("DescribeTable", obj{"TableName": "part"})["Table"].(obj)
	indexes := list(part["GlobalSecondaryIndexes"])
	if len(indexes) != 1 || part["LocalSecondaryIndexes"] != nil || field(indexes[0], "ProvisionedThroughput.ReadCapacityUnits") != 700.0 ||
		field(part, "ProvisionedThroughput.WriteCapacityUnits") != 500.0 || len(list(part["AttributeDefinitions"])) != 4 {
		t.Errorf("the table restored in part: %v", part)
	}
	if got := len(d.all("part", "", 0)); got < len(items) {
		t.Errorf("%d items in the second backup, %d in the first", got, len(items))
	}
	d.checkConsistent()
	deleted := d.must("DeleteBackup", obj{"BackupArn": first})
	if field(deleted, "BackupDescription.BackupDetails.BackupStatus") != "DELETED" {
		t.Errorf("deleted %v", deleted)
	}
	if _, err := d.call("DescribeBackup", obj{"BackupArn": first}); kindOf(err) != "BackupNotFoundException" {
		t.Errorf("a deleted backup: %v", err)
	}
	d.checkConsistent()
}

// TestBackupInterrupted stops the server before a backup and a restore are done.
func TestBackupInterrupted(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{DataDir: dir, Durability: "none"})
	d.must("CreateTable", indexedTable("source"))
	for i := range 50 {
		d.must("PutItem", obj{"TableName": "source", "Item": randomItem(i)})
	}
	want := sorted(d.all("source", "", 0))
	ctx := context.Background()
	// The state that a kill leaves: a backup's description with only some of its items.
	t0 := slices.Collect(d.items.Catalog.Tables())[0]
	for _, name := range []string{"source", "gone"} {
		b := &catalog.Backup{Table: *t0, ID: catalog.JobID(1), Name: name, Type: catalog.UserBackup, Status: catalog.BackupCreating, Created: 1}
		b.Table.Name = name
		if err := d.items.Catalog.NewBackup(ctx, b); err != nil {
			t.Fatal(err)
		}
		err := kv.Update(ctx, d.store, kv.TxnOpt{}, func(txn kv.Txn) error {
			return txn.Put([]byte{'t', 0, 0, 0, byte(b.Data), 0, 'x'}, []byte("half"))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Also history of a table whose recovery was just disabled.
	if err := kv.Update(ctx, d.store, kv.TxnOpt{}, func(txn kv.Txn) error {
		_, err := pitr.Put(txn, t0.AppendItemKey(nil, attribute.NewItem(attribute.Field{Name: "pk", Value: attribute.String("p")}, attribute.Field{Name: "sk", Value: attribute.Number("1")})), nil, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	whole := d.backUp("source", "whole")
	all := d.items.Catalog.Backups.All()
	data := all[slices.IndexFunc(all, func(b *catalog.Backup) bool { return b.ARN() == whole })].Data
	for name, loading := range map[string]*catalog.Loading{"half": {From: data, At: pitr.Latest}, "lost": {From: 99, At: pitr.Latest}, "past": {From: t0.ID, At: 1}} {
		half := *t0
		half.Name, half.Loading, half.CreatingUntil = name, loading, 0
		if _, err := d.items.Catalog.Create(ctx, &half); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	clock := newMovedClock()
	d = open(t, Options{DataDir: dir, Durability: "none", Now: clock.Now})
	d.isActive("half")
	if got := sorted(d.all("half", "", 0)); !slices.Equal(got, want) {
		t.Errorf("%d items are restored, want %d", len(got), len(want))
	}
	if got := d.must("ListTables", obj{})["TableNames"].([]any); len(got) != 2 {
		t.Errorf("tables %v, want those that could be restored", got)
	}
	var arn string
	eventually(t, "the backup to be taken again", func() bool {
		got := list(d.must("ListBackups", obj{"TimeRangeUpperBound": float64(clock.Now().Unix() + 1)})["BackupSummaries"])
		if len(got) != 1 || got[0]["BackupStatus"] != "AVAILABLE" {
			return false
		}
		arn = got[0]["BackupArn"].(string)
		return got[0]["BackupCreationDateTime"] == float64(clock.Now().UnixMilli())/1000
	})
	d.checkConsistent()
	d.must("RestoreTableFromBackup", obj{"BackupArn": arn, "TargetTableName": "copy"})
	d.isActive("copy")
	if got := sorted(d.all("copy", "", 0)); !slices.Equal(got, want) {
		t.Errorf("%d items, want %d", len(got), len(want))
	}
}

func (d *db) setRecovery(table string, on bool, days int) obj {
	d.t.Helper()
	spec := obj{"PointInTimeRecoveryEnabled": on}
	if days > 0 {
		spec["RecoveryPeriodInDays"] = days
	}
	out := d.must("UpdateContinuousBackups", obj{"TableName": table, "PointInTimeRecoverySpecification": spec})
	return field(out, "ContinuousBackupsDescription.PointInTimeRecoveryDescription").(obj)
}

// TestPointInTimeRecovery changes items at random over days. It compares the table's state at thousands of moments, and the
// changes between them, with a model; some states by restoring the table.
func TestPointInTimeRecovery(t *testing.T) {
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, TTLInterval: time.Hour})
	d.must("CreateTable", indexedTable("tbl"))
	random := rand.New(rand.NewPCG(7, 7))
	now := map[string]obj{}
	change := func() {
		i := random.IntN(60)
		key := fmt.Sprint(i)
		item := randomItem(i)
		switch random.IntN(4) {
		case 0:
			d.must("DeleteItem", obj{"TableName": "tbl", "Key": project(item, "pk", "sk")})
			delete(now, key)
		case 1:
			other := randomItem((i + 1) % 60)
			d.must("TransactWriteItems", obj{"TransactItems": []obj{
				{"Put": obj{"TableName": "tbl", "Item": item}}, {"Put": obj{"TableName": "tbl", "Item": other}},
			}})
			now[key], now[fmt.Sprint((i+1)%60)] = item, other
		default:
			d.must("PutItem", obj{"TableName": "tbl", "Item": item})
			now[key] = item
		}
	}
	for range 100 {
		change()
	}
	if _, err := d.call("RestoreTableToPointInTime", obj{"SourceTableName": "tbl", "TargetTableName": "copy", "UseLatestRestorableTime": true}); kindOf(err) != "PointInTimeRecoveryUnavailableException" {
		t.Fatalf("restoring without recovery: %v", err)
	}
	clock.Advance(time.Second)
	began := clock.Now()
	if got := d.setRecovery("tbl", true, 10); got["PointInTimeRecoveryStatus"] != "ENABLED" || got["RecoveryPeriodInDays"] != 10.0 {
		t.Fatalf("enabled: %v", got)
	}
	type moment struct {
		at    time.Time
		items map[string]obj
	}
	var moments []moment
	for range 1500 {
		clock.Advance(time.Duration(random.IntN(900)+1) * time.Second)
		moments = append(moments, moment{clock.Now(), maps.Clone(now)})
		for range 1 + random.IntN(3) {
			clock.Advance(time.Duration(random.IntN(2)) * time.Millisecond)
			change()
		}
	}
	clock.Advance(time.Second)
	if days := clock.Now().Sub(began).Hours() / 24; days < 7 || days > 9.9 {
		t.Fatalf("%v days", days)
	}
	ctx := context.Background()
	table := slices.Collect(d.items.Catalog.Tables())[0]
	snap, err := d.store.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	asText := func(it attribute.Item) string { return string(it.AppendJSON(nil)) }
	state := func(m moment) map[string]string {
		got := map[string]string{}
		last := ""
		err := pitr.State(ctx, snap, table.ID, pitr.Part{}, kv.AtMillis(m.at.UnixMilli()), func(suffix []byte, it attribute.Item) error {
			if string(suffix) <= last {
				t.Fatal("out of order")
			}
			last = string(suffix)
			got[string(it.Get("sk").Bytes())] = asText(it.Clone())
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	states := make([]map[string]string, len(moments))
	for i, m := range moments {
		states[i] = state(m)
		if len(states[i]) != len(m.items) {
			t.Fatalf("at %v there are %d items, want %d", m.at, len(states[i]), len(m.items))
		}
		for key, it := range m.items {
			if !strings.Contains(states[i][key], it["v"].(obj)["S"].(string)) {
				t.Fatalf("at %v item %s is %s, want %v", m.at, key, states[i][key], it)
			}
		}
	}
	for range 500 {
		i := random.IntN(len(moments))
		j := i + random.IntN(min(30, len(moments)-i))
		at := maps.Clone(states[i])
		err := pitr.Changes(ctx, snap, table.ID, kv.AtMillis(moments[i].at.UnixMilli()), kv.AtMillis(moments[j].at.UnixMilli()), func(c *pitr.Change) error {
			some := c.Some
			if c.New != nil {
				some = c.New
			}
			if c.Old != nil {
				some = c.Old
			}
			key := string(some.Get("sk").Bytes())
			if c.Old == nil && at[key] != "" || c.Old != nil && asText(c.Old) != at[key] {
				t.Fatalf("item %s was %s, not %s", key, at[key], asText(c.Old))
			}
			if delete(at, key); c.New != nil {
				at[key] = asText(c.New)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(at, states[j]) {
			t.Fatalf("the changes between moments %d and %d don't lead from one to the other", i, j)
		}
	}
	if err := snap.Close(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		m := moments[random.IntN(len(moments))]
		in := obj{"SourceTableName": "tbl", "TargetTableName": fmt.Sprint("copy", i), "RestoreDateTime": float64(m.at.UnixMilli()) / 1000}
		if i == 0 {
			m.items = now
			delete(in, "RestoreDateTime")
			in["UseLatestRestorableTime"] = true
		}
		d.must("RestoreTableToPointInTime", in)
		d.isActive(in["TargetTableName"].(string))
		got := d.all(in["TargetTableName"].(string), "", 0)
		if !slices.Equal(sorted(got), sorted(slices.Collect(maps.Values(m.items)))) {
			t.Fatalf("restored to %v, the table has %d items, want %d", m.at, len(got), len(m.items))
		}
		d.checkIndexes(in["TargetTableName"].(string), got)
	}
	// The restorable window, and times outside of it.
	w := field(d.must("DescribeContinuousBackups", obj{"TableName": "tbl"}), "ContinuousBackupsDescription.PointInTimeRecoveryDescription").(obj)
	if w["EarliestRestorableDateTime"] != float64(began.Unix()) || w["LatestRestorableDateTime"] != float64(clock.Now().Unix()) {
		t.Errorf("window %v, want %v to %v", w, began.Unix(), clock.Now().Unix())
	}
	for _, at := range []int64{began.Unix() - 1, clock.Now().Unix() + 2} {
		if _, err := d.call("RestoreTableToPointInTime", obj{"SourceTableName": "tbl", "TargetTableName": "copy", "RestoreDateTime": at}); kindOf(err) != "InvalidRestoreTimeException" {
			t.Errorf("restoring to %d: %v", at, err)
		}
	}
	d.must("RestoreTableToPointInTime", obj{"SourceTableName": "tbl", "TargetTableName": "at-the-start", "RestoreDateTime": began.Unix()})
	// A shorter period drops older history for good.
	d.setRecovery("tbl", true, 2)
	if err := d.backups.Trim(ctx); err != nil {
		t.Fatal(err)
	}
	size := func() (n int) {
		snap, err := d.store.Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer snap.Close()
		if err := kv.Each(ctx, snap, kv.Range{Start: []byte("h"), End: []byte("i")}, func(key, val []byte) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := size(); n == 0 || n > 1500 {
		t.Errorf("%d changes are kept for two days", n)
	}
	w = d.setRecovery("tbl", true, 35)
	if got := w["EarliestRestorableDateTime"]; got != float64(clock.Now().Add(-48*time.Hour).Unix()) {
		t.Errorf("the window begins at %v", got)
	}
	d.checkConsistent()
	if got := d.setRecovery("tbl", false, 0); got["PointInTimeRecoveryStatus"] != "DISABLED" || got["EarliestRestorableDateTime"] != nil || size() != 0 {
		t.Errorf("disabled: %v, %d changes stay", got, size())
	}
	d.checkConsistent()
}

// TestDeletedTableBackup deletes a table with recovery enabled, which leaves a system backup for 35 days.
func TestDeletedTableBackup(t *testing.T) {
	clock := newMovedClock()
	dir := t.TempDir()
	d := open(t, Options{Now: clock.Now, DataDir: dir, Durability: "none"})
	d.must("CreateTable", indexedTable("tbl"))
	d.setRecovery("tbl", true, 0)
	for i := range 30 {
		d.must("PutItem", obj{"TableName": "tbl", "Item": randomItem(i)})
	}
	want := d.all("tbl", "", 0)
	clock.Advance(time.Hour)
	d.must("DeleteTable", obj{"TableName": "tbl"})
	d.checkConsistent()
	listed := list(d.must("ListBackups", obj{"TableName": "tbl", "BackupType": "SYSTEM"})["BackupSummaries"])
	if len(listed) != 1 || listed[0]["BackupName"] != "tbl$DeletedTableBackup" ||
		listed[0]["BackupExpiryDateTime"] != float64(clock.Now().Add(35*24*time.Hour).UnixMilli())/1000 {
		t.Fatalf("backups %v", listed)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	d = open(t, Options{Now: clock.Now, DataDir: dir, Durability: "none"})
	d.must("RestoreTableFromBackup", obj{"BackupArn": listed[0]["BackupArn"], "TargetTableName": "tbl"})
	d.isActive("tbl")
	d.checkIndexes("tbl", want)
	if got := d.all("tbl", "", 0); !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("%d items, want %d", len(got), len(want))
	}
	clock.Advance(35 * 24 * time.Hour)
	if err := d.backups.Expire(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := list(d.must("ListBackups", obj{})["BackupSummaries"]); len(got) != 0 {
		t.Errorf("after 35 days there is %v", got)
	}
	d.checkConsistent()
}

// TestClockPutBack restarts a server after the machine's clock was set back. Later writes must still sort after earlier ones,
// in history and stream.
func TestClockPutBack(t *testing.T) {
	dir := t.TempDir()
	clock := newMovedClock()
	d := open(t, Options{Now: clock.Now, DataDir: dir})
	arn := d.createStreamed("tbl", "NEW_IMAGE")
	d.setRecovery("tbl", true, 0)
	clock.Advance(time.Minute)
	put := func(v int) {
		d.must("PutItem", obj{"TableName": "tbl", "Item": obj{"pk": s("a"), "sk": n(1), "v": n(v)}})
	}
	put(1)
	put(2)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(-30 * time.Second)
	d = open(t, Options{Now: clock.Now, DataDir: dir})
	put(3)
	d.must("RestoreTableToPointInTime", obj{"SourceTableName": "tbl", "TargetTableName": "copy", "UseLatestRestorableTime": true})
	d.isActive("copy")
	if got := d.all("copy", "", 0); len(got) != 1 || field(got[0], "v.N") != "3" {
		t.Errorf("the latest state is %v", got)
	}
	var order []any
	for _, r := range d.history(arn) {
		order = append(order, field(r, "dynamodb.NewImage.v.N"))
	}
	if !slices.Equal(order, []any{"1", "2", "3"}) {
		t.Errorf("the stream has %v", order)
	}
}
