// The library in headless Chromium: the same answers as the native tool, and right behaviour on broken hosts.

import assert from "node:assert/strict";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { crc32, deflateSync } from "node:zlib";
import { attribute, launch, openIndex, openPage, stored } from "./browser.mjs";
import { startServer } from "./server.mjs";
import { makeSite, native } from "./toy.mjs";

let browser, server, site, images;
const opened = [];

before(async () => {
  site = makeSite(join(tmpdir(), `data-attribution-site-${process.pid}`));
  images = site.queries.map((name) => join(site.folder, "demo/queries", name));
  server = await startServer(site.folder);
  browser = await launch();
});
afterEach(async () => {
  while (opened.length) await opened.pop().close();
  server.reset();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

async function blank() {
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  opened.push(context);
  return page;
}

const manifest = () => `${server.url}/demo/manifest.json`;
const query = (i = 0) => `${server.url}/demo/queries/${site.queries[i]}`;
const shards = () => JSON.parse(readFileSync(join(site.folder, "demo/manifest.json"))).layers[0].shards;

/** Hits without the last digits of their influences, which depend on the order in which shards arrived. */
function rounded(hits) {
  return JSON.parse(JSON.stringify(hits, (key, value) => (key.startsWith("influence") && value !== null ? value.toPrecision(12) : value)));
}

/** Scores differ by rounding between kinds of processor, so neighbours closer than that may change places. */
const CLOSE = 3e-4;

function assertSame(result, expected) {
  assert.equal(result.hits.length, expected.hits.length);
  const last = expected.hits.at(-1).score;
  result.hits.forEach((hit, i) => {
    assert.ok(Math.abs(hit.score - expected.hits[i].score) < CLOSE, `${hit.score} ${expected.hits[i].score}`);
    const twin = expected.hits.find(({ id }) => id === hit.id);
    if (!twin) return assert.ok(hit.score - last < CLOSE, `${hit.id} is not among the native tool's`);
    assert.ok(Math.abs(hit.score - twin.score) < CLOSE);
    assert.ok(Math.abs(hit.influence - twin.influence) < 1e-3);
  });
  assert.ok(Math.abs(result.remainingInfluence - expected.remainingInfluence) < 1e-3);
}

for (const device of ["cpu", "webgpu"]) {
  test(`${device}: ids, scores and influences of 24 queries are the native tool's`, async () => {
    const page = await blank();
    const info = await openIndex(page, manifest(), { device });
    assert.equal(info.device, device, JSON.stringify(info));
    assert.equal(info.count, 600);
    const expected = native(join(site.folder, "demo"), images, 20);
    for (let i = 0; i < images.length; i++) {
      const result = await attribute(page, query(i), { topK: 20 });
      assert.equal(result.error, undefined, result.message);
      assertSame(result, expected[i]);
    }
  });
}

test("auto ends on the CPU on a software adapter, within seconds", async () => {
  const page = await blank();
  const info = await openIndex(page, manifest(), { device: "auto" });
  assert.equal(info.device, "cpu");
  assert.match(info.deviceReason, /emulated/);
});

/** Bytes of items that the server has sent. */
function itemBytes() {
  return server.answered.filter(({ path }) => path.includes("/items/")).reduce((sum, { bytes }) => sum + bytes, 0);
}

test("a hit has the documented fields, and progress counts bytes", async () => {
  const page = await blank();
  await openIndex(page, manifest(), { device: "cpu" });
  const result = await attribute(page, query(), { topK: 3 });
  const hit = result.hits[0];
  assert.equal(hit.rank, 1);
  assert.match(hit.name, /^[a-z-]+\/\d\d\.jpg$/);
  assert.match(hit.caption, /no\. \d+/);
  assert.ok(hit.width > 0 && hit.height > 0);
  const thumbnail = await page.evaluate(async (url) => (await fetch(url)).headers.get("content-type"), hit.thumbnail);
  assert.equal(thumbnail, "image/jpeg");
  const events = await page.evaluate(() => window.events);
  const last = (type) => events.filter((event) => event.type === type).at(-1);
  assert.equal(last("model").loadedBytes, last("model").totalBytes);
  assert.equal(last("index").rows, 600);
  assert.ok(events.some((event) => event.type === "hits" && event.rows < 600 && event.hits[0].influence === null));
  assert.equal(result.bytes.fetched, last("index").totalBytes + itemBytes());
});

test("every kind of image source gives the same answer", async () => {
  const page = await blank();
  await openIndex(page, manifest(), { device: "cpu" });
  const { hits } = await attribute(page, query(), { topK: 5 });
  const others = await page.evaluate(async (url) => {
    const blob = await (await fetch(url)).blob();
    const bitmap = await createImageBitmap(blob);
    const sources = [blob, new File([blob], "a.jpg"), bitmap];
    const results = [];
    for (const source of sources) results.push(await window.attributor.attribute(source, { topK: 5 }));
    return results.map((result) => result.hits.map((hit) => hit.id));
  }, query());
  assert.deepEqual(others[0], hits.map((hit) => hit.id));
  assert.deepEqual(others[1], others[0]);
  // The browser's own JPEG decoder may differ by a level, so only the best must agree.
  assert.equal(others[2][0], others[0][0]);
});

test("a second visit fetches nothing but the manifest, and a damaged cached file heals", async () => {
  const page = await blank();
  await openIndex(page, manifest(), { device: "cpu" });
  const first = await attribute(page, query(), { topK: 5 });
  await stored(page);
  await page.reload();
  server.requests.length = 0;
  await openIndex(page, manifest(), { device: "cpu" });
  const second = await attribute(page, query(), { topK: 5 });
  assert.deepEqual(rounded(second.hits), rounded(first.hits));
  const data = server.requests.filter((path) => path.endsWith(".bin") || path.includes("/model/") || path.includes("/items/"));
  assert.deepEqual(data, []);
  assert.equal(second.bytes.fetched, 0);

  const damaged = await page.evaluate(async () => {
    const name = (await caches.keys()).find((key) => key.startsWith("data-attribution"));
    const cache = await caches.open(name);
    const request = (await cache.keys()).find((key) => key.url.includes("/fine/"));
    const bytes = new Uint8Array(await (await cache.match(request)).arrayBuffer());
    bytes[100] ^= 1;
    await cache.put(request, new Response(bytes));
    return new URL(request.url).pathname;
  });
  await page.reload();
  server.requests.length = 0;
  await openIndex(page, manifest(), { device: "cpu" });
  const third = await attribute(page, query(), { topK: 5 });
  assert.deepEqual(rounded(third.hits), rounded(first.hits));
  assert.deepEqual(server.requests.filter((path) => path.endsWith(".bin")), [damaged]);
});

test("broken shards are named errors, and nothing that was fetched is lost", async () => {
  const [one, two, ...more] = shards();
  const others = [two, ...more];
  const total = (field) => others.reduce((sum, shard) => sum + shard[field], 0);
  const bytesOf = (shard) => readFileSync(join(site.folder, "demo", shard.file));
  const flipped = Buffer.from(bytesOf(one));
  flipped[flipped.length >> 1] ^= 4;
  const cases = {
    cut: { body: bytesOf(one).subarray(0, -1) },
    flipped: { body: flipped },
    swapped: { body: bytesOf(two) },
    longer: { body: Buffer.concat([bytesOf(one), Buffer.from([0])]) },
    empty: { body: "" },
  };
  for (const [name, answer] of Object.entries(cases)) {
    const page = await blank();
    // The broken shard comes last: by then the page has scored all others.
    const scored = (rows) => page.waitForFunction((rows) => window.events.some((event) => event.type === "index" && event.rows >= rows), rows);
    server.faults.set(`/demo/${one.file}`, () => scored(total("rows")).then(() => answer));
    await openIndex(page, manifest(), { device: "cpu" });
    const result = await attribute(page, query(), { topK: 5 });
    assert.equal(result.error, "integrity", `${name}: ${result.message}`);
    assert.ok(result.message.includes(one.file), result.message);
    server.reset();
    // The same attributor answers once the host is mended, fetching only what was broken.
    const mended = await attribute(page, query(), { topK: 5 });
    assert.equal(mended.error, undefined, mended.message);
    assert.deepEqual(server.requests.filter((path) => path.includes("/fine/")), [`/demo/${one.file}`]);
    assert.equal(mended.bytes.fetched, one.bytes + itemBytes());
    assert.equal(mended.bytes.cached, total("bytes"));
  }
});

test("a passing failure is retried, a lasting one ends with the file's name", async () => {
  const [, shard] = shards();
  const page = await blank();
  await openIndex(page, manifest(), { device: "cpu" });
  server.faults.set(`/demo/${shard.file}`, (count) => [{ status: 503, headers: { "Retry-After": "0" } }, "drop"][count - 1]);
  const retried = await attribute(page, query(), { topK: 5 });
  assert.equal(retried.error, undefined, retried.message);
  assert.equal(server.counts.get(`/demo/${shard.file}`), 3);

  const other = await blank();
  server.reset();
  server.faults.set(`/demo/${shard.file}`, () => ({ status: 404 }));
  await openIndex(other, manifest(), { device: "cpu" });
  const missing = await attribute(other, query(), { topK: 5 });
  assert.equal(missing.error, "not-found");
  assert.ok(missing.message.includes(shard.file));
});

test("offline in the middle: an error that names a file, then the query goes on where it was", async () => {
  const page = await blank();
  await openIndex(page, manifest(), { device: "cpu" });
  const [kept] = shards();
  server.faults.set("/demo/fine/", (count, body, path) => (path.endsWith(kept.file) ? undefined : "drop"));
  const cut = await attribute(page, query(), { topK: 5 });
  assert.equal(cut.error, "network");
  assert.match(cut.message, /fine\/[0-9a-f]{32}\.bin/);
  server.reset();
  const result = await attribute(page, query(), { topK: 5 });
  assert.equal(result.error, undefined, result.message);
  assert.ok(!server.requests.some((path) => path.endsWith(kept.file)), "a verified shard was fetched twice");
});

test("manifests that do not fit are refused by name", async () => {
  const good = JSON.parse(readFileSync(join(site.folder, "demo/manifest.json")));
  const variant = (name, change) => {
    const copy = structuredClone(good);
    change(copy);
    writeFileSync(join(site.folder, "demo", name), typeof copy === "string" ? copy : JSON.stringify(copy));
  };
  variant("newer.json", (m) => (m.version = 99));
  variant("wrong.json", (m) => (m.backbone.identity = "0".repeat(64)));
  variant("mapped.json", (m) => (m.synth_mapper = { name: "tuned", identity: "1", kind: "mlp", pair: "2" }));
  variant("format.json", (m) => delete m.layers);
  writeFileSync(join(site.folder, "demo/text.json"), "<!doctype html>");
  const page = await blank();
  for (const [name, code] of [
    ["newer.json", "newer-version"], ["wrong.json", "identity-mismatch"], ["mapped.json", "identity-mismatch"],
    ["format.json", "format"], ["text.json", "format"], ["absent.json", "not-found"],
  ]) {
    const info = await openIndex(page, `${server.url}/demo/${name}`, { device: "cpu" });
    assert.equal(info.error, code, `${name}: ${info.message}`);
    assert.ok(info.message.length > 10);
  }
});

test("a model of another backbone under the right name is refused", async () => {
  const good = JSON.parse(readFileSync(join(site.folder, "demo/manifest.json")));
  const other = JSON.parse(readFileSync(join(site.folder, "other/manifest.json")));
  cpSync(join(site.folder, "other/model"), join(site.folder, "demo/model"), { recursive: true });
  writeFileSync(join(site.folder, "demo/swapped.json"), JSON.stringify({ ...good, backbone: { ...good.backbone, head: other.backbone.head } }));
  const page = await blank();
  const info = await openIndex(page, `${server.url}/demo/swapped.json`, { device: "cpu" });
  assert.equal(info.error, "identity-mismatch", info.message);
});

test("what is not an image, or too large a one, is refused and the attributor goes on", async () => {
  const jpeg = readFileSync(images[0]);
  writeFileSync(join(site.folder, "cut.jpg"), jpeg.subarray(0, jpeg.length >> 1));
  writeFileSync(join(site.folder, "empty.jpg"), "");
  writeFileSync(join(site.folder, "text.jpg"), "no image at all");
  const page = await blank();
  await openIndex(page, manifest(), { device: "cpu" });
  for (const [name, codes] of [
    ["cut.jpg", ["damaged-image"]], ["empty.jpg", ["not-an-image", "damaged-image"]], ["text.jpg", ["not-an-image"]], ["absent.jpg", ["not-found"]],
  ]) {
    const result = await attribute(page, `${server.url}/${name}`);
    assert.ok(codes.includes(result.error), `${name}: ${result.error} ${result.message}`);
  }
  // A PNG header that claims 60000 x 60000 pixels.
  const chunk = (type, data) => {
    const body = Buffer.concat([Buffer.from(type), Buffer.from(data)]);
    const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    check.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, check]);
  };
  const png = Buffer.concat([
    Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk("IHDR", [0, 0, 234, 96, 0, 0, 234, 96, 8, 2, 0, 0, 0]),
    chunk("IDAT", deflateSync(Buffer.alloc(1000))), chunk("IEND", []),
  ]);
  const huge = await page.evaluate(
    (bytes) => window.attributor.attribute(new Blob([new Uint8Array(bytes)])).catch((error) => error.code), [...png],
  );
  assert.equal(huge, "image-too-large");
  assert.equal((await attribute(page, query(), { topK: 0 })).error, "invalid-argument");
  assert.equal((await attribute(page, query(), { topK: 5 })).hits.length, 5);
});

test("an aborted signal ends a query, and dispose ends the attributor", async () => {
  const page = await blank();
  await openIndex(page, manifest(), { device: "cpu" });
  const codes = await page.evaluate(async (url) => {
    const abort = new AbortController();
    const running = window.attributor.attribute(url, { signal: abort.signal, onProgress: () => abort.abort() });
    const cancelled = await running.catch((error) => [error.code, error.name]);
    const again = await window.attributor.attribute(url, { topK: 2 });
    window.attributor.dispose();
    const disposed = await window.attributor.attribute(url).catch((error) => error.code);
    return [cancelled, again.hits.length, disposed];
  }, query());
  assert.deepEqual(codes, [["cancelled", "AbortError"], 2, "disposed"]);
});
