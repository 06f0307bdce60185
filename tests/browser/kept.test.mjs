// What a page holds of the files it has read: one copy in its cache, none in the browser's, and no piece in memory.

import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { attribute, launch, openIndex, openPage, stored } from "./browser.mjs";
import { packFeatures } from "./features.mjs";
import { startServer } from "./server.mjs";
import { makeSite } from "./toy.mjs";

let browser, server, site, queries;

before(async () => {
  site = makeSite(join(tmpdir(), `data-attribution-kept-${process.pid}`));
  queries = packFeatures(site.folder, ["flat"], { rows: 8000, dimension: 256, queries: 1 });
  server = await startServer(site.folder);
  browser = await launch();
});
afterEach(() => server.reset());
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Files of the index that the host was asked for, each once. */
const files = () => [...new Set(server.requests.filter((path) => /\/(model|fine|items)\//.test(path)))].sort();

/** Serves everything with leave to keep it for an hour, and the worker after `before`. */
function keepable(before = "") {
  const headers = { "Cache-Control": "max-age=3600" };
  server.faults.set("/", (count, body, path) => body && { body: path.endsWith("/worker.js") ? before + body : body, headers });
}

async function visit(page) {
  server.requests.length = 0;
  const info = await openIndex(page, `${server.url}/demo/manifest.json`, { device: "cpu" });
  assert.equal(info.error, undefined, info.message);
  const result = await attribute(page, `${server.url}/demo/queries/${site.queries[0]}`, { topK: 3 });
  assert.equal(result.error, undefined, result.message);
  return result.hits.map(({ id }) => id);
}

test("the browser keeps no second copy of what the page's cache keeps", async () => {
  keepable();
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const hits = await visit(page);
  const all = files();
  assert.ok(all.length >= 3, `${all}`);
  await stored(page);
  await page.evaluate(async () => {
    for (const name of await caches.keys()) await caches.delete(name);
  });
  await page.reload();
  assert.deepEqual(await visit(page), hits);
  assert.deepEqual(files(), all);
  await context.close();
});

test("without a cache of its own the page leaves files to the browser's", async () => {
  keepable("delete self.caches; Object.defineProperty(self, 'caches', { value: undefined });\n");
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const hits = await visit(page);
  assert.ok(files().length >= 3);
  await page.reload();
  assert.deepEqual(await visit(page), hits);
  assert.deepEqual(files(), []);
  await context.close();
});

/**
 * Runs before the worker: holds on to all that comes from the network and the cache and all that is stored, and tells the
 * page how much of it still takes memory.
 */
function holdingOn() {
  const held = { read: [], told: [], kept: [], stored: [] };
  for (const Reader of [ReadableStreamDefaultReader, self.ReadableStreamBYOBReader].filter(Boolean)) {
    const { read } = Reader.prototype;
    Reader.prototype.read = async function (...given) {
      const part = await read.apply(this, given);
      if (part.value) (Reader === ReadableStreamDefaultReader ? held.read : held.told).push([part.value.buffer, part.value.byteLength]);
      return part;
    };
  }
  const { arrayBuffer } = Response.prototype;
  Response.prototype.arrayBuffer = async function (...given) {
    const buffer = await arrayBuffer.apply(this, given);
    held.kept.push([buffer, buffer.byteLength]);
    return buffer;
  };
  const { write } = WritableStreamDefaultWriter.prototype;
  WritableStreamDefaultWriter.prototype.write = function (chunk) {
    held.stored.push([chunk.buffer, chunk.byteLength]);
    return write.call(this, chunk);
  };
  const channel = new BroadcastChannel("held");
  channel.onmessage = ({ data }) => {
    if (data !== "tell") return;
    const sum = (list, value) => list.reduce((total, entry) => total + value(entry), 0);
    channel.postMessage(Object.fromEntries(Object.entries(held).map(([name, list]) => [name, {
      came: sum(list, ([, length]) => length), left: sum(list, ([buffer]) => buffer.byteLength),
    }])));
  };
}

/** Asks the flat index of features; {read, told, kept, stored}, each {came, left} in bytes, once everything is stored. */
async function held(page, device) {
  await openIndex(page, `${server.url}/flat/manifest.json`, { device });
  const hits = await page.evaluate(async (query) => {
    const { hits } = await window.attributor.attribute(Float32Array.from(query), { topK: 3 });
    return hits.map(({ id }) => id);
  }, queries[0]);
  await stored(page);
  const told = await page.evaluate(() => new Promise((done) => {
    const channel = new BroadcastChannel("held");
    channel.onmessage = ({ data }) => done(data);
    channel.postMessage("tell");
  }));
  return { hits, told };
}

/** Without the helper the worker frees all by itself; buffers that it hands over are gone in any case. */
const noHelper = () => server.faults.set("/digest-worker.js", () => ({ status: 404 }));
const WAYS = [
  ["on their way to a GPU", "", "webgpu"], ["where they are told to land", "", "cpu"],
  ["where they are told to land, and checked by the helper", "", "cpu"], ["in pieces", "delete self.ReadableStreamBYOBReader;\n", "cpu"],
];
for (const [way, without, device] of WAYS) test(`files take no memory once they were copied, checked and stored, read ${way}`, async () => {
  if (!way.includes("helper")) noHelper();
  server.faults.set("/worker.js", (count, body) => ({ body: `${without}(${holdingOn})();\n${body}` }));
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const first = await held(page, device);
  // Whoever is told where to write does not bring pieces of its own.
  assert.equal(first.told.told.came > 2e6, way.startsWith("where they are told to land"));
  // The module's own bytes are counted as they come, and belong to the browser's compiler.
  const program = server.answered.filter(({ path }) => path.endsWith(".wasm")).reduce((sum, { bytes }) => sum + bytes, 0);
  const { read, told, stored: put } = first.told;
  assert.ok(read.came + told.came - program > 2e6, `${read.came + told.came - program} bytes came`);
  assert.ok(put.came > 2e6, `${put.came} bytes were stored`);
  // The manifest, of which a copy is stored, is the only one that may stay, until it is collected.
  const left = read.left + told.left - program;
  assert.ok(left >= 0 && left < 16384, `${left} bytes of pieces are left`);
  assert.ok(put.left < 16384, `${put.left} stored bytes are left`);
  await page.reload();
  const second = await held(page, device);
  assert.deepEqual(second.hits, first.hits);
  assert.ok(second.told.kept.came > 2e6, `${second.told.kept.came} bytes came from the cache`);
  assert.ok(second.told.kept.left < 16384, `${second.told.kept.left} bytes of cached files are left`);
  await context.close();
});

test("where the browser cannot free them, pieces stay until it collects them, and answers are right", async () => {
  noHelper();
  server.faults.set("/worker.js", (count, body) => ({ body: `delete ArrayBuffer.prototype.transfer;\n(${holdingOn})();\n${body}` }));
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const { hits, told } = await held(page, "cpu");
  assert.equal(hits[0], 0);
  assert.ok(told.told.left > 2e6 && told.stored.left > 2e6, JSON.stringify(told));
  await context.close();
});
