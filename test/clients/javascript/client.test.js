// The AWS SDK for JavaScript v3 against the server whose endpoint is in STATOR_ENDPOINT.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  CreateTableCommand, DeleteTableCommand, DescribeTableCommand, DescribeTimeToLiveCommand, DynamoDBClient, ExecuteStatementCommand, ListTablesCommand,
  UpdateTableCommand, UpdateTimeToLiveCommand, waitUntilTableExists, waitUntilTableNotExists,
} from "@aws-sdk/client-dynamodb";
import { ApplicationAutoScalingClient, DescribeScalableTargetsCommand, PutScalingPolicyCommand, RegisterScalableTargetCommand } from "@aws-sdk/client-application-auto-scaling";
import { CloudWatchClient, DescribeAlarmsCommand, GetMetricDataCommand, PutMetricDataCommand } from "@aws-sdk/client-cloudwatch";
import { DescribeStreamCommand, DynamoDBStreamsClient, GetRecordsCommand, GetShardIteratorCommand } from "@aws-sdk/client-dynamodb-streams";
import {
  BatchGetCommand, BatchWriteCommand, DeleteCommand, DynamoDBDocumentClient, GetCommand, PutCommand, QueryCommand, ScanCommand,
  TransactGetCommand, TransactWriteCommand, UpdateCommand, paginateScan,
} from "@aws-sdk/lib-dynamodb";

const config = { endpoint: process.env.STATOR_ENDPOINT, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const client = new DynamoDBClient(config);
const db = DynamoDBDocumentClient.from(client);
const TableName = `js-${Date.now()}`;

before(async () => {
  await client.send(new CreateTableCommand({
    TableName, BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: ["pk:S", "sk:N", "kind:S"].map((d) => ({ AttributeName: d.split(":")[0], AttributeType: d.split(":")[1] })),
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
    GlobalSecondaryIndexes: [{ IndexName: "by-kind", KeySchema: [{ AttributeName: "kind", KeyType: "HASH" }], Projection: { ProjectionType: "ALL" } }],
  }));
  await waitUntilTableExists({ client, maxWaitTime: 30 }, { TableName });
});

after(async () => {
  await client.send(new DeleteTableCommand({ TableName }));
  await waitUntilTableNotExists({ client, maxWaitTime: 30 }, { TableName });
});

test("tables", async () => {
  const { Table } = await client.send(new DescribeTableCommand({ TableName }));
  assert.equal(Table.TableStatus, "ACTIVE");
  const { TableNames } = await client.send(new ListTablesCommand({}));
  assert.ok(TableNames.includes(TableName));
});

test("items of every type", async () => {
  const Item = {
    pk: "types", sk: 1, text: "héllo 😀", yes: true, no: false, nothing: null, list: [1, "two", { three: 3 }], map: { a: { b: ["c"] } },
    bytes: new Uint8Array([0, 1, 255]), strings: new Set(["a", "b"]), numbers: new Set([1, 2.5]),
  };
  await db.send(new PutCommand({ TableName, Item }));
  const got = await db.send(new GetCommand({ TableName, Key: { pk: "types", sk: 1 }, ConsistentRead: true }));
  assert.deepEqual(got.Item, Item);
});

test("update, condition, delete", async () => {
  const Key = { pk: "u", sk: 1 };
  const updated = await db.send(new UpdateCommand({
    TableName, Key, UpdateExpression: "SET #n = if_not_exists(#n, :zero) + :one", ExpressionAttributeNames: { "#n": "count" },
    ExpressionAttributeValues: { ":zero": 0, ":one": 1 }, ReturnValues: "ALL_NEW",
  }));
  assert.deepEqual(updated.Attributes, { ...Key, count: 1 });
  await assert.rejects(db.send(new PutCommand({ TableName, Item: Key, ConditionExpression: "attribute_not_exists(pk)" })), { name: "ConditionalCheckFailedException" });
  const removed = await db.send(new DeleteCommand({ TableName, Key, ReturnValues: "ALL_OLD" }));
  assert.equal(removed.Attributes.count, 1);
});

test("query, index, scan pages, batches", async () => {
  const items = Array.from({ length: 20 }, (_, i) => ({ pk: "q", sk: i, kind: i % 2 ? "odd" : "even" }));
  const written = await db.send(new BatchWriteCommand({ RequestItems: { [TableName]: items.map((Item) => ({ PutRequest: { Item } })) } }));
  assert.deepEqual(written.UnprocessedItems, {});
  const read = await db.send(new BatchGetCommand({ RequestItems: { [TableName]: { Keys: items.map(({ pk, sk }) => ({ pk, sk })) } } }));
  assert.equal(read.Responses[TableName].length, 20);
  const page = await db.send(new QueryCommand({
    TableName, KeyConditionExpression: "pk = :p AND sk BETWEEN :a AND :b", ExpressionAttributeValues: { ":p": "q", ":a": 5, ":b": 9 }, ScanIndexForward: false,
  }));
  assert.deepEqual(page.Items.map((i) => i.sk), [9, 8, 7, 6, 5]);
  const odd = await db.send(new QueryCommand({ TableName, IndexName: "by-kind", KeyConditionExpression: "kind = :k", ExpressionAttributeValues: { ":k": "odd" } }));
  assert.equal(odd.Count, 10);
  let n = 0;
  for await (const p of paginateScan({ client: db, pageSize: 6 }, { TableName, FilterExpression: "kind = :k", ExpressionAttributeValues: { ":k": "even" } })) n += p.Count;
  assert.equal(n, 10);
  const count = await db.send(new ScanCommand({ TableName, Select: "COUNT" }));
  assert.ok(count.Count >= 20 && count.Items === undefined);
});

test("transactions and errors", async () => {
  const Item = { pk: "tx", sk: 1 };
  const TransactItems = [{ Put: { TableName, Item, ConditionExpression: "attribute_not_exists(pk)" } }];
  await db.send(new TransactWriteCommand({ TransactItems }));
  await assert.rejects(db.send(new TransactWriteCommand({ TransactItems })), (e) => {
    assert.equal(e.name, "TransactionCanceledException");
    assert.equal(e.CancellationReasons[0].Code, "ConditionalCheckFailed");
    return true;
  });
  const got = await db.send(new TransactGetCommand({ TransactItems: [{ Get: { TableName, Key: Item } }] }));
  assert.deepEqual(got.Responses[0].Item, Item);
  await assert.rejects(db.send(new GetCommand({ TableName: "no-such-table", Key: Item })), { name: "ResourceNotFoundException", message: "Requested resource not found" });
  await assert.rejects(db.send(new GetCommand({ TableName, Key: { pk: "x" } })), { name: "ValidationException" });
});

const until = async (what, holds) => {
  for (let i = 0; i < 300; i++) {
    if (await holds()) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.fail(`${what}: did not happen`);
};

test("an index of a live table, TTL, a stream, PartiQL", async () => {
  await db.send(new PutCommand({ TableName, Item: { pk: "live", sk: 1, color: "red" } }));
  await client.send(new UpdateTableCommand({
    TableName, AttributeDefinitions: [{ AttributeName: "color", AttributeType: "S" }],
    GlobalSecondaryIndexUpdates: [{ Create: { IndexName: "by-color", KeySchema: [{ AttributeName: "color", KeyType: "HASH" }], Projection: { ProjectionType: "ALL" } } }],
  }));
  await until("the index", async () => {
    const { Table } = await client.send(new DescribeTableCommand({ TableName }));
    return Table.GlobalSecondaryIndexes.find((x) => x.IndexName === "by-color").IndexStatus === "ACTIVE";
  });
  const red = await db.send(new QueryCommand({ TableName, IndexName: "by-color", KeyConditionExpression: "color = :c", ExpressionAttributeValues: { ":c": "red" } }));
  assert.equal(red.Count, 1);

  const { TableDescription } = await client.send(new UpdateTableCommand({ TableName, StreamSpecification: { StreamEnabled: true, StreamViewType: "OLD_IMAGE" } }));
  await client.send(new UpdateTimeToLiveCommand({ TableName, TimeToLiveSpecification: { Enabled: true, AttributeName: "until" } }));
  await until("TTL", async () => (await client.send(new DescribeTimeToLiveCommand({ TableName }))).TimeToLiveDescription.TimeToLiveStatus === "ENABLED");
  await db.send(new PutCommand({ TableName, Item: { pk: "gone", sk: 1, until: Math.floor(Date.now() / 1000) - 1 } }));
  const streams = new DynamoDBStreamsClient(config);
  const StreamArn = TableDescription.LatestStreamArn;
  const { StreamDescription } = await streams.send(new DescribeStreamCommand({ StreamArn }));
  let { ShardIterator } = await streams.send(new GetShardIteratorCommand({ StreamArn, ShardId: StreamDescription.Shards[0].ShardId, ShardIteratorType: "TRIM_HORIZON" }));
  const seen = [];
  await until("the expired item's removal", async () => {
    const page = await streams.send(new GetRecordsCommand({ ShardIterator }));
    ShardIterator = page.NextShardIterator;
    seen.push(...page.Records);
    return seen.some((r) => r.eventName === "REMOVE");
  });
  assert.deepEqual(seen.map((r) => [r.eventName, r.userIdentity?.Type]), [["INSERT", undefined], ["REMOVE", "Service"]]);

  const { Items } = await client.send(new ExecuteStatementCommand({ Statement: `SELECT color FROM "${TableName}" WHERE pk = ? AND sk = ?`, Parameters: [{ S: "live" }, { N: "1" }] }));
  assert.deepEqual(Items, [{ color: { S: "red" } }]);
});

test("metrics and scaling", async () => {
  const watch = new CloudWatchClient(config);
  const name = `${TableName}-provisioned`;
  await client.send(new CreateTableCommand({
    TableName: name, AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }], KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
    ProvisionedThroughput: { ReadCapacityUnits: 5, WriteCapacityUnits: 5 },
  }));
  await db.send(new PutCommand({ TableName: name, Item: { pk: "a", v: "x".repeat(2000) } }));
  await watch.send(new PutMetricDataCommand({ Namespace: "JS", MetricData: [{ MetricName: name, Value: 3, Unit: "Count", Timestamp: new Date() }] }));
  const query = (Id, Namespace, MetricName, Dimensions) => ({ Id, MetricStat: { Metric: { Namespace, MetricName, Dimensions }, Period: 60, Stat: "Sum" } });
  let writes, own;
  for (let attempt = 0; attempt < 100; attempt++) { // of several servers, each tells what it has measured every few seconds
    ({ MetricDataResults: [writes, own] } = await watch.send(new GetMetricDataCommand({
      StartTime: new Date(Date.now() - 3600_000), EndTime: new Date(Date.now() + 120_000),
      MetricDataQueries: [query("w", "AWS/DynamoDB", "ConsumedWriteCapacityUnits", [{ Name: "TableName", Value: name }]), query("o", "JS", name)],
    })));
    if (writes.Values.length > 0) break;
    await new Promise((done) => setTimeout(done, 200));
  }
  assert.deepEqual([writes.Values, own.Values], [[2], [3]]);
  assert.ok(writes.Timestamps[0] instanceof Date);
  const scaling = new ApplicationAutoScalingClient(config);
  const target = { ServiceNamespace: "dynamodb", ResourceId: `table/${name}`, ScalableDimension: "dynamodb:table:ReadCapacityUnits" };
  await scaling.send(new RegisterScalableTargetCommand({ ...target, MinCapacity: 5, MaxCapacity: 50 }));
  const { Alarms } = await scaling.send(new PutScalingPolicyCommand({
    ...target, PolicyName: "reads", PolicyType: "TargetTrackingScaling",
    TargetTrackingScalingPolicyConfiguration: { TargetValue: 50, PredefinedMetricSpecification: { PredefinedMetricType: "DynamoDBReadCapacityUtilization" } },
  }));
  const { MetricAlarms } = await watch.send(new DescribeAlarmsCommand({ AlarmNamePrefix: `TargetTracking-table/${name}-AlarmHigh` }));
  assert.equal(Alarms.length, 4);
  assert.equal(MetricAlarms[0].Threshold, 5 * 0.5 * 60);
  const { ScalableTargets } = await scaling.send(new DescribeScalableTargetsCommand({ ServiceNamespace: "dynamodb", ResourceIds: [target.ResourceId] }));
  assert.equal(ScalableTargets[0].MaxCapacity, 50);
  await client.send(new DeleteTableCommand({ TableName: name }));
});
