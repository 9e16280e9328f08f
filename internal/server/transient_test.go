package server

import (
	"fmt"
	"testing"
	"time"
)

// transient is a server whose tables pass through AWS's transient states for ten seconds.
type transient struct {
	*db
	clock *movedClock
}

func openTransient(t *testing.T) transient {
	clock := newMovedClock()
	return transient{open(t, Options{Now: clock.Now, TransientStatus: 10 * time.Second}), clock}
}

// create creates the table and waits until it is ACTIVE.
func (d transient) create(in obj) {
	d.t.Helper()
	d.must("CreateTable", in)
	d.clock.Advance(11 * time.Second)
}

// is checks a member of the table's description.
func (d transient) is(path string, want any) {
	d.t.Helper()
	if got := field(d.must("DescribeTable", obj{"TableName": "Tab"}), "Table."+path); fmt.Sprint(got) != fmt.Sprint(want) {
		d.t.Errorf("%s is %v, want %v", path, got, want)
	}
}

// inUse checks that a request is refused because the table is still in use.
func (d transient) inUse(sentence, operation string, in obj) {
	d.t.Helper()
	d.refused("ResourceInUseException", "Attempt to change a resource which is still in use: "+sentence, operation, with(in, obj{"TableName": "Tab"}))
}

var (
	streamOn  = obj{"StreamSpecification": obj{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}}
	infreq    = obj{"TableClass": "STANDARD_INFREQUENT_ACCESS"}
	onDemand1 = obj{"OnDemandThroughput": obj{"MaxReadRequestUnits": 10}}
	protect   = obj{"DeletionProtectionEnabled": true}
	lateIndex = obj{"AttributeDefinitions": []obj{attr("new", "S")}, "GlobalSecondaryIndexUpdates": []obj{{"Create": hashIndex("late", "new")}}}
)

// hashIndex returns the description of an index without a sort key.
func hashIndex(name, hash string) obj {
	return obj{"IndexName": name, "KeySchema": keys(hash), "Projection": obj{"ProjectionType": "ALL"}}
}

func iops(units int) obj { return obj{"ProvisionedThroughput": throughput(units, units)} }

// TestTransientCreation follows a new table from unknown to ACTIVE (ack DDB-TABLE-116, DDB-BACKUP-001, DDB-BACKUP-002).
func TestTransientCreation(t *testing.T) {
	d := openTransient(t)
	d.must("CreateTable", provisioned("Tab", 1, 1))
	arn := "arn:aws:dynamodb:us-east-1:000000000000:table/Tab"
	ttl := obj{"TableName": "Tab", "TimeToLiveSpecification": obj{"AttributeName": "x", "Enabled": true}}
	tags := obj{"ResourceArn": arn, "Tags": []obj{{"Key": "k", "Value": "v"}}}
	d.is("TableStatus", "CREATING")
	d.refused("ResourceInUseException", "Attempt to change a resource which is still in use: Table is being created: Tab", "CreateTable", provisioned("Tab", 1, 1))
	for operation, in := range map[string]obj{"UpdateTable": protect, "DeleteTable": {}} {
		d.inUse("Table is being created: Tab", operation, in)
	}
	d.refused("ResourceNotFoundException", "Table: Tab not found", "UpdateTimeToLive", ttl)
	d.refused("ResourceNotFoundException", "ResourceArn: "+arn+" not found", "TagResource", tags)
	d.refused("TableNotFoundException", "Table not found: Tab", "CreateBackup", obj{"TableName": "Tab", "BackupName": "snap"})
	d.refused("ValidationException", "Cannot describe time to live while table is in CREATING state: Current table state is CREATING", "DescribeTimeToLive", obj{"TableName": "Tab"})
	d.clock.Advance(6 * time.Second)
	d.refused("ResourceInUseException", "Table Tab is being created", "UpdateTimeToLive", ttl)
	d.refused("ContinuousBackupsUnavailableException", "Backups are being enabled for the table: Tab. Please retry later", "CreateBackup", obj{"TableName": "Tab", "BackupName": "snap"})
	d.refused("ValidationException", "TableStatus must be ACTIVE to enable ContributorInsights.", "UpdateContributorInsights", obj{"TableName": "Tab", "ContributorInsightsAction": "ENABLE"})
	d.clock.Advance(5 * time.Second)
	d.is("TableStatus", "ACTIVE")
	d.must("TagResource", tags)
	d.refused("LimitExceededException", "Subscriber limit exceeded: Table tags are being updated: Tab", "TagResource", with(tags, obj{"Tags": []obj{{"Key": "other", "Value": "v"}}}))
	d.must("TagResource", tags) // changes nothing
	d.inUse("Table tags are being updated: Tab", "DeleteTable", obj{})
	d.must("UpdateTable", with(iops(2), obj{"TableName": "Tab"})) // tags block only the deletion
}

// TestTransientThroughput changes throughput: until that takes effect, the table shows the old values (ack DDB-TABLE-060, DDB-TABLE-369).
func TestTransientThroughput(t *testing.T) {
	d := openTransient(t)
	d.create(provisioned("Tab", 1, 1))
	d.must("UpdateTable", with(iops(2), obj{"TableName": "Tab"}))
	d.is("TableStatus", "UPDATING")
	d.is("ProvisionedThroughput.ReadCapacityUnits", 1)
	busy := "Table IOPS are currently being updated. Table: Tab"
	d.inUse(busy, "UpdateTable", iops(3))
	d.inUse(busy, "UpdateTable", obj{"BillingMode": "PAY_PER_REQUEST"})
	d.inUse("Can't enable or disable stream while table IOPS are being updated. Table: Tab", "UpdateTable", streamOn)
	d.inUse("OnDemandThroughput cannot be updated while BillingMode update is in progress", "UpdateTable", onDemand1)
	d.inUse("Can't create or delete indexes while table IOPS are being updated. Table: Tab", "UpdateTable", lateIndex)
	d.inUse("Table: Tab is in the process of being updated.", "DeleteTable", obj{})
	d.must("UpdateTable", with(protect, obj{"TableName": "Tab"}))
	d.clock.Advance(11 * time.Second)
	d.is("TableStatus", "ACTIVE")
	d.is("ProvisionedThroughput.ReadCapacityUnits", 2)
}

// TestTransientStream switches a stream on (ack DDB-TABLE-002, DDB-TABLE-004).
func TestTransientStream(t *testing.T) {
	d := openTransient(t)
	d.create(provisioned("Tab", 1, 1))
	d.must("UpdateTable", with(streamOn, obj{"TableName": "Tab"}))
	d.is("TableStatus", "UPDATING")
	d.inUse("A stream status change is currently in progress. Table: Tab Stream: ", "UpdateTable", streamOn)
	d.inUse("Can't change table IOPS when stream status is being updated. Table: Tab Stream: ", "UpdateTable", iops(2))
	d.inUse("Can't update table class when stream status is being updated. Table: Tab Stream: ", "UpdateTable", infreq)
	d.inUse("OnDemandThroughput cannot be updated while stream status update is in progress", "UpdateTable", onDemand1)
	d.inUse("Can't create or delete an index when stream status is being updated.", "UpdateTable", lateIndex)
	d.inUse("Cannot delete table while stream is being enabled/disabled.", "DeleteTable", obj{})
	d.must("UpdateTimeToLive", obj{"TableName": "Tab", "TimeToLiveSpecification": obj{"AttributeName": "x", "Enabled": true}})
}

// TestTransientClass changes the table class, which shows with ACTIVE (ack DDB-TABLE-284, DDB-TABLE-285).
func TestTransientClass(t *testing.T) {
	d := openTransient(t)
	d.create(provisioned("Tab", 1, 1))
	d.must("UpdateTable", with(infreq, obj{"TableName": "Tab"}))
	d.is("TableClassSummary", nil)
	progress := "Table: Tab TableClassUpdateInProgress: STANDARD_INFREQUENT_ACCESS"
	d.inUse("Can't update table class when a table class update is in progress. "+progress, "UpdateTable", infreq)
	d.inUse("Can't change stream status when a table class update is in progress. "+progress, "UpdateTable", streamOn)
	d.inUse("OnDemandThroughput cannot be updated while TableClass update is in progress. TableClassUpdateInProgress: STANDARD_INFREQUENT_ACCESS", "UpdateTable", onDemand1)
	d.clock.Advance(11 * time.Second)
	d.is("TableClassSummary.TableClass", "STANDARD_INFREQUENT_ACCESS")
}

// TestTransientEncryption changes the key: the old one shows first, then the new one, and the table stays ACTIVE (ack DDB-TABLE-371,
// DDB-TABLE-141).
func TestTransientEncryption(t *testing.T) {
	d := openTransient(t)
	d.create(provisioned("Tab", 1, 1))
	const a, b = "arn:aws:kms:us-east-1:000000000000:key/11111111-1111-1111-1111-111111111111", "arn:aws:kms:us-east-1:000000000000:key/22222222-2222-2222-2222-222222222222"
	key := func(arn string) obj {
		return obj{"TableName": "Tab", "SSESpecification": obj{"Enabled": true, "SSEType": "KMS", "KMSMasterKeyId": arn}}
	}
	d.must("UpdateTable", key(a))
	d.is("TableStatus", "ACTIVE")
	d.is("SSEDescription", obj{"Status": "UPDATING"})
	d.inUse("Server-Side Encryption is still being updated", "UpdateTable", key(b))
	d.inUse("Table: Tab is in the process of being updated.", "DeleteTable", obj{})
	d.clock.Advance(11 * time.Second)
	d.is("SSEDescription.Status", "ENABLED")
	d.must("UpdateTable", key(b))
	for _, want := range []string{a, b} {
		d.is("SSEDescription.Status", "UPDATING")
		d.is("SSEDescription.KMSMasterKeyArn", want)
		d.clock.Advance(6 * time.Second)
	}
	d.is("SSEDescription.Status", "ENABLED")
	d.must("UpdateTable", obj{"TableName": "Tab", "SSESpecification": obj{"Enabled": false}})
	d.is("SSEDescription.KMSMasterKeyArn", b)
	d.clock.Advance(6 * time.Second)
	d.is("SSEDescription", obj{"Status": "UPDATING"})
	d.clock.Advance(6 * time.Second)
	d.is("SSEDescription", nil)
}

// TestTransientWarm raises warm throughput, which leaves the table ACTIVE (ack DDB-TABLE-179).
func TestTransientWarm(t *testing.T) {
	d := openTransient(t)
	d.create(provisioned("Tab", 1, 1))
	d.must("UpdateTable", obj{"TableName": "Tab", "WarmThroughput": obj{"ReadUnitsPerSecond": 50}})
	d.is("TableStatus", "ACTIVE")
	d.is("WarmThroughput", obj{"ReadUnitsPerSecond": 1.0, "WriteUnitsPerSecond": 1.0, "Status": "UPDATING"})
	d.clock.Advance(11 * time.Second)
	d.is("WarmThroughput", obj{"ReadUnitsPerSecond": 50.0, "WriteUnitsPerSecond": 1.0, "Status": "ACTIVE"})
}

// TestTransientIndexes changes and deletes a GSI (ack DDB-TABLE-135, DDB-TABLE-163, DDB-TABLE-375).
func TestTransientIndexes(t *testing.T) {
	d := openTransient(t)
	in := provisioned("Tab", 1, 1)
	in["AttributeDefinitions"] = append(in["AttributeDefinitions"].([]obj), attr("g", "S"))
	in["GlobalSecondaryIndexes"] = []obj{with(hashIndex("by-g", "g"), iops(1))}
	d.create(in)
	change := func(units int) obj {
		return obj{"TableName": "Tab", "GlobalSecondaryIndexUpdates": []obj{{"Update": with(iops(units), obj{"IndexName": "by-g"})}}}
	}
	d.must("UpdateTable", change(2))
	d.is("TableStatus", "ACTIVE")
	index := field(d.must("DescribeTable", obj{"TableName": "Tab"}), "Table.GlobalSecondaryIndexes").([]any)[0]
	if field(index, "IndexStatus") != "UPDATING" || field(index, "ProvisionedThroughput.ReadCapacityUnits") != 1.0 {
		t.Errorf("the index is %v", index)
	}
	d.inUse("Index is being updated. Table: Tab Index: by-g", "UpdateTable", change(3))
	d.inUse("Cannot delete table while indexes are being created, updated, or deleted.", "DeleteTable", obj{})
	d.clock.Advance(11 * time.Second)
	d.must("UpdateTable", obj{"TableName": "Tab", "GlobalSecondaryIndexUpdates": []obj{{"Delete": obj{"IndexName": "by-g"}}}})
	d.is("TableStatus", "UPDATING")
	d.inUse("Can't change table IOPS when an index is being deleted. Table: Tab Indexes: [by-g]", "UpdateTable", iops(2))
	d.inUse("Index is being deleted. Table: Tab Index: by-g", "UpdateTable", change(3))
	d.inUse("OnDemandThroughput cannot be updated while index deletion is in progress for indexes: [by-g]", "UpdateTable", onDemand1)
}

// TestTransientIndexCreation adds a GSI: the table is UPDATING while resources are allocated, and ACTIVE while the index is filled (ack
// DDB-TABLE-148, DDB-TABLE-149).
func TestTransientIndexCreation(t *testing.T) {
	d := openTransient(t)
	d.create(obj{"TableName": "Tab", "BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{attr("pk", "S")}, "KeySchema": keys("pk")})
	d.must("UpdateTable", with(lateIndex, obj{"TableName": "Tab"}))
	index := func() any {
		return field(d.must("DescribeTable", obj{"TableName": "Tab"}), "Table.GlobalSecondaryIndexes").([]any)[0]
	}
	d.is("TableStatus", "UPDATING")
	if x := index(); field(x, "IndexStatus") != "CREATING" || field(x, "Backfilling") != false {
		t.Errorf("the index is %v", x)
	}
	d.inUse("Can't change stream status when an index is being created. Table: Tab Indexes: [late]", "UpdateTable", streamOn)
	d.inUse("OnDemandThroughput cannot be updated while index creation is in progress for indexes: [late]", "UpdateTable", onDemand1)
	d.inUse("Index creation is in resource allocation phase. Retry deletion during backfilling phase or when the index is active. Table: Tab Index: late", "UpdateTable",
		obj{"GlobalSecondaryIndexUpdates": []obj{{"Delete": obj{"IndexName": "late"}}}})
	d.clock.Advance(11 * time.Second)
	d.is("TableStatus", "ACTIVE")
	if x := index(); field(x, "IndexStatus") == "CREATING" && field(x, "Backfilling") != true {
		t.Errorf("the index is %v", x)
	}
}

// TestTransientPolicy changes a policy twice: AWS wants 15 seconds between the changes (ack DDB-TABLE-206, DDB-TABLE-348).
func TestTransientPolicy(t *testing.T) {
	d := openTransient(t)
	d.create(provisioned("Tab", 1, 1))
	policy := func(action string) obj {
		return obj{"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/Tab", "Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` +
			`"Principal":{"AWS":"000000000000"},"Action":"dynamodb:` + action + `","Resource":"*"}]}`}
	}
	first := d.must("PutResourcePolicy", policy("GetItem"))["RevisionId"]
	d.refused("ResourceInUseException", "Table is pending previous resource-based policy update: Tab", "PutResourcePolicy", policy("PutItem"))
	d.inUse("Table: Tab has a pending resource-based policy update.", "DeleteTable", obj{})
	d.clock.Advance(2 * time.Second)
	d.refused("ThrottlingException", "Resource-based policy for table Tab modified within the previous 15000 milliseconds. Please try again after ", "PutResourcePolicy", policy("PutItem"))
	if again := d.must("PutResourcePolicy", policy("GetItem"))["RevisionId"]; again != first {
		t.Errorf("the same policy has revision %v, then %v", first, again)
	}
	d.clock.Advance(14 * time.Second)
	if next := d.must("PutResourcePolicy", policy("PutItem"))["RevisionId"]; next.(string) <= first.(string) {
		t.Errorf("revision %v follows %v", next, first)
	}
}

// TestTransientDeletion deletes a table (ack DDB-TABLE-006, DDB-TABLE-104).
func TestTransientDeletion(t *testing.T) {
	d := openTransient(t)
	d.create(provisioned("Tab", 1, 1))
	d.must("DeleteTable", obj{"TableName": "Tab"})
	d.is("TableStatus", "DELETING")
	d.inUse("Table is being deleted: Tab", "DeleteTable", obj{})
	d.inUse("Table is being deleted: Tab", "UpdateTable", protect)
	d.refused("ResourceInUseException", "Table already exists: Tab", "CreateTable", provisioned("Tab", 1, 1))
	d.refused("ValidationException", "Cannot describe time to live while table is in DELETING state: Current table state is DELETING", "DescribeTimeToLive", obj{"TableName": "Tab"})
}
