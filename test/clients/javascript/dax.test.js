// The DAX client for JavaScript v3 against the endpoint in STATOR_DAX_ENDPOINT: the same requests as through the SDK, and the same
// answers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createRequire } from "node:module";
import { CreateTableCommand, DynamoDB, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocument } from "@aws-sdk/lib-dynamodb";

const require = createRequire(import.meta.url);
const { Dax } = require("@amazon-dax-sdk/client-dax");
const { DaxDocument } = require("@amazon-dax-sdk/lib-dax");

const common = { region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const sdk = new DynamoDB({ ...common, endpoint: process.env.STATOR_ENDPOINT });
const dax = new Dax({ ...common, endpoints: [process.env.STATOR_DAX_ENDPOINT] });
const base = `jsdax-${Date.now()}`;
const tables = new Map([[sdk, `${base}-sdk`], [dax, `${base}-dax`]]);

before(async () => {
  for (const TableName of tables.values()) {
    await sdk.createTable({
      TableName, BillingMode: "PAY_PER_REQUEST",
      AttributeDefinitions: ["pk:S", "sk:N", "g:S", "l:B"].map((d) => ({ AttributeName: d.split(":")[0], AttributeType: d.split(":")[1] })),
      KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
      GlobalSecondaryIndexes: [{ IndexName: "by-g", KeySchema: [{ AttributeName: "g", KeyType: "HASH" }], Projection: { ProjectionType: "ALL" } }],
      LocalSecondaryIndexes: [{
        IndexName: "by-l", KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "l", KeyType: "RANGE" }], Projection: { ProjectionType: "KEYS_ONLY" },
      }],
    });
    await waitUntilTableExists({ client: sdk, maxWaitTime: 30 }, { TableName });
  }
});

after(() => dax.destroy?.());

// canonical makes the answers of both clients alike: numbers are numbers, sets are sorted, what is empty is nothing, and the tables
// have one name.
function canonical(v) {
  if (v instanceof Uint8Array) return Buffer.from(v).toString("base64");
  if (v instanceof Set) return canonical([...v]);
  if (Array.isArray(v)) {
    const out = v.map(canonical);
    return out.every((x) => typeof x === "string" || typeof x === "number") ? out.sort() : out;
  }
  if (v && typeof v === "object") {
    const out = {};
    for (const [k, x] of Object.entries(v)) {
      if (k === "$metadata" || x === undefined) continue;
      const c = k === "N" ? Number(x) : k === "NS" ? x.map(Number).sort() : canonical(x);
      if (c === undefined || c !== null && typeof c === "object" && Object.keys(c).length === 0) continue;
      out[k.replace(/-(sdk|dax)$/, "")] = c;
    }
    return out;
  }
  return typeof v === "string" ? v.replace(`${base}-sdk`, base).replace(`${base}-dax`, base) : v;
}

// both runs a request through the SDK and through DAX, each with a table of its own, and compares.
async function both(method, request) {
  const answers = [];
  for (const db of [sdk, dax]) {
    try {
      answers.push(canonical(await db[method](request(tables.get(db)))));
    } catch (err) {
      // Errors of the DAX client are called Error; what they are is in code, and in front of the message.
      const name = err.code ?? err.name;
      answers.push({ name, message: canonical(err.message.replace(`${name}: `, "")) });
    }
  }
  assert.deepEqual(answers[1], answers[0]);
  return answers[1];
}

// read is both, and reads once more from the cache.
async function read(method, request) {
  const first = await both(method, request);
  const again = canonical(await dax[method](request(tables.get(dax))));
  delete first.ConsumedCapacity;
  delete again.ConsumedCapacity;
  assert.deepEqual(again, first);
  return first;
}

const key = (pk, sk) => ({ pk: { S: pk }, sk: { N: String(sk) } });
const everything = {
  s: { S: "text ä €" }, n: { N: "42" }, dcm: { N: "3.25" }, b: { B: Buffer.from([0, 255]) }, t: { BOOL: true }, f: { BOOL: false }, nul: { NULL: true },
  ss: { SS: ["a", "b"] }, ns: { NS: ["1", "2.5"] }, bs: { BS: [Buffer.from([1]), Buffer.from([2])] },
  l1: { L: [{ N: "1" }, { S: "x" }, { M: { q: { N: "2" } } }] }, m: { M: { k: { S: "v" }, deep: { M: { er: { N: "3" } } } } }, count: { N: "1" },
};

test("dax: items", async () => {
  await both("putItem", (TableName) => ({ TableName, Item: { ...key("a", 1), ...everything } }));
  await both("putItem", (TableName) => ({ TableName, Item: key("a", 2), ReturnConsumedCapacity: "TOTAL" }));
  await both("putItem", (TableName) => ({ TableName, Item: { ...key("a", 2), x: { N: "1" } }, ReturnValues: "ALL_OLD", ReturnItemCollectionMetrics: "SIZE" }));
  assert.ok((await read("getItem", (TableName) => ({ TableName, Key: key("a", 1) }))).Item);
  assert.equal((await read("getItem", (TableName) => ({ TableName, Key: key("nothing", 1) }))).Item, undefined);
  await read("getItem", (TableName) => ({ TableName, Key: key("a", 1), ConsistentRead: true, ReturnConsumedCapacity: "INDEXES" }));
  await read("getItem", (TableName) => ({ TableName, Key: key("a", 1), ProjectionExpression: "s, m.deep.er, l1[2].q, #c", ExpressionAttributeNames: { "#c": "count" } }));
  for (const ReturnValues of ["NONE", "ALL_OLD", "UPDATED_OLD", "ALL_NEW", "UPDATED_NEW"]) {
    await both("updateItem", (TableName) => ({
      TableName, Key: key("a", 1), ReturnValues, ExpressionAttributeNames: { "#c": "count" },
      UpdateExpression: "SET l1[0] = if_not_exists(nope, :w), #c = #c + :w, m.k = :s REMOVE dcm ADD n :w, ss :ss DELETE ns :ns",
      ExpressionAttributeValues: { ":w": { N: "3" }, ":s": { S: ReturnValues }, ":ss": { SS: ["c"] }, ":ns": { NS: ["1"] } },
    }));
    await read("getItem", (TableName) => ({ TableName, Key: key("a", 1) }));
  }
  await both("deleteItem", (TableName) => ({ TableName, Key: key("a", 2), ReturnValues: "ALL_OLD", ReturnConsumedCapacity: "INDEXES" }));
  await both("getItem", (TableName) => ({ TableName, Key: key("a", 2) }));
});

test("dax: errors", async () => {
  await both("putItem", (TableName) => ({ TableName, Item: key("e", 1) }));
  assert.equal((await both("putItem", (TableName) => ({ TableName, Item: key("e", 1), ConditionExpression: "attribute_not_exists(pk)" }))).name, "ConditionalCheckFailedException");
  assert.equal((await both("getItem", () => ({ TableName: "there-is-no-such-table", Key: key("e", 1) }))).name, "ResourceNotFoundException");
  await both("updateItem", (TableName) => ({ TableName, Key: key("e", 1), UpdateExpression: "SET sk = :x", ExpressionAttributeValues: { ":x": { N: "1" } } }));
  await both("query", (TableName) => ({ TableName, KeyConditionExpression: "sk = :x", ExpressionAttributeValues: { ":x": { N: "1" } } }));
  await both("query", (TableName) => ({ TableName, IndexName: "nope", KeyConditionExpression: "pk = :x", ExpressionAttributeValues: { ":x": { S: "1" } } }));
  await both("scan", (TableName) => ({ TableName, Segment: 5, TotalSegments: 2 }));
  await both("putItem", (TableName) => ({ TableName, Item: { ...key("e", 1), g: { S: "" } } }));
});

test("dax: queries and scans", async () => {
  for (const n of ["0", "1", "-1", "12", "100", "-0.5", "3.14", "123456789"]) {
    await both("putItem", (TableName) => ({ TableName, Item: { ...key("q", n), g: { S: "g1" }, l: { B: Buffer.from(`l${n}`) } } }));
  }
  const values = { ":p": { S: "q" } };
  for (const more of [
    {}, { ScanIndexForward: false }, { Select: "COUNT" }, { FilterExpression: "l > :l", ExpressionAttributeValues: { ...values, ":l": { B: Buffer.from("l1") } } },
    { ProjectionExpression: "sk, #g", ExpressionAttributeNames: { "#g": "g" } }, { IndexName: "by-l" }, { ConsistentRead: true, ReturnConsumedCapacity: "TOTAL" },
    { KeyConditionExpression: "pk = :p AND sk BETWEEN :a AND :b", ExpressionAttributeValues: { ...values, ":a": { N: "-1" }, ":b": { N: "12" } } },
  ]) {
    const got = await read("query", (TableName) => ({ TableName, KeyConditionExpression: "pk = :p", ExpressionAttributeValues: values, ...more }));
    assert.ok(got.Count > 0);
  }
  await read("query", (TableName) => ({ TableName, IndexName: "by-g", KeyConditionExpression: "g = :g", ExpressionAttributeValues: { ":g": { S: "g1" } } }));
  for (const index of [{}, { IndexName: "by-g" }]) {
    const items = [];
    for (const db of [sdk, dax]) {
      let start = {};
      items.unshift([]);
      do {
        const page = await db.scan({ TableName: tables.get(db), ...index, ...start, Limit: 3, FilterExpression: "pk = :p", ExpressionAttributeValues: values });
        items[0].push(...page.Items);
        start = page.LastEvaluatedKey && { ExclusiveStartKey: page.LastEvaluatedKey };
      } while (start);
    }
    assert.equal(items[0].length, 8);
    assert.deepEqual(canonical(items[0]), canonical(items[1]));
  }
  await read("scan", (TableName) => ({ TableName, Segment: 0, TotalSegments: 2 }));
});

test("dax: batches", async () => {
  await both("batchWriteItem", (TableName) => ({
    RequestItems: {
      [TableName]: [{ PutRequest: { Item: { ...key("b", 1), ...everything } } }, { PutRequest: { Item: key("b", 2) } }, { DeleteRequest: { Key: key("b", 3) } }],
    },
    ReturnConsumedCapacity: "TOTAL", ReturnItemCollectionMetrics: "SIZE",
  }));
  for (const more of [{}, { ConsistentRead: true }, { ProjectionExpression: "m.k, pk" }]) {
    await read("batchGetItem", (TableName) => ({ RequestItems: { [TableName]: { Keys: [key("b", 1), key("b", 2), key("nothing", 1)], ...more } } }));
  }
});

test("dax: transactions", async () => {
  await both("transactWriteItems", (TableName) => ({
    TransactItems: [
      { Put: { TableName, Item: { ...key("t", 1), ...everything } } },
      { Update: { TableName, Key: key("t", 2), UpdateExpression: "SET x = :x", ExpressionAttributeValues: { ":x": { N: "5" } } } },
      { Delete: { TableName, Key: key("t", 3) } },
      { ConditionCheck: { TableName, Key: key("t", 4), ConditionExpression: "attribute_not_exists(pk)" } },
    ],
  }));
  const got = await both("transactGetItems", (TableName) => ({
    TransactItems: [
      { Get: { TableName, Key: key("t", 1) } }, { Get: { TableName, Key: key("t", 2), ProjectionExpression: "x" } }, { Get: { TableName, Key: key("t", 3) } },
    ],
  }));
  assert.deepEqual(got.Responses[1].Item, { x: { N: 5 } });
  const cancelled = async (db) => {
    const TableName = tables.get(db);
    try {
      await db.transactWriteItems({
        TransactItems: [
          { Put: { TableName, Item: key("t", 9) } },
          {
            Update: {
              TableName, Key: key("t", 2), UpdateExpression: "SET x = :x", ConditionExpression: "x = :x", ExpressionAttributeValues: { ":x": { N: "7" } },
              ReturnValuesOnConditionCheckFailure: "ALL_OLD",
            },
          },
        ],
      });
    } catch (err) {
      return { name: err.code ?? err.name, codes: (err.CancellationReasons ?? err.cancellationReasons).map((r) => r.Code) };
    }
    assert.fail("it was not cancelled");
  };
  assert.deepEqual(await cancelled(dax), await cancelled(sdk));
});

test("dax: documents", async () => {
  const TableName = tables.get(dax);
  const documents = new DaxDocument({ ...common, endpoints: [process.env.STATOR_DAX_ENDPOINT] });
  const around = DynamoDBDocument.from(new DynamoDBClient({ ...common, endpoint: process.env.STATOR_ENDPOINT }));
  await documents.put({ TableName, Item: { pk: "doc", sk: 1, list: [1, "two", { three: 3 }], score: 1.5 } });
  assert.deepEqual((await documents.get({ TableName, Key: { pk: "doc", sk: 1 } })).Item, { pk: "doc", sk: 1, list: [1, "two", { three: 3 }], score: 1.5 });
  await around.put({ TableName, Item: { pk: "doc", sk: 1, score: 2 } });
  assert.equal((await documents.get({ TableName, Key: { pk: "doc", sk: 1 } })).Item.score, 1.5); // the cache knows nothing of it
  assert.equal((await documents.get({ TableName, Key: { pk: "doc", sk: 1 }, ConsistentRead: true })).Item.score, 2);
  documents.destroy?.();
});
