// Queries of a packed index in headless Chromium, over a simulated line: times, bytes, requests, recall on the way.
//
//     node scripts/bench_index/browser.mjs INDEX DATA OUT.json [--visits 3] [--qualities fast,balanced,exact] [--devices cpu,webgpu]
//
// A visit opens the index in a browser with empty caches, asks one query (cold), then two others (further). Its clock starts before the library is
// loaded, so the first times hold the module and the head of the index. Bytes are those of the bodies that the server sent,
// items of the hits included; the library's own files are counted apart. Each visit is made at 50 Mbit/s and 40 ms,
// over HTTP/2 as most hosts have it, over HTTP/1.1, there also on a host that ignores ranges, and at full speed, for the time that computing takes.
// `exact`, which reads everything, gets one visit, on the CPU, at 50 Mbit/s. What share of each provisional list is in the true top, and what it took
// to get there, gives the curve. No driver is attached to the browser: one that watches requests makes each cost twice as much.

import { execFileSync, spawn } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { CHROMIUM, FLAGS } from "../../tests/browser/browser.mjs";
import { RANGE_FAULTS, startServer } from "../../tests/browser/server.mjs";
import { ROOT } from "../../tests/browser/toy.mjs";

const LINE = { latencyMs: 40, bitsPerSecond: 50e6 };
const TOP = 100;
/** Answers and cache entries that are still on their way when a query ends. */
const SETTLE_MS = 1000;
const VISIT_MS = 900_000;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    visits: { type: "string", default: "3" },
    qualities: { type: "string", default: "fast,balanced,exact" },
    devices: { type: "string", default: "cpu,webgpu" },
  },
});
const [index, data, out] = positionals;
const visits = Number(values.visits);

/** Rows of a float32 matrix. */
function readNpy(path) {
  const file = readFileSync(path);
  const start = 10 + file.readUInt16LE(8);
  const [, rows, columns] = /\((\d+), (\d+)\)/.exec(file.toString("latin1", 10, start)).map(Number);
  return Array.from({ length: rows }, (_, i) =>
    Array.from({ length: columns }, (_, j) => file.readFloatLE(start + 4 * (i * columns + j))));
}

/** The library with the index beside it. */
function makeSite(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const entry of readdirSync(join(ROOT, "www"))) {
    if (entry !== "demo") cpSync(join(ROOT, "www", entry), join(folder, entry), { recursive: true });
  }
  writeFileSync(join(folder, "visit.html"), `<!doctype html><title>benchmark</title><script type="module">(${visiting})();</script>`);
  symlinkSync(resolve(index), join(folder, "index"));
}

/** A key for HTTP/2, which browsers have over TLS alone. */
function certificate(folder) {
  const [key, cert] = ["key.pem", "certificate.pem"].map((name) => join(folder, name));
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

makeSite(join(data, "site"));
const queries = readNpy(join(data, "queries.npy"));
const truth = JSON.parse(readFileSync(join(data, "exact.json"), "utf8"));
const servers = { 1: await startServer(join(data, "site")), 2: await startServer(join(data, "site"), certificate(data)) };
const sum = (list) => list.reduce((a, b) => a + b, 0);
const mean = (list) => (list.length ? sum(list) / list.length : null);
const median = (list) => (list.length ? [...list].sort((a, b) => a - b)[list.length >> 1] : null);

// ---- a visit ------------------------------------------------------------------------------------

/** Runs in the page: asks what job.json says, and posts when what happened. Times are those of the wall. */
async function visiting() {
  const job = await (await fetch("/job.json")).json();
  const now = () => performance.timeOrigin + performance.now();
  const asked = [];
  let attributor;
  try {
    for (const { query, names } of job.queries) {
      const wanted = new Set(names), way = [];
      const right = (hits) => hits.filter((hit) => wanted.has(hit.name)).length;
      const start = now();
      const { Attributor } = await import("/data-attribution.js");
      attributor ??= await Attributor.open("/index/manifest.json", { device: job.device });
      const onProgress = (event) => event.type === "hits" && way.push({ at: now(), right: right(event.hits) / Math.max(1, event.hits.length) });
      const { hits, completeness, timings, device } = await attributor.attribute(Float32Array.from(query), { topK: job.top, quality: job.quality, onProgress });
      const end = now();
      await new Promise((done) => setTimeout(done, job.settleMs));
      asked.push({ start, end, settled: now(), way, recall: right(hits) / names.length, completeness, timings, used: device });
    }
    await fetch(job.answerTo, { method: "POST", body: JSON.stringify({ asked }) });
  } catch (error) {
    await fetch(job.answerTo, { method: "POST", body: JSON.stringify({ error: `${error.code ?? error.name}: ${error.message}` }) });
  }
}

/** What the page at `url` posts, in a browser of its own. */
async function inBrowser(url, job) {
  const profile = mkdtempSync(join(tmpdir(), "data-attribution-visit-"));
  const collector = createServer();
  await new Promise((done) => collector.listen(0, "127.0.0.1", done));
  const posted = new Promise((done) => collector.on("request", (request, response) => {
    const parts = [];
    request.on("data", (part) => parts.push(part)).on("end", () => {
      response.writeHead(204, { "Access-Control-Allow-Origin": "*" }).end();
      done(JSON.parse(Buffer.concat(parts)));
    });
  }));
  writeFileSync(join(data, "site/job.json"), JSON.stringify({ ...job, answerTo: `http://localhost:${collector.address().port}/` }));
  const flags = [...FLAGS, "--headless", "--ignore-certificate-errors", `--user-data-dir=${profile}`];
  const browser = spawn(CHROMIUM, [...flags, url], { stdio: "ignore", detached: true });
  const ended = new Promise((done) => browser.once("exit", () => done({ error: "the browser ended" })));
  let timer;
  const late = new Promise((done) => { timer = setTimeout(() => done({ error: `nothing after ${VISIT_MS / 1e3} s` }), VISIT_MS); });
  const result = await Promise.race([posted, ended, late]);
  clearTimeout(timer);
  // With all its processes.
  try { process.kill(-browser.pid, "SIGKILL"); } catch { /* ended */ }
  await ended;
  collector.close();
  rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 200 });
  if (result.error) throw new Error(result.error);
  return result.asked;
}

async function visit(number, { device, quality, line, ranges, http }) {
  const server = servers[http];
  server.reset();
  if (line) Object.assign(server.line, LINE);
  if (!ranges) server.faults.set("/index/fine/", RANGE_FAULTS.ignore);
  const numbers = [0, 1, 2].slice(0, quality === "exact" ? 1 : 3).map((i) => (number * 3 + i) % queries.length);
  const asked = numbers.map((i) => ({ query: queries[i], names: truth[i].map((row) => `img/${row}.jpg`) }));
  const answers = await inBrowser(`${server.url}/visit.html`, { device, quality, top: TOP, settleMs: SETTLE_MS, queries: asked });
  const sent = (from, to, own = true) => server.answered.filter(({ path, at }) => at >= from && at < to && path.startsWith("/index/") === own);
  const bytes = (list) => sum(list.map((answer) => answer.bytes));
  const [cold, ...further] = answers.map(({ start, end, settled, way, ...rest }) => {
    const shown = way.map(({ at, right }) => ({ seconds: (at - start) / 1e3, bytes: bytes(sent(start, at)), right }));
    return {
      ...rest, way: shown, seconds: (end - start) / 1e3, firstSeconds: shown[0]?.seconds ?? null, firstBytes: shown[0]?.bytes ?? null,
      bytes: bytes(sent(start, settled)), requests: sent(start, settled).length, programBytes: bytes(sent(start, settled, false)),
    };
  });
  return { cold, further };
}

function summary(list) {
  const of = (key, how = mean) => how(list.map((x) => x[key]).filter((x) => x !== null));
  return {
    bytes: of("bytes"), requests: of("requests"), "program bytes": of("programBytes"), recall: of("recall"), seconds: of("seconds", median),
    "seconds to first hits": of("firstSeconds", median), "bytes to first hits": of("firstBytes"),
    "scoring seconds": median(list.map((x) => x.timings.scoreMs / 1e3)), "rows reranked": mean(list.map((x) => x.completeness.reranked)),
  };
}

const results = [];
const settings = [
  { http: 2, line: true, ranges: true }, { http: 1, line: true, ranges: true }, { http: 1, line: true, ranges: false }, { http: 2, line: false, ranges: true },
];
for (const device of values.devices.split(",")) {
  for (const quality of values.qualities.split(",")) {
    for (const { http, line, ranges } of settings) {
      const once = quality === "exact";
      if (once && (device !== "cpu" || http === 1 || !line)) continue;
      const terms = { device, quality, http, line, ranges };
      try {
        const all = [];
        for (let i = 0; i < (once ? 1 : visits); i++) all.push(await visit(i, terms));
        const further = all.flatMap((v) => v.further);
        const row = { ...terms, used: all[0].cold.used, cold: summary(all.map((v) => v.cold)), further: further.length ? summary(further) : null };
        console.log(JSON.stringify(row));
        results.push({ ...row, ways: all.map((v) => [...v.cold.way, { seconds: v.cold.seconds, bytes: v.cold.bytes, right: v.cold.recall }]) });
      } catch (error) {
        console.error(`${JSON.stringify(terms)}: ${error.message}`);
        results.push({ ...terms, error: error.message });
      }
      writeFileSync(out, `${JSON.stringify(results, null, 1)}\n`);
    }
  }
}
for (const each of Object.values(servers)) await each.close();
if (results.some((row) => row.error)) process.exitCode = 1;
