package ops

import (
	"maps"
	"strings"
	"testing"

	"github.com/statordb/stator/internal/attribute"
	"github.com/statordb/stator/internal/smithy"
)

// TestSharedNamespaceByARN checks that ARNs of any account and region find the tables of a shared namespace.
func TestSharedNamespaceByARN(t *testing.T) {
	a := smithy.Caller{Account: "111111111111", Region: "us-west-2", Verified: true}
	b := smithy.Caller{Account: "222222222222", Region: "eu-west-1", Verified: true}
	arnOf := func(c smithy.Caller, resource string) string {
		return "arn:aws:dynamodb:" + c.Region + ":" + c.Account + ":" + resource
	}
	schema := obj{
		"BillingMode": "PAY_PER_REQUEST", "AttributeDefinitions": []obj{{"AttributeName": "pk", "AttributeType": "S"}},
		"KeySchema":           []obj{{"AttributeName": "pk", "KeyType": "HASH"}},
		"StreamSpecification": obj{"StreamEnabled": true, "StreamViewType": "KEYS_ONLY"},
	}
	key := obj{"pk": obj{"S": "k"}}
	s := open(t, Options{SharedNamespace: true, NoChangeLimits: true})
	create := maps.Clone(schema)
	create["TableName"] = arnOf(a, "table/Tab")
	table := s.must(a, "CreateTable", create)["TableDescription"].(obj)
	s.must(a, "UpdateContinuousBackups", obj{"TableName": arnOf(a, "table/Tab"), "PointInTimeRecoverySpecification": obj{"PointInTimeRecoveryEnabled": true}})
	backup := s.must(a, "CreateBackup", obj{"TableName": "Tab", "BackupName": "backup"})["BackupDetails"].(obj)
	// foreign returns an ARN with another caller's account and region.
	foreign := func(arn any, c smithy.Caller) string {
		return arnOf(c, strings.SplitN(arn.(string), ":", 6)[5])
	}
	for _, c := range []smithy.Caller{a, b} {
		for _, by := range []smithy.Caller{a, b} {
			tableARN, streamARN, backupARN := foreign(table["TableArn"], by), foreign(table["LatestStreamArn"], by), foreign(backup["BackupArn"], by)
			for _, name := range []string{"Tab", tableARN} {
				s.must(c, "DescribeTable", obj{"TableName": name})
				s.must(c, "PutItem", obj{"TableName": name, "Item": key})
				s.must(c, "BatchGetItem", obj{"RequestItems": obj{name: obj{"Keys": []obj{key}}}})
				s.must(c, "TransactWriteItems", obj{"TransactItems": []obj{{"Delete": obj{"TableName": name, "Key": key}}}})
				s.must(c, "DescribeTimeToLive", obj{"TableName": name})
				s.must(c, "UpdateTable", obj{"TableName": name, "DeletionProtectionEnabled": true})
				if n := len(s.must(c, "ListBackups", obj{"TableName": name})["BackupSummaries"].([]any)); n != 1 {
					t.Errorf("%s has %d backups", name, n)
				}
			}
			s.must(c, "TagResource", obj{"ResourceArn": tableARN, "Tags": []obj{{"Key": "k", "Value": "v"}}})
			s.must(c, "DescribeStream", obj{"StreamArn": streamARN})
			s.must(c, "ListTagsOfResource", obj{"ResourceArn": streamARN})
			if n := len(s.must(c, "ListStreams", obj{"TableName": "Tab", "ExclusiveStartStreamArn": streamARN})["Streams"].([]any)); n != 0 {
				t.Errorf("%d streams come after the only one", n)
			}
			s.must(c, "DescribeBackup", obj{"BackupArn": backupARN})
			if n := len(s.must(c, "ListBackups", obj{"ExclusiveStartBackupArn": backupARN})["BackupSummaries"].([]any)); n != 0 {
				t.Errorf("%d backups come after the only one", n)
			}
		}
	}
	if names := s.must(b, "ListTables", obj{})["TableNames"].([]any); len(names) != 1 || names[0] != "Tab" {
		t.Errorf("the tables are %v", names)
	}
}

// TestResolve checks which resource the texts in requests name, and who is allowed to use it.
func TestResolve(t *testing.T) {
	s := open(t, Options{})
	caller := smithy.Caller{Account: "111111111111", Region: "us-west-2", Verified: true}
	const own, other = "arn:aws:dynamodb:us-west-2:111111111111:", "arn:aws:dynamodb:us-east-1:222222222222:"
	for _, c := range []struct {
		want  kind
		given string
		index string
		arn   string // of the resource; empty if the text names none
		error string // part of the expected error
	}{
		{want: kindTable, given: "Tab", arn: own + "table/Tab"},
		{want: kindTable, given: "Tab", index: "Ind", arn: own + "table/Tab/index/Ind"},
		{want: kindTable, given: own + "table/Tab", arn: own + "table/Tab"},
		{want: kindTable, given: own + "table/Tab/stream/2026-01-01T00:00:00.000", arn: own + "table/Tab"},
		{want: kindTable, given: "T", error: "Invalid table/index name"},
		{want: kindTable, given: own + "bulk-operation/1", error: "Invalid table/index name"},
		{want: kindTable, given: "arn:aws:s3:::bucket", error: "Invalid table/index name"},
		{want: kindTable, given: other + "table/Tab", error: "not authorized to perform: dynamodb:Test on resource: " + other + "table/Tab "},
		{want: kindTable, given: other + "table/Tab", index: "Ind", error: "on resource: " + other + "table/Tab/index/Ind "},
		{want: kindStream, given: own + "table/Tab/stream/2026-01-01T00:00:00.000", arn: own + "table/Tab/stream/2026-01-01T00:00:00.000"},
		{want: kindStream, given: "Tab", error: "ValidationException: Invalid StreamArn: Tab"},
		{want: kindBackup, given: own + "table/Tab/backup/1", arn: own + "table/Tab/backup/1"},
		{want: kindBackup, given: own + "table/Tab/export/1", error: "Invalid Backup ARN"},
		{want: kindBackup, given: other + "table/Tab/backup/1", error: "on resource: " + other + "table/Tab/backup/1 "},
		{want: kindExport, given: own + "table/Tab/export/1", arn: own + "table/Tab/export/1"},
		{want: kindExport, given: own + "table/Tab", error: "Invalid Export ARN"},
		{want: kindImport, given: own + "table/Tab/import/1", arn: own + "table/Tab/import/1"},
		{want: kindImport, given: "", error: "Invalid Import ARN"},
		{want: kindBulk, given: own + "bulk-operation/1", arn: own + "bulk-operation/1"},
		{want: kindBulk, given: "arn:aws:dynamodb:us-west-2", error: "Invalid BulkOperationArn"},
		{want: kindBulk, given: other + "bulk-operation/1", error: "on resource: " + other + "bulk-operation/1 "},
		{want: anyKind, given: "Tab"},
		{want: anyKind, given: own + "table/Tab/stream/1", arn: own + "table/Tab/stream/1"},
		{want: anyKind, given: other + "table/Tab", error: "not authorized"},
	} {
		t.Run(c.given, func(t *testing.T) {
			r, err := s.resolve(RequestOf(&smithy.Call{Caller: caller}), reference{action: "dynamodb:Test", kind: c.want, given: c.given}.index(c.index))
			switch {
			case c.error != "":
				if err == nil || !strings.Contains(err.Error(), c.error) {
					t.Errorf("the error is %v", err)
				}
			case err != nil:
				t.Error(err)
			case c.arn == "" && r != resource{}, c.arn != "" && r.ARN() != c.arn:
				t.Errorf("it names %s", r.ARN())
			}
		})
	}
}

// TestIdentify checks what caches learn about tables, and that they learn it only of tables that the caller may use.
func TestIdentify(t *testing.T) {
	s := open(t, Options{})
	caller := smithy.Caller{Account: "111111111111", Region: "us-west-2", Verified: true}
	ids := map[uint32]bool{}
	for name, sort := range map[string]KeyAttribute{"Hash": {}, "Range": {Name: "sk", Type: attribute.TypeN}} {
		keys, attributes := []obj{{"AttributeName": "pk", "KeyType": "HASH"}}, []obj{{"AttributeName": "pk", "AttributeType": "S"}}
		if sort.Name != "" {
			keys, attributes = append(keys, obj{"AttributeName": "sk", "KeyType": "RANGE"}), append(attributes, obj{"AttributeName": "sk", "AttributeType": "N"})
		}
		s.must(caller, "CreateTable", obj{"TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys, "AttributeDefinitions": attributes})
		got, err := s.Identify(&smithy.Call{Caller: caller}, "dynamodb:GetItem", name, "")
		want := TableIdentity{ID: got.ID, Account: caller.Account, PartitionKey: KeyAttribute{Name: "pk", Type: attribute.TypeS}, SortKey: sort}
		if got != want || got.ID == 0 || ids[got.ID] || err != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		ids[got.ID] = true
	}
	for given, want := range map[string]string{
		"Missing": "Requested resource not found",
		"arn:aws:dynamodb:us-west-2:222222222222:table/Hash": "not authorized to perform: dynamodb:GetItem",
	} {
		if got, err := s.Identify(&smithy.Call{Caller: caller}, "dynamodb:GetItem", given, ""); err == nil || !strings.Contains(err.Error(), want) || got != (TableIdentity{}) {
			t.Errorf("%s: %+v, %v", given, got, err)
		}
	}
}
