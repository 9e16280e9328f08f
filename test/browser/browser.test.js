// Which web pages can use a server, shown in Chromium with real pages: strangers' (attacks.js), and a developer's with AWS's SDK
// (page.js). STATOR_BINARY is the server.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { CloudWatchClient, DescribeAlarmsCommand, PutMetricAlarmCommand } from "@aws-sdk/client-cloudwatch";
import { CreateTableCommand, DynamoDBClient, ListTablesCommand } from "@aws-sdk/client-dynamodb";
import { build } from "esbuild";
import { attacks, query, worker } from "./attacks.js";
import { launch, servePages, startStator, tap } from "./servers.js";

const anyKey = { accessKeyId: "AKID", secretAccessKey: "any" };
const limits = { timeout: 300_000 }; // for what never comes; nothing else waits for time to pass
let pages, chromium;

before(async () => {
  const bundle = await build({ entryPoints: [new URL("page.js", import.meta.url).pathname], bundle: true, platform: "browser", format: "iife", write: false });
  pages = await servePages({
    "/": ["text/html", "<!doctype html><title>a page</title><body>"],
    "/worker.js": ["text/javascript", worker],
    "/sdk": ["text/html", "<!doctype html><title>a page with the SDK</title><script src=/sdk.js></script>"],
    "/sdk.js": ["text/javascript", bundle.outputFiles[0].contents],
  });
  chromium = await launch(`http://evil.example:${pages.port}`);
});

after(async () => {
  await chromium?.stop();
  await pages?.stop();
});

// withStator runs a test against a server with the flags.
async function withStator(flags, run) {
  const stator = await startStator(...flags);
  try {
    await run(stator);
    assert.doesNotMatch(stator.log(), /level=ERROR|panic/);
  } finally {
    await stator.stop();
  }
}

// withPage opens a page and runs a test with it.
async function withPage(url, run) {
  const page = await chromium.browser.newPage();
  try {
    await page.goto(url);
    return await run(page);
  } finally {
    await page.close();
  }
}

// attackAll makes a table and an alarm for each attack, tries all attacks, and returns what each could read, what was asked for it, and
// which tables and alarms have gone.
async function attackAll(stator) {
  const config = { endpoint: `http://127.0.0.1:${stator.port}`, region: "us-east-1", credentials: anyKey };
  const db = new DynamoDBClient(config);
  const cloudwatch = new CloudWatchClient(config);
  const names = attacks.map(({ name }) => name);
  for (const name of names) {
    await db.send(new CreateTableCommand({
      TableName: name, BillingMode: "PAY_PER_REQUEST", AttributeDefinitions: [{ AttributeName: "pk", AttributeType: "S" }], KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }],
    }));
    await cloudwatch.send(new PutMetricAlarmCommand({
      AlarmName: name, Namespace: "N", MetricName: "M", Period: 60, EvaluationPeriods: 1, Statistic: "Sum", ComparisonOperator: "GreaterThanThreshold", Threshold: 1,
    }));
  }
  const wire = await tap(stator.port);
  const read = {}, asked = {};
  try {
    await withPage("about:blank", async (page) => {
      for (const { name, run } of attacks) {
        await page.goto(`http://evil.example:${pages.port}/`);
        read[name] = await run(page, `http://127.0.0.1:${wire.port}/?attack=${name}`, name, pages);
        asked[name] = await wire.answered(name); // it was sent, and the server has answered
      }
    });
  } finally {
    await wire.stop();
  }
  const tables = (await db.send(new ListTablesCommand())).TableNames;
  const alarms = (await cloudwatch.send(new DescribeAlarmsCommand())).MetricAlarms.map(({ AlarmName }) => AlarmName);
  return { read, asked, goneTables: names.filter((name) => !tables.includes(name)), goneAlarms: names.filter((name) => !alarms.includes(name)) };
}

test("pages of strangers can do nothing and read nothing", limits, () => withStator([], async (stator) => {
  const { read, asked, goneTables, goneAlarms } = await attackAll(stator);
  assert.deepEqual({ goneTables, goneAlarms }, { goneTables: [], goneAlarms: [] });
  for (const { name } of attacks) {
    const { status, allow } = asked[name];
    assert.deepEqual({ name, status, allow }, { name, status: 403, allow: undefined }, JSON.stringify(asked[name]));
    // A page that DNS rebinding has made one of the server's own sees why it is refused, and nothing else.
    if (name.startsWith("rebinding")) {
      assert.match(read[name], /^403 .*AccessDeniedException.*--allow-host/, name);
    } else {
      assert.ok(!read[name], `${name} has read ${read[name]}`);
    }
  }
}));

// The attacks are true ones: a server that lets the pages in loses what they go for. Forms don't get through even there.
test("a server that lets every page in falls", limits, () => withStator(["--cors-origin=*", "--cors-origin=null", "--allow-host=evil.example", "--allow-host=.evil.example"], async (stator) => {
  const { read, goneTables, goneAlarms } = await attackAll(stator);
  const successful = attacks.filter(({ succeeds }) => succeeds).map(({ name }) => name);
  assert.deepEqual({ goneTables, goneAlarms }, { goneTables: successful, goneAlarms: [] });
  for (const name of successful) assert.match(read[name], /^200 .*TableDescription/, name);
  assert.match(stator.log(), /INSECURE/);
  // What forms lack is the header.
  const answer = await fetch(`http://127.0.0.1:${stator.port}/`, {
    method: "POST", body: query("form"),
    headers: {
      "Content-Type": "application/x-www-form-urlencoded", "X-Amz-Date": "20260101T000000Z",
      Authorization: "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/monitoring/aws4_request, SignedHeaders=host, Signature=00",
    },
  });
  assert.equal(answer.status, 200, await answer.text());
}));

const whatWorks = {
  put: { pk: "a", sk: 1, text: "héllo" }, refused: "ConditionalCheckFailedException", query: [3, 4, 5], scan: 5, deleted: "ResourceNotFoundException", metrics: 1, sum: 42, alarms: [1, 0],
};

test("a developer's page on localhost works with AWS's SDK", limits, () => withStator([], async (stator) => {
  await withPage(`http://localhost:${pages.port}/sdk`, async (page) => {
    for (const host of ["localhost", "127.0.0.1"]) {
      assert.deepEqual(await page.evaluate((...args) => work(...args), `http://${host}:${stator.port}`, anyKey, `page-${host}`), whatWorks);
    }
  });
  await withPage(`http://127.0.0.1:${pages.port}/sdk`, async (page) => {
    assert.deepEqual(await page.evaluate((...args) => work(...args), `http://localhost:${stator.port}`, anyKey, "page"), whatWorks);
  });
  await withPage(`http://app.example:${pages.port}/sdk`, async (page) => {
    assert.equal(await page.evaluate((...args) => list(...args), `http://localhost:${stator.port}`, anyKey), "TypeError");
  });
}));

test("a page of --cors-origin works too", limits, () => withStator([`--cors-origin=http://app.example:${pages.port}`], async (stator) => {
  await withPage(`http://app.example:${pages.port}/sdk`, async (page) => {
    assert.deepEqual(await page.evaluate((...args) => work(...args), `http://127.0.0.1:${stator.port}`, anyKey, "page"), whatWorks);
  });
  await withPage(`http://evil.example:${pages.port}/sdk`, async (page) => {
    assert.equal(await page.evaluate((...args) => list(...args), `http://127.0.0.1:${stator.port}`, anyKey), "TypeError");
  });
}));

test("the address bar leads to pages", limits, () => withStator([], (stator) => withPage("about:blank", async (page) => {
  for (const path of ["/", "/healthz", "/readyz", "/metrics"]) {
    assert.equal((await page.goto(`http://localhost:${stator.port}${path}`)).status(), 200, path);
  }
})));

test("with credentials a page of any origin needs a key, as with AWS", limits, async () => {
  const known = { accessKeyId: "AKIDKNOWN", secretAccessKey: "known-secret" };
  const dir = await mkdtemp(path.join(tmpdir(), "stator-browser-"));
  after(() => rm(dir, { recursive: true }));
  const file = path.join(dir, "credentials.json");
  await writeFile(file, JSON.stringify([{ ...known, account: "123456789012" }]), { mode: 0o600 });
  await withStator([`--credentials=${file}`], (stator) => withPage(`http://evil.example:${pages.port}/sdk`, async (page) => {
    const tables = (credentials) => page.evaluate((...args) => list(...args), `http://127.0.0.1:${stator.port}`, credentials);
    assert.deepEqual(await page.evaluate((...args) => work(...args), `http://127.0.0.1:${stator.port}`, known, "page"), whatWorks);
    assert.deepEqual(await tables(known), []);
    assert.equal(await tables({ ...known, secretAccessKey: "wrong" }), "InvalidSignatureException");
    assert.equal(await tables(anyKey), "UnrecognizedClientException");
  }));
});
