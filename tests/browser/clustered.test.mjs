// A clustered index in headless Chromium: the native tool's answers, whatever the host does to ranges.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { gzipSync } from "node:zlib";
import { launch, openIndex, openPage, stored } from "./browser.mjs";
import { Features, writeNpy } from "./features.mjs";
import { RANGE_FAULTS, startServer } from "./server.mjs";
import { makeSite, run } from "./toy.mjs";

const DIMENSION = 32, ROWS = 6000, QUERIES = 6;
let browser, server, site, index, expected;
let queries;
const opened = [];

before(async () => {
  site = makeSite(join(tmpdir(), `data-attribution-clustered-${process.pid}`));
  index = join(site.folder, "clustered");
  const features = new Features(ROWS, DIMENSION);
  const { rows, names } = features.write(site.folder);
  queries = features.queries(QUERIES);
  writeNpy(join(site.folder, "queries.npy"), queries);
  run("pack", "--model", join(site.folder, "model-toy"), "--features", rows, "--names", names, "--structure", "clustered",
    "--inv-tau", "30", "--bias", "0", "-o", index);
  expected = native("balanced");
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

function native(quality) {
  const lines = run("attribute", "--index", index, "--features", join(site.folder, "queries.npy"), "--top", "50", "--quality", quality, "--json");
  return lines.trim().split("\n").map((line) => JSON.parse(line));
}

async function open(options = { device: "cpu" }) {
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  opened.push(context);
  const info = await openIndex(page, `${server.url}/clustered/manifest.json`, options);
  assert.equal(info.error, undefined, info.message);
  return { page, info };
}

function ask(page, i, options = {}) {
  return page.evaluate(async ([query, options]) => {
    try {
      return await window.attributor.attribute(Float32Array.from(query), { topK: 50, ...options, onProgress: (event) => window.events.push(event) });
    } catch (error) {
      return { error: error.code, message: error.message };
    }
  }, [queries[i], options]);
}

function assertSame(result, wanted) {
  assert.equal(result.error, undefined, result.message);
  assert.deepEqual(result.hits.map(({ id, name, score }) => ({ id, name, score })), wanted.hits.map(({ id, name, score }) => ({ id, name, score: Math.fround(score) })));
  result.hits.forEach((hit, i) => assert.ok(Math.abs(hit.influence - wanted.hits[i].influence) < 1e-5));
}

const fine = (paths) => paths.filter((path) => path.startsWith("/clustered/fine/"));

for (const device of ["cpu", "webgpu"]) {
  test(`${device}: hits of a clustered index are the native tool's, by ranges`, async () => {
    const { page, info } = await open({ device });
    assert.equal(info.structure, "clustered");
    for (let i = 0; i < QUERIES; i++) assertSame(await ask(page, i), expected[i]);
    assert.ok(server.ranges.length > 0);
    // A file of which most rows are wanted is read whole.
    const whole = fine(server.requests).length - server.ranges.length;
    assert.ok(whole < server.ranges.length, `${whole} fine files were read whole, ${server.ranges.length} ranges`);
  });
}

test("exact reads everything, and a hit tells what the answer rests on", async () => {
  const { page } = await open();
  const result = await ask(page, 0, { quality: "exact" });
  assertSame(result, native("exact")[0]);
  assert.deepEqual(result.completeness, { rowsRead: ROWS, rows: ROWS, reranked: ROWS, estimatedRecall: 1, influenceExact: true });
  const balanced = await ask(page, 1);
  assert.equal(balanced.completeness.rowsRead, ROWS);
  assert.ok(balanced.completeness.reranked < ROWS);
  assert.ok(balanced.completeness.estimatedRecall > 0.95);
  assert.ok(balanced.remainingLow <= balanced.remainingInfluence && balanced.remainingInfluence <= balanced.remainingHigh);
  assert.ok(result.remainingLow <= result.remainingInfluence && result.remainingInfluence <= result.remainingHigh);
  for (const hit of balanced.hits) assert.ok(hit.influenceLow <= hit.influence && hit.influence <= hit.influenceHigh);
  const bad = await ask(page, 1, { quality: "best" });
  assert.equal(bad.error, "invalid-argument");
});

for (const name of ["ignore", "compress", "compressWhole", "truncate", "longer", "elsewhere", "otherTotal", "unsatisfiable", "reorder", "flip", "flipOnce", "busy", "unavailable", "dropOnce"]) {
  test(`a host that does this to ranges gives the same hits: ${name}`, async () => {
    const { page } = await open();
    server.faults.set("/clustered/fine/", RANGE_FAULTS[name]);
    assertSame(await ask(page, 0), expected[0]);
    assertSame(await ask(page, 1), expected[1]);
  });
}

for (const status of [400, 403, 405, 501]) {
  test(`a host that refuses ranges with status ${status} is read by whole files`, async () => {
    const { page } = await open();
    server.faults.set("/clustered/fine/", (count, body, path, range) => range && { status, body: "no" });
    assertSame(await ask(page, 0), expected[0]);
    assert.ok(server.answered.some(({ path, status }) => path.startsWith("/clustered/fine/") && status === 200));
    // Those that were under way when the first was refused, and no more.
    const asked = server.ranges.length;
    assertSame(await ask(page, 1), expected[1]);
    assert.equal(server.ranges.length, asked);
  });
}

test("a fine file that is not there is named", async () => {
  const { page } = await open();
  server.faults.set("/clustered/fine/", () => ({ status: 404, body: "not found" }));
  const missing = await ask(page, 0);
  assert.equal(missing.error, "not-found", missing.message);
  assert.match(missing.message, /fine\/[0-9a-f]{2}\/[0-9a-f]{32}\.bin/);
});

test("a date in Retry-After is waited for", async () => {
  const { page } = await open();
  let until = 0, again = 0;
  server.faults.set("/clustered/coarse/", (count) => {
    if (count > 1) {
      again ||= Date.now();
      return undefined;
    }
    // Dates have whole seconds.
    until = (Math.floor(Date.now() / 1000) + 3) * 1000;
    return { status: 503, headers: { "Retry-After": new Date(until).toUTCString() } };
  });
  assertSame(await ask(page, 0), expected[0]);
  assert.ok(again >= until - 100, `asked ${until - again} ms too early`);
});

test("a full quota costs the cache, not the answer", async () => {
  const { page } = await open();
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: server.url, quotaSize: 1000 });
  assertSame(await ask(page, 0), expected[0]);
  assertSame(await ask(page, 1), expected[1]);
  await stored(page);
  await page.reload();
  const info = await openIndex(page, `${server.url}/clustered/manifest.json`, { device: "cpu" });
  assert.equal(info.error, undefined, info.message);
  assertSame(await ask(page, 0), expected[0]);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: server.url });
});

test("bytes and requests are those that the host has sent, items included", async () => {
  const { page, info } = await open();
  const head = JSON.parse(readFileSync(join(index, "manifest.json"))).clusters.head;
  server.answered.length = 0;
  const { bytes } = await ask(page, 0);
  const sent = server.answered.filter(({ path }) => path.startsWith("/clustered/"));
  assert.ok(sent.some(({ path }) => path.includes("/items/")));
  // The head was read when the index was opened; the first query states it.
  assert.equal(bytes.fetched, head.bytes + sent.reduce((sum, answer) => sum + answer.bytes, 0));
  assert.equal(bytes.requests, 1 + sent.length);
  assert.ok(info.indexBytes > 0);
});

test("wrong bytes in every way to a row end in an error that names the file", async () => {
  const { page } = await open();
  server.faults.set("/clustered/fine/", (count, body) => {
    const wrong = Buffer.from(body);
    wrong[40] ^= 1;
    wrong[60] ^= 1;
    return { body: wrong };
  });
  const broken = await ask(page, 0);
  assert.equal(broken.error, "integrity", broken.message);
  assert.match(broken.message, /fine\/[0-9a-f]{2}\/[0-9a-f]{32}\.bin/);
  server.reset();
  assertSame(await ask(page, 0), expected[0]);
});

test("a second query fetches missing rows only, a second visit none", async () => {
  const first = await open();
  assertSame(await ask(first.page, 0), expected[0]);
  const again = await ask(first.page, 0);
  assert.equal(again.bytes.fetched, 0);
  assert.equal(again.bytes.requests, 0);
  // Rows are kept after the answer, not in its way.
  await stored(first.page);
  await first.page.reload();
  await openIndex(first.page, `${server.url}/clustered/manifest.json`, { device: "cpu" });
  server.requests.length = 0;
  const later = await ask(first.page, 0);
  assertSame(later, expected[0]);
  assert.deepEqual(server.requests.filter((path) => path.endsWith(".bin")), []);
});

test("offline in the middle of the fine rows: the error names a file, and the query goes on where it was", async () => {
  const { page } = await open();
  server.faults.set("/clustered/fine/", RANGE_FAULTS.offline);
  const failed = await ask(page, 2);
  assert.equal(failed.error, "network", failed.message);
  assert.match(failed.message, /fine\//);
  server.reset();
  assertSame(await ask(page, 2), expected[2]);
  assert.deepEqual(server.requests.filter((path) => path.includes("/coarse/")), []);
});

test("an index whose files are of another pack is refused by name", async () => {
  const coarse = JSON.parse(readFileSync(join(index, "manifest.json"))).clusters.coarse[0].file;
  const { page } = await open();
  server.faults.set(`/clustered/${coarse}`, (count, body) => ({ body: Buffer.concat([body.subarray(0, 32), Buffer.alloc(16), body.subarray(48)]) }));
  const refused = await ask(page, 0);
  assert.equal(refused.error, "integrity");
  assert.ok(refused.message.includes(coarse));
});

/** Where each kind of file that is read whole is asked for, and what then fails. */
const WHOLE = { head: "open", coarse: "ask", control: "ask", items: "ask" };

for (const [kind, step] of Object.entries(WHOLE)) {
  const attempt = async (page) => {
    const info = await openIndex(page, `${server.url}/clustered/manifest.json`, { device: "cpu" });
    return info.error ? { step: "open", ...info } : { step: "ask", ...(await ask(page, 0)) };
  };
  const blank = async () => {
    const { context, page } = await openPage(browser, `${server.url}/blank.html`);
    opened.push(context);
    return page;
  };

  test(`${kind}: what passes is waited for`, async () => {
    for (const fault of ["busy", "unavailable", "dropOnce"]) {
      server.reset();
      server.faults.set(`/clustered/${kind}/`, RANGE_FAULTS[fault]);
      assertSame(await attempt(await blank()), expected[0]);
      assert.ok(server.requests.filter((path) => path.startsWith(`/clustered/${kind}/`)).length > 1);
    }
  });

  test(`${kind}: a host that compresses whole files makes no difference`, async () => {
    server.faults.set(`/clustered/${kind}/`, (count, body) => ({ body: gzipSync(body), headers: { "Content-Encoding": "gzip" } }));
    assertSame(await attempt(await blank()), expected[0]);
  });

  test(`${kind}: what lasts is an error that names the file, and nothing else is lost`, async () => {
    const faults = {
      integrity: [
        (count, body) => ({ body: body.subarray(0, -1) }),
        (count, body) => ({ body: Buffer.concat([body, Buffer.alloc(1)]) }),
        (count, body) => ({ body: Buffer.from(body).reverse() }),
        (count, body) => ({ body: Buffer.from(body).fill(body[20] ^ 1, 20, 21) }),
      ],
      "not-found": [() => ({ status: 404, body: "not found" })],
      network: [RANGE_FAULTS.offline, () => ({ status: 503, headers: { "Retry-After": "0" } })],
    };
    for (const [code, wrongs] of Object.entries(faults)) {
      for (const wrong of wrongs) {
        server.reset();
        server.faults.set(`/clustered/${kind}/`, wrong);
        const page = await blank();
        const failed = await attempt(page);
        assert.deepEqual([failed.step, failed.error], [step, code], failed.message);
        assert.match(failed.message, new RegExp(`${kind}/`));
        assert.equal(failed.hits, undefined);
        server.reset();
        assertSame(await attempt(page), expected[0]);
        await page.context().close();
      }
    }
  });
}
