// Queries of a packed index in headless Chromium, over a simulated line: times, bytes, requests, recall on the way.
//
//     node scripts/bench_index/browser.mjs INDEX DATA OUT.json [--visits 3] [--qualities fast,balanced,exact] [--devices cpu,webgpu]
//
// A visit opens the index in a page with empty caches, asks one query (cold), then two others (further). Its clock starts before the library is
// loaded, so the first times hold the module and the head of the index. Bytes are those of the bodies that the server sent,
// items of the hits included; the library's own files are counted apart. Each visit is made at 50 Mbit/s and 40 ms,
// on a host with ranges and on one that ignores them, and at full speed, for the time that computing takes. `exact`, which reads everything, gets one
// visit, on the CPU, at 50 Mbit/s. What share of each provisional list is in the true top, and what it took to get there, gives the curve.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { launch, openPage } from "../../tests/browser/browser.mjs";
import { RANGE_FAULTS, startServer } from "../../tests/browser/server.mjs";
import { ROOT } from "../../tests/browser/toy.mjs";

const LINE = { latencyMs: 40, bitsPerSecond: 50e6 };
const TOP = 100;
/** Answers and cache entries that are still on their way when a query ends. */
const SETTLE_MS = 1000;

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
  writeFileSync(join(folder, "blank.html"), "<!doctype html><title>benchmark</title>");
  symlinkSync(resolve(index), join(folder, "index"));
}

makeSite(join(data, "site"));
const queries = readNpy(join(data, "queries.npy"));
const truth = JSON.parse(readFileSync(join(data, "exact.json"), "utf8"));
const server = await startServer(join(data, "site"));
const browser = await launch();
const sum = (list) => list.reduce((a, b) => a + b, 0);
const mean = (list) => (list.length ? sum(list) / list.length : null);
const median = (list) => (list.length ? [...list].sort((a, b) => a - b)[list.length >> 1] : null);

/** What the server has sent of the index. */
function served() {
  const own = server.answered.filter(({ path }) => path.startsWith("/index/"));
  const program = server.answered.filter(({ path }) => !path.startsWith("/index/"));
  return { bytes: sum(own.map((a) => a.bytes)), requests: own.length, programBytes: sum(program.map((a) => a.bytes)) };
}

/** One query, with the opening of the index where `device` is given. */
async function ask(page, notes, number, quality, device) {
  const before = served();
  const start = performance.now();
  notes.length = 0;
  const result = await page.evaluate(async ([query, names, options, device]) => {
    const wanted = new Set(names);
    const right = (hits) => hits.filter((hit) => wanted.has(hit.name)).length;
    const recall = (hits) => right(hits) / names.length;
    try {
      if (device) {
        const { Attributor } = await import("/data-attribution.js");
        window.attributor = await Attributor.open("/index/manifest.json", { device });
      }
      const onProgress = (event) => event.type === "hits" && window.note(right(event.hits) / Math.max(1, event.hits.length));
      const result = await window.attributor.attribute(Float32Array.from(query), { ...options, onProgress });
      const { completeness, timings, device: used } = result;
      return { recall: recall(result.hits), completeness, timings, used };
    } catch (error) {
      return { error: `${error.code ?? error.name}: ${error.message}` };
    }
  }, [queries[number], truth[number].map((row) => `img/${row}.jpg`), { topK: TOP, quality }, device]);
  const end = performance.now();
  if (result.error) throw new Error(`${quality} on ${device ?? "the same device"}: ${result.error}`);
  await new Promise((done) => setTimeout(done, SETTLE_MS));
  const after = served();
  const way = notes.map(({ at, bytes, right }) => ({ seconds: (at - start) / 1e3, bytes: bytes - before.bytes, right }));
  return {
    ...result, way, seconds: (end - start) / 1e3, firstSeconds: way[0]?.seconds ?? null, firstBytes: way[0]?.bytes ?? null,
    bytes: after.bytes - before.bytes, requests: after.requests - before.requests, programBytes: after.programBytes - before.programBytes,
  };
}

async function visit(number, { device, quality, line, ranges }) {
  server.reset();
  if (line) Object.assign(server.line, LINE);
  if (!ranges) server.faults.set("/index/fine/", RANGE_FAULTS.ignore);
  const { context, page, problems } = await openPage(browser, `${server.url}/blank.html`);
  const notes = [];
  await page.exposeFunction("note", (right) => void notes.push({ at: performance.now(), bytes: served().bytes, right }));
  try {
    const first = number * 3;
    const cold = await ask(page, notes, first % queries.length, quality, device);
    if (quality === "exact") return { cold, further: [] };
    const further = [];
    for (const at of [first + 1, first + 2]) further.push(await ask(page, notes, at % queries.length, quality));
    return { cold, further };
  } finally {
    for (const problem of problems) console.error(`console: ${problem}`);
    await context.close();
  }
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
  { line: true, ranges: true }, { line: true, ranges: false }, { line: false, ranges: true },
];
for (const device of values.devices.split(",")) {
  for (const quality of values.qualities.split(",")) {
    for (const { line, ranges } of settings) {
      const once = quality === "exact";
      if (once && (device !== "cpu" || !line || !ranges)) continue;
      const terms = { device, quality, line, ranges };
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
await browser.close();
await server.close();
if (results.some((row) => row.error)) process.exitCode = 1;
