// What a developer's page does with Stator by the AWS SDK for JavaScript v3. The test bundles it.
import { CloudWatchClient, DeleteAlarmsCommand, DescribeAlarmsCommand, GetMetricStatisticsCommand, ListMetricsCommand, PutMetricAlarmCommand, PutMetricDataCommand } from "@aws-sdk/client-cloudwatch";
import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, ListTablesCommand, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { BatchWriteCommand, DynamoDBDocumentClient, GetCommand, PutCommand, QueryCommand, ScanCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";

const config = (endpoint, credentials) => ({ endpoint, region: "us-east-1", credentials, maxAttempts: 1 });

// list lists the tables, or returns the name of what went wrong.
globalThis.list = async (endpoint, credentials) => {
  try {
    return (await new DynamoDBClient(config(endpoint, credentials)).send(new ListTablesCommand())).TableNames;
  } catch (error) {
    return error.name;
  }
};

// work goes once through what applications do, and returns what it saw.
globalThis.work = async (endpoint, credentials, TableName) => {
  const client = new DynamoDBClient(config(endpoint, credentials));
  const db = DynamoDBDocumentClient.from(client);
  const cloudwatch = new CloudWatchClient(config(endpoint, credentials));
  const saw = {};
  await client.send(new CreateTableCommand({
    TableName, BillingMode: "PAY_PER_REQUEST", AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }, { AttributeName: "sk", AttributeType: "N" }],
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
  }));
  await waitUntilTableExists({ client, maxWaitTime: 60 }, { TableName });
  await db.send(new PutCommand({ TableName, Item: { pk: "a", sk: 1, text: "héllo" } }));
  saw.put = (await db.send(new GetCommand({ TableName, Key: { pk: "a", sk: 1 }, ConsistentRead: true }))).Item;
  saw.refused = await db.send(new PutCommand({ TableName, Item: { pk: "a", sk: 1 }, ConditionExpression: "attribute_not_exists(pk)" })).catch((error) => error.name);
  await db.send(new UpdateCommand({ TableName, Key: { pk: "a", sk: 2 }, UpdateExpression: "ADD n :one", ExpressionAttributeValues: { ":one": 1 } }));
  await db.send(new BatchWriteCommand({ RequestItems: { [TableName]: [3, 4, 5].map((sk) => ({ PutRequest: { Item: { pk: "a", sk, text: "x".repeat(2000) } } })) } }));
  saw.query = (await db.send(new QueryCommand({ TableName, KeyConditionExpression: "pk = :a AND sk > :two", ExpressionAttributeValues: { ":a": "a", ":two": 2 } }))).Items.map(({ sk }) => sk);
  saw.scan = (await db.send(new ScanCommand({ TableName, ConsistentRead: true }))).Count;
  await client.send(new DeleteTableCommand({ TableName }));
  saw.deleted = await db.send(new GetCommand({ TableName, Key: { pk: "a", sk: 1 } })).catch((error) => error.name);

  const metric = { Namespace: "Page", MetricName: TableName };
  const now = Date.now();
  await cloudwatch.send(new PutMetricDataCommand({ Namespace: "Page", MetricData: [{ MetricName: TableName, Value: 42, Timestamp: new Date(now) }] }));
  saw.metrics = (await cloudwatch.send(new ListMetricsCommand(metric))).Metrics.length;
  saw.sum = (await cloudwatch.send(new GetMetricStatisticsCommand({
    ...metric, StartTime: new Date(now - 600_000), EndTime: new Date(now + 600_000), Period: 3600, Statistics: ["Sum"],
  }))).Datapoints.reduce((sum, { Sum }) => sum + Sum, 0);
  await cloudwatch.send(new PutMetricAlarmCommand({ ...metric, AlarmName: TableName, Period: 60, EvaluationPeriods: 1, Statistic: "Sum", ComparisonOperator: "GreaterThanThreshold", Threshold: 1 }));
  const alarms = async () => (await cloudwatch.send(new DescribeAlarmsCommand({ AlarmNames: [TableName] }))).MetricAlarms.length;
  saw.alarms = [await alarms()];
  await cloudwatch.send(new DeleteAlarmsCommand({ AlarmNames: [TableName] }));
  saw.alarms.push(await alarms());
  return saw;
};
