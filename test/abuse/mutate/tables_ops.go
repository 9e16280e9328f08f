package mutate

import "fmt"

// known returns a value that a member has had in an answer or request, or else a plausible one.
func (g *gen) known(member string) any {
	if list := g.w.pool[member]; len(list) > 0 {
		return list[g.n(len(list))]
	}
	return "arn:aws:dynamodb:us-east-1:000000000000:table/hash"
}

// page adds a limit and, if there was a token, sometimes that.
func (g *gen) page(in obj, limit string, max int) obj {
	g.maybe(in, 3, limit, func() any { return 1 + g.n(max) })
	return in
}

func (g *gen) tableName() obj { return obj{"TableName": g.tableRef(g.table())} }

// newName returns the name of a table that requests create and delete.
func (g *gen) newName() string { return fmt.Sprint("new-", g.n(6)) }

func (g *gen) newTableName() obj { return obj{"TableName": g.newName()} }

func (g *gen) tags() []any {
	return []any{obj{"Key": "a", "Value": g.number()}, obj{"Key": "b", "Value": ""}}
}

func (g *gen) listTables() obj {
	in := g.page(obj{}, "Limit", 100)
	g.maybe(in, 2, "ExclusiveStartTableName", func() any { return g.table().name })
	return in
}

// schema adds a table's keys, attributes and billing mode, and optionally indexes.
func (g *gen) schema(in obj, indexes bool) obj {
	types := map[string]string{"pk": pick(g.Source, "S", "N", "B")}
	keys := []any{obj{"AttributeName": "pk", "KeyType": "HASH"}}
	if g.one(2) {
		types["sk"] = pick(g.Source, "S", "N", "B")
		keys = append(keys, obj{"AttributeName": "sk", "KeyType": "RANGE"})
	}
	throughput := func() obj { return obj{"ReadCapacityUnits": 1 + g.n(40), "WriteCapacityUnits": 1 + g.n(40)} }
	provisioned := g.one(3)
	in["BillingMode"] = "PAY_PER_REQUEST"
	if provisioned {
		in["BillingMode"], in["ProvisionedThroughput"] = "PROVISIONED", throughput()
	}
	projection := func() obj {
		switch g.n(3) {
		case 0:
			return obj{"ProjectionType": "ALL"}
		case 1:
			return obj{"ProjectionType": "KEYS_ONLY"}
		}
		return obj{"ProjectionType": "INCLUDE", "NonKeyAttributes": []any{"s", "x"}}
	}
	if indexes && g.one(2) {
		types["g"] = "S"
		i := obj{"IndexName": "by-g", "KeySchema": []any{obj{"AttributeName": "g", "KeyType": "HASH"}}, "Projection": projection()}
		if provisioned {
			i["ProvisionedThroughput"] = throughput()
		}
		in["GlobalSecondaryIndexes"] = []any{i}
	}
	if types["sk"] != "" && indexes && g.one(3) {
		types["n"] = "N"
		in["LocalSecondaryIndexes"] = []any{obj{"IndexName": "local", "Projection": projection(), "KeySchema": []any{obj{"AttributeName": "pk", "KeyType": "HASH"}, obj{"AttributeName": "n", "KeyType": "RANGE"}}}}
	}
	defs := []any{}
	for _, name := range sorted(types) {
		defs = append(defs, obj{"AttributeName": name, "AttributeType": types[name]})
	}
	in["KeySchema"], in["AttributeDefinitions"] = keys, defs
	return in
}

func (g *gen) createTable() obj {
	in := g.schema(obj{"TableName": g.newName()}, true)
	g.maybe(in, 3, "StreamSpecification", func() any {
		return obj{"StreamEnabled": true, "StreamViewType": pick(g.Source, "KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES")}
	})
	g.maybe(in, 4, "Tags", func() any { return g.tags() })
	g.maybe(in, 4, "TableClass", func() any { return pick(g.Source, "STANDARD", "STANDARD_INFREQUENT_ACCESS") })
	g.maybe(in, 5, "SSESpecification", func() any { return obj{"Enabled": false} })
	return in
}

func (g *gen) updateTable() obj {
	in := obj{"TableName": pick(g.Source, g.table().name, "hash", "new-0")}
	switch g.n(8) {
	case 0:
		in["DeletionProtectionEnabled"] = g.one(2)
	case 1:
		in["TableName"], in["BillingMode"] = "hash", "PAY_PER_REQUEST"
	case 2:
		in["TableName"], in["ProvisionedThroughput"] = "prov", obj{"ReadCapacityUnits": 1 + g.n(90), "WriteCapacityUnits": 1 + g.n(90)}
	case 3:
		in["StreamSpecification"] = obj{"StreamEnabled": false}
	case 4:
		in["StreamSpecification"] = obj{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}
	case 5:
		in["TableName"] = "hash"
		name := pick(g.Source, "extra", "extra-2")
		in["AttributeDefinitions"] = []any{obj{"AttributeName": "pk", "AttributeType": "S"}, obj{"AttributeName": "s", "AttributeType": "S"}}
		in["GlobalSecondaryIndexUpdates"] = []any{obj{"Create": obj{"IndexName": name, "KeySchema": []any{obj{"AttributeName": "s", "KeyType": "HASH"}}, "Projection": obj{"ProjectionType": "ALL"}}}}
	case 6:
		in["TableName"] = "hash"
		in["GlobalSecondaryIndexUpdates"] = []any{obj{"Delete": obj{"IndexName": pick(g.Source, "extra", "extra-2")}}}
	default:
		in["TableClass"] = pick(g.Source, "STANDARD", "STANDARD_INFREQUENT_ACCESS")
	}
	return in
}

func (g *gen) updateTimeToLive() obj {
	return obj{"TableName": g.table().name, "TimeToLiveSpecification": obj{"AttributeName": "exp", "Enabled": g.one(2)}}
}

func (g *gen) updateContinuousBackups() obj {
	spec := obj{"PointInTimeRecoveryEnabled": !g.one(3)}
	g.maybe(spec, 3, "RecoveryPeriodInDays", func() any { return 1 + g.n(35) })
	return obj{"TableName": g.table().name, "PointInTimeRecoverySpecification": spec}
}

func (g *gen) createBackup() obj {
	return obj{"TableName": g.tableRef(g.table()), "BackupName": pick(g.Source, "backup", "b-2", "b.3_x")}
}

func (g *gen) listBackups() obj {
	in := g.page(obj{}, "Limit", 100)
	g.maybe(in, 2, "TableName", func() any { return g.table().name })
	g.maybe(in, 3, "BackupType", func() any { return pick(g.Source, "USER", "SYSTEM", "ALL", "AWS_BACKUP") })
	return in
}

func (g *gen) restoreFromBackup() obj {
	in := obj{"BackupArn": g.known("BackupArn"), "TargetTableName": fmt.Sprint("restored-", g.n(50))}
	g.maybe(in, 3, "BillingModeOverride", func() any { return "PAY_PER_REQUEST" })
	g.maybe(in, 4, "GlobalSecondaryIndexOverride", func() any { return []any{} })
	return in
}

func (g *gen) restoreToPointInTime() obj {
	return obj{"SourceTableName": "range", "TargetTableName": fmt.Sprint("restored-", g.n(50)), "UseLatestRestorableTime": true}
}

func (g *gen) export() obj {
	in := obj{"TableArn": "arn:aws:dynamodb:us-east-1:000000000000:table/range", "S3Bucket": "bucket", "S3Prefix": pick(g.Source, "out", "out/deep")}
	g.maybe(in, 2, "ExportFormat", func() any { return pick(g.Source, "DYNAMODB_JSON", "ION") })
	return in
}

// source adds the place that imports read from.
func (g *gen) source(in obj, member string) obj {
	format := pick(g.Source, "DYNAMODB_JSON", "CSV", "ION")
	prefix := map[string]string{"DYNAMODB_JSON": "items.json", "CSV": "items.csv", "ION": "items.ion"}[format]
	if member == "" {
		return with(with(in, "S3Bucket", "bucket"), "S3KeyPrefix", prefix)
	}
	in[member] = obj{"S3Bucket": "bucket", "S3KeyPrefix": prefix}
	in["InputFormat"] = format
	return in
}

func (g *gen) importTable() obj {
	in := g.source(obj{}, "S3BucketSource")
	params := g.schema(obj{"TableName": fmt.Sprint("imported-", g.n(50))}, false)
	in["TableCreationParameters"] = params
	return in
}

func (g *gen) bulkPut() obj {
	s := g.source(obj{}, "S3BucketSource")
	config := with(s["S3BucketSource"].(obj), "InputFormat", s["InputFormat"])
	in := obj{"TableName": g.table().name, "InputS3Configuration": config, "OutputS3Configuration": obj{"OutputType": []any{"ERROR"}}}
	g.maybe(in, 3, "MaxWriteRequestUnits", func() any { return 1000 + g.n(5000) })
	return in
}

func (g *gen) putResourcePolicy() obj {
	return obj{"ResourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/" + g.table().name, "Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"000000000000"},"Action":"dynamodb:*","Resource":"*"}]}`}
}

func (g *gen) updateContributorInsights() obj {
	in := obj{"TableName": g.table().name, "ContributorInsightsAction": pick(g.Source, "ENABLE", "DISABLE")}
	g.maybe(in, 3, "ContributorInsightsMode", func() any { return pick(g.Source, "ACCESSED_AND_THROTTLED_KEYS", "THROTTLED_KEYS") })
	return in
}

func (g *gen) listStreams() obj {
	in := g.page(obj{}, "Limit", 100)
	g.maybe(in, 2, "TableName", func() any { return g.table().name })
	return in
}

func (g *gen) describeStream() obj {
	in := g.page(obj{"StreamArn": g.known("StreamArn")}, "Limit", 100)
	g.maybe(in, 3, "ExclusiveStartShardId", func() any { return g.known("ShardId") })
	return in
}

func (g *gen) getShardIterator() obj {
	kind := pick(g.Source, "TRIM_HORIZON", "LATEST", "TRIM_HORIZON", "AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")
	in := obj{"StreamArn": g.known("StreamArn"), "ShardId": g.known("ShardId"), "ShardIteratorType": kind}
	if kind == "AT_SEQUENCE_NUMBER" || kind == "AFTER_SEQUENCE_NUMBER" {
		in["SequenceNumber"] = g.known("SequenceNumber")
	}
	return in
}

func (g *gen) getRecords() obj {
	return g.page(obj{"ShardIterator": g.known("ShardIterator")}, "Limit", 1000)
}
