// What the browser meets: Stator behind a tap that writes down what is asked, a server of pages, and the browser itself.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import puppeteer from "puppeteer-core";

// startStator runs bin/stator with flags on a free port and returns its port and what stops it.
export async function startStator(...flags) {
  const server = spawn(process.env.STATOR_BINARY, ["serve", "--in-memory", "--listen", "127.0.0.1:0", ...flags], { stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  server.stderr.on("data", (data) => { log += data; });
  const exited = once(server, "exit");
  const port = await new Promise((resolve, reject) => {
    let out = "";
    server.stdout.on("data", (data) => {
      out += data;
      const ready = /ready at http:\/\/127\.0\.0\.1:(\d+) /.exec(out);
      if (ready) resolve(Number(ready[1]));
    });
    server.on("exit", (code) => reject(new Error(`stator ended with ${code}: ${log}`)));
  });
  return { port, log: () => log, stop: () => { server.kill(); return exited; } };
}

async function listen(server) {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server.address().port;
}

function close(server) {
  server.closeAllConnections();
  return new Promise((resolve) => { server.close(resolve); });
}

// tap passes requests on to the port as they are, and answers back. answered(name) waits for the answer to one whose URL has
// attack=name, and returns what both were. /attacker is a page that an attacker had at this name and port before.
export async function tap(port) {
  const answers = [];
  let changed = () => {};
  const server = http.createServer((request, response) => {
    if (request.url === "/attacker") {
      response.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>a page</title>");
      return;
    }
    const on = http.request({ host: "127.0.0.1", port, method: request.method, path: request.url, headers: request.rawHeaders, setHost: false }, (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
      answer.on("end", () => {
        const { host, origin, "sec-fetch-site": site } = request.headers;
        answers.push({ url: request.url, method: request.method, host, origin, site, status: answer.statusCode, allow: answer.headers["access-control-allow-origin"] });
        changed();
      });
    });
    on.on("error", () => response.destroy());
    request.pipe(on);
  });
  const found = (name) => answers.find((answer) => new RegExp(`attack=${name}(&|$)`).test(answer.url));
  return {
    port: await listen(server), answers, stop: () => close(server),
    answered: async (name) => {
      while (!found(name)) await new Promise((resolve) => { changed = resolve; });
      return found(name);
    },
  };
}

// servePages serves pages by path: a function of the request and its URL that returns the type and the body. /redirect?to=URL redirects, with the method and
// the body, for pages of every origin.
export async function servePages(pages) {
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, "http://pages");
    const cors = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": request.headers["access-control-request-headers"] ?? "" };
    if (request.method === "OPTIONS") {
      response.writeHead(204, cors).end();
    } else if (url.pathname === "/redirect") {
      request.resume();
      response.writeHead(307, { ...cors, Location: url.searchParams.get("to") }).end();
    } else if (pages[url.pathname]) {
      const [type, body] = pages[url.pathname];
      response.writeHead(200, { "Content-Type": type }).end(body);
    } else {
      response.writeHead(404).end();
    }
  });
  return { port: await listen(server), stop: () => close(server) };
}

// launch starts Debian's Chromium, which finds nothing but this machine: under its own names, and *.example. Pages of the secure
// origins have what browsers give to HTTPS alone, such as service workers.
export async function launch(...secure) {
  const profile = await mkdtemp(path.join(tmpdir(), "stator-browser-"));
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", headless: true, userDataDir: profile, timeout: 300_000, protocolTimeout: 300_000,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--host-resolver-rules=MAP *.example 127.0.0.1, MAP evil.example. 127.0.0.1, MAP localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
      `--unsafely-treat-insecure-origin-as-secure=${secure.join(",")}`,
    ],
  });
  return { browser, stop: async () => { await browser.close(); await rm(profile, { recursive: true, force: true, maxRetries: 10 }); } };
}
