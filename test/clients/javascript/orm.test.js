// Libraries above the SDK, as programs use them: ElectroDB, Dynamoose and the web page dynamodb-admin, against the server whose endpoint is
// in STATOR_ENDPOINT.
import assert from "node:assert/strict";
import { once } from "node:events";
import { after, test } from "node:test";
import { CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { DynamoDBDocumentClient } from "@aws-sdk/lib-dynamodb";
import { createServer } from "dynamodb-admin";
import dynamoose from "dynamoose";
import { Entity, Service } from "electrodb";

const config = { endpoint: process.env.STATOR_ENDPOINT, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } };
const client = new DynamoDBClient(config);
const suffix = Date.now();
const tables = new Set();

after(async () => {
  await Promise.all([...tables].map((TableName) => client.send(new DeleteTableCommand({ TableName }))));
});

test("ElectroDB", async () => {
  const table = `electro-${suffix}`;
  const strings = ["pk", "sk", "gsi1pk", "gsi1sk"];
  await client.send(new CreateTableCommand({
    TableName: table, BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: strings.map((AttributeName) => ({ AttributeName, AttributeType: "S" })),
    KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
    GlobalSecondaryIndexes: [{
      IndexName: "gsi1", Projection: { ProjectionType: "ALL" },
      KeySchema: [{ AttributeName: "gsi1pk", KeyType: "HASH" }, { AttributeName: "gsi1sk", KeyType: "RANGE" }],
    }],
  }));
  tables.add(table);
  await waitUntilTableExists({ client, maxWaitTime: 30 }, { TableName: table });

  const db = { client: DynamoDBDocumentClient.from(client), table };
  const key = (pk, sk) => ({ pk: { field: "pk", composite: pk }, sk: { field: "sk", composite: sk } });
  const users = new Entity({
    model: { entity: "user", version: "1", service: "shop" },
    attributes: {
      tenant: { type: "string", required: true }, id: { type: "string", required: true }, email: { type: "string", required: true },
      visits: { type: "number", default: 0 }, tags: { type: "set", items: "string" }, log: { type: "list", items: { type: "string" } },
      plan: { type: ["free", "paid"], default: "free" }, home: { type: "map", properties: { city: { type: "string" }, zip: { type: "string" } } },
    },
    indexes: {
      user: key(["tenant"], ["id"]),
      byEmail: { index: "gsi1", pk: { field: "gsi1pk", composite: ["email"] }, sk: { field: "gsi1sk", composite: ["id"] } },
    },
  }, db);
  const orders = new Entity({
    model: { entity: "order", version: "1", service: "shop" },
    attributes: { tenant: { type: "string", required: true }, order: { type: "string", required: true }, total: { type: "number" } },
    indexes: { order: key(["tenant"], ["order"]) },
  }, db);

  const ann = { tenant: "t", id: "1", email: "ann@example.com", tags: ["new"], log: ["created"], home: { city: "Oslo", zip: "0150" } };
  await users.create(ann).go();
  await assert.rejects(users.create(ann).go(), /conditional request failed/i);
  const patched = await users.patch({ tenant: "t", id: "1" }).add({ visits: 2, tags: ["old"] }).append({ log: ["seen"] }).set({ plan: "paid" })
    .data((a, o) => { o.set(a.home.city, "Bergen"); o.remove(a.home.zip); })
    .where((a, o) => `${o.eq(a.plan, "free")} AND ${o.contains(a.tags, "new")}`).go({ response: "all_new" });
  assert.deepEqual(patched.data, { ...ann, visits: 2, tags: ["new", "old"], log: ["created", "seen"], plan: "paid", home: { city: "Bergen" } });
  await assert.rejects(users.patch({ tenant: "t", id: "none" }).set({ plan: "paid" }).go(), /conditional request failed/i);
  await users.update({ tenant: "t", id: "1" }).subtract({ visits: 1 }).delete({ tags: ["new"] }).remove(["log"]).go();
  await users.upsert({ tenant: "t", id: "2", email: "bob@example.com" }).ifNotExists({ visits: 7 }).go();

  assert.deepEqual((await users.get([{ tenant: "t", id: "2" }, { tenant: "t", id: "1" }, { tenant: "t", id: "none" }]).go()).data.map((u) => u.visits).sort(), [1, 7]);
  assert.equal((await users.query.byEmail({ email: "bob@example.com" }).go()).data[0].id, "2");
  assert.deepEqual((await users.query.user({ tenant: "t" }).gte({ id: "2" }).where((a, o) => o.gt(a.visits, 5)).go()).data.map((u) => u.id), ["2"]);
  await orders.put([...Array(30).keys()].map((i) => ({ tenant: "t", order: String(i).padStart(2, "0"), total: i }))).go();
  const page = await orders.query.order({ tenant: "t" }).between({ order: "05" }, { order: "20" }).go({ limit: 10 });
  assert.deepEqual([page.data.length, page.data[9].order], [10, "14"]);
  assert.equal((await orders.query.order({ tenant: "t" }).between({ order: "05" }, { order: "20" }).go({ cursor: page.cursor })).data.length, 6);
  assert.equal((await orders.scan.where((a, o) => o.lt(a.total, 3)).go({ pages: "all" })).data.length, 3);

  const shop = new Service({ users, orders });
  const write = () => shop.transaction.write(({ users, orders }) => [
    users.patch({ tenant: "t", id: "1" }).add({ visits: 1 }).commit(),
    orders.create({ tenant: "t", order: "new", total: 5 }).commit({ response: "all_old" }),
    users.check({ tenant: "t", id: "2" }).where((a, o) => o.eq(a.visits, 7)).commit(),
  ]).go();
  assert.equal((await write()).canceled, false);
  const again = await write();
  assert.deepEqual([again.canceled, again.data.map((d) => d.code)], [true, ["None", "ConditionalCheckFailed", "None"]]);
  assert.deepEqual(again.data[1].item, { tenant: "t", order: "new", total: 5 });
  const read = await shop.transaction.get(({ users, orders }) => [users.get({ tenant: "t", id: "1" }).commit(), orders.get({ tenant: "t", order: "none" }).commit()]).go();
  assert.deepEqual([read.data[0].item.visits, read.data[1].item], [2, null]);
  await users.remove({ tenant: "t", id: "1" }).where((a, o) => o.eq(a.visits, 2)).go();
  assert.equal((await users.get({ tenant: "t", id: "1" }).go()).data, null);
});

test("Dynamoose", async () => {
  dynamoose.aws.ddb.set(new dynamoose.aws.ddb.DynamoDB(config));
  const name = `dynamoose-${suffix}`;
  const Cat = dynamoose.model("Cat", new dynamoose.Schema({
    owner: { type: String, hashKey: true }, name: { type: String, rangeKey: true },
    colour: { type: String, index: { name: "by-colour", type: "global", rangeKey: "age" } },
    age: { type: Number }, born: Date, likes: { type: Set, schema: [String] }, toys: { type: Array, schema: [String] },
    chip: { type: Object, schema: { maker: String, codes: { type: Array, schema: [Number] } } }, picture: Buffer,
  }, { saveUnknown: false, timestamps: true }));
  const table = new dynamoose.Table(name, [Cat], { throughput: "ON_DEMAND", waitForActive: { enabled: true, check: { frequency: 50, timeout: 30_000 } }, initialize: false });
  await table.initialize();
  tables.add(name);

  const born = new Date("2020-02-29T12:00:00Z");
  const tom = await Cat.create({ owner: "o", name: "Tom", colour: "grey", age: 5, born, likes: new Set(["fish", "mice"]), toys: ["ball"], chip: { maker: "x", codes: [1, 2] }, picture: Buffer.from([0, 255]) });
  await assert.rejects(Cat.create({ owner: "o", name: "Tom" }), { name: "ConditionalCheckFailedException" });
  const got = await Cat.get({ owner: "o", name: "Tom" });
  assert.deepEqual([got.born, got.likes, got.chip, Buffer.from(got.picture)], [born, tom.likes, { maker: "x", codes: [1, 2] }, Buffer.from([0, 255])]);
  const updated = await Cat.update({ owner: "o", name: "Tom" }, { $ADD: { age: 1, toys: ["mouse"] }, $SET: { colour: "black" }, $REMOVE: ["picture"] },
    { condition: new dynamoose.Condition().where("colour").eq("grey").and().attribute("likes").contains("fish") });
  assert.deepEqual([updated.age, updated.toys, updated.colour, updated.picture], [6, ["ball", "mouse"], "black", undefined]);
  await assert.rejects(Cat.update({ owner: "o", name: "Tom" }, { age: 9 }, { condition: new dynamoose.Condition("colour").eq("grey") }), { name: "ConditionalCheckFailedException" });

  await Cat.batchPut([...Array(20).keys()].map((i) => ({ owner: "b", name: `cat ${String(i).padStart(2, "0")}`, colour: i % 2 ? "white" : "red", age: i })));
  assert.equal((await Cat.batchGet([{ owner: "b", name: "cat 00" }, { owner: "b", name: "cat 19" }, { owner: "b", name: "none" }])).length, 2);
  assert.equal((await Cat.query("owner").eq("b").where("name").beginsWith("cat 1").filter("colour").eq("red").exec()).length, 5);
  const page = await Cat.query("colour").eq("white").where("age").ge(5).using("by-colour").sort("descending").limit(3).exec();
  assert.deepEqual([page.map((c) => c.age), page.lastKey !== undefined], [[19, 17, 15], true]);
  assert.equal((await Cat.query("colour").eq("white").where("age").ge(5).using("by-colour").sort("descending").startAt(page.lastKey).exec()).length, 5);
  assert.equal((await Cat.scan("age").between(3, 5).and().attribute("owner").in(["b", "c"]).exec()).length, 3);
  assert.deepEqual((await Cat.query("owner").eq("b").count().exec()).count, 20);

  await dynamoose.transaction([
    Cat.transaction.create({ owner: "t", name: "New" }),
    Cat.transaction.update({ owner: "o", name: "Tom" }, { $SET: { age: 7 } }),
    Cat.transaction.condition({ owner: "b", name: "cat 00" }, new dynamoose.Condition("colour").eq("red")),
    Cat.transaction.delete({ owner: "b", name: "cat 01" }),
  ]);
  assert.deepEqual([(await Cat.get({ owner: "o", name: "Tom" })).age, await Cat.get({ owner: "b", name: "cat 01" })], [7, undefined]);
  await assert.rejects(dynamoose.transaction([Cat.transaction.create({ owner: "t", name: "New" }), Cat.transaction.delete({ owner: "o", name: "Tom" })]), { name: "TransactionCanceledException" });
  await Cat.batchDelete([{ owner: "b", name: "cat 02" }, { owner: "b", name: "cat 03" }]);
  await (await Cat.get({ owner: "o", name: "Tom" })).delete();
  assert.equal((await Cat.scan().all().exec()).length, 18);
});

test("dynamodb-admin", async () => {
  const server = createServer({ dynamoDbClient: client }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const base = `http://127.0.0.1:${server.address().port}`;
  const page = async (method, path, body, status = 200) => {
    const answer = await fetch(base + path, { method, body: body && JSON.stringify(body), headers: body && { "Content-Type": "application/json" } });
    const text = await answer.text();
    assert.equal(answer.status, status, `${method} ${path}: ${text}`);
    return answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
  };
  try {
    const name = `admin-${suffix}`;
    const table = `/tables/${name}`;
    await page("GET", "/create-table");
    await page("POST", "/create-table", {
      TableDefinition: { TableName: name, HashAttributeName: "id", HashAttributeType: "S", RangeAttributeName: "n", RangeAttributeType: "N", ReadCapacityUnits: 5, WriteCapacityUnits: 5 },
      SecondaryIndexes: [
        { IndexName: "by-kind", IndexType: "global", HashAttributeName: "kind", HashAttributeType: "S", RangeAttributeName: "n", RangeAttributeType: "N", ReadCapacityUnits: 5, WriteCapacityUnits: 5 },
        { IndexName: "by-rank", IndexType: "local", HashAttributeName: "id", HashAttributeType: "S", RangeAttributeName: "rank", RangeAttributeType: "N" },
      ],
    }, 204);
    tables.add(name);
    await waitUntilTableExists({ client, maxWaitTime: 30 }, { TableName: name });
    assert.match(await page("GET", "/"), new RegExp(name));
    assert.ok((await page("GET", "/api/tables")).some((t) => t.TableName === name));
    for (let n = 0; n < 30; n++) {
      assert.deepEqual(await page("PUT", `${table}/add-item`, { id: "a", n, kind: n % 2 ? "odd" : "even", rank: -n, deep: { list: [1, "x", null, true] } }), { id: "a", n });
    }
    const first = await page("GET", `${table}/items`);
    assert.deepEqual([first.Items.length, first.Items[24].n], [25, 24]);
    const next = await page("GET", `${table}/items?startKey=${first.nextKey}&pageNum=2`);
    assert.deepEqual([next.Items.length, next.nextKey], [5, null]);
    const filters = (f) => encodeURIComponent(JSON.stringify(f));
    const query = `operationType=query&queryableSelection=by-kind&filters=${filters({ kind: { type: "S", value: "odd", operator: "=" }, n: { type: "N", value: "10", operator: ">" }, rank: { type: "N", value: "-20", operator: ">=" } })}`;
    assert.deepEqual((await page("GET", `${table}/items?${query}`)).Items.map((i) => i.n), [11, 13, 15, 17, 19]);
    const scan = `operationType=scan&filters=${filters({ kind: { type: "S", value: "ev", operator: "begins_with" }, n: { type: "N", value: "4", operator: "<" } })}`;
    assert.equal((await page("GET", `${table}/items?${scan}`)).Items.length, 2);
    for (const path of ["", "/get", "/meta", "/ttl", "/add-item", "/items/a,3"]) {
      await page("GET", table + path);
    }
    assert.equal((await page("PUT", `${table}/items/a,3`, { id: "a", n: 3, kind: "changed" })).kind, "changed");
    await page("DELETE", `${table}/items/a,3`, undefined, 204);
    await page("GET", `${table}/items/a,3`, undefined, 404);
    await page("DELETE", `${table}/all`);
    assert.equal((await page("GET", `${table}/items`)).Items.length, 0);
    await page("DELETE", table, undefined, 204);
    tables.delete(name);
  } finally {
    server.close();
  }
});
