// A browser that checks and stores files slowly, or has lost a part of what it stored, holds up no query.

import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, openIndex, openPage, stored } from "../browser.mjs";
import { packFeatures } from "../features.mjs";
import { startServer } from "../server.mjs";
import { makeSite } from "../toy.mjs";

/** Shards of more than 64 kB, whose digests the browser is asked for, and two files of items. */
const FEATURES = { rows: 8000, dimension: 256, queries: 3 };
/** A query takes a few seconds; one that waits for itself takes for ever. */
const PATIENCE_MS = 60_000;
const STRUCTURES = ["flat", "clustered"];
let browser, server, queries;

before(async () => {
  const site = makeSite(join(tmpdir(), `data-attribution-storing-${process.pid}`));
  queries = packFeatures(site.folder, STRUCTURES, FEATURES);
  server = await startServer(site.folder);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Runs before the worker and its helper: every file takes so long to be checked, and so long to be stored. */
function storesSlowly(milliseconds) {
  for (const [{ prototype }, name] of [[Cache, "put"], [SubtleCrypto, "digest"]]) {
    const original = prototype[name];
    prototype[name] = async function (...values) {
      await new Promise((done) => setTimeout(done, milliseconds));
      return original.apply(this, values);
    };
  }
}

/** The hits of all queries, `fast` ones before others. */
async function ask(page, structure) {
  const info = await openIndex(page, `${server.url}/${structure}/manifest.json`, { device: "cpu" });
  assert.equal(info.error, undefined, info.message);
  const hits = [];
  for (const [query, quality] of queries.map((query, i) => [query, i ? "balanced" : "fast"])) {
    const asked = page.evaluate(([query, quality, patience]) => Promise.race([
      window.attributor.attribute(Float32Array.from(query), { topK: 500, quality }),
      new Promise((_, reject) => setTimeout(() => reject(new Error("the query waits for ever")), patience)),
    ]), [query, quality, PATIENCE_MS]);
    hits.push((await asked).hits.map(({ id, score, name }) => ({ id, score, name })));
  }
  return hits;
}

async function visit(page, structure) {
  const hits = await ask(page, structure);
  // Files are stored behind the answer; who disposes at once goes without the last.
  await stored(page);
  await page.evaluate(() => window.attributor.dispose());
  return hits;
}

/** Runs before the worker: tells the page of lookups in the cache, and may refuse to list it. */
function telling(lists) {
  const { match } = Cache.prototype, channel = new BroadcastChannel("lookups");
  Cache.prototype.match = function (url) {
    channel.postMessage(url);
    return match.call(this, url);
  };
  if (!lists) Cache.prototype.keys = () => Promise.reject(new Error("too many"));
}

/** How many rows of fine files a visit has looked for in the cache, and its hits. */
async function visitHeard(page) {
  await page.evaluate(() => {
    window.lookups = [];
    new BroadcastChannel("lookups").onmessage = ({ data }) => window.lookups.push(data);
  });
  const hits = await ask(page, "clustered");
  return { hits, looked: await page.evaluate(() => window.lookups.filter((url) => url.endsWith("?rows")).length) };
}

for (const lists of [true, false]) {
  test(`a browser that ${lists ? "lists its cache is not asked for what is not there" : "lists no cache is asked"}, and a second visit fetches nothing`, async () => {
    server.faults.set("/worker.js", (count, body) => ({ body: `(${telling})(${lists});\n${body}` }));
    const { context, page } = await openPage(browser, `${server.url}/blank.html`);
    const first = await visitHeard(page);
    // Rows are stored after the answer; who disposes at once goes without those of the last query.
    assert.equal(first.looked > 0, !lists, `${first.looked} lookups of rows`);
    await stored(page);
    await page.reload();
    server.requests.length = 0;
    const second = await visitHeard(page);
    assert.deepEqual(second.hits, first.hits);
    assert.ok(second.looked > 0);
    assert.deepEqual(server.requests.filter((path) => path.endsWith(".bin")), []);
    await context.close();
  });
}

for (const structure of STRUCTURES) {
  test(`a ${structure} index answers while files are checked and stored slowly, and where half of them are gone`, async () => {
    server.reset();
    const quick = await openPage(browser, `${server.url}/blank.html`);
    const expected = await visit(quick.page, structure);
    await quick.context.close();
    for (const worker of ["/worker.js", "/digest-worker.js"]) server.faults.set(worker, (count, body) => ({ body: `(${storesSlowly})(250);\n${body}` }));
    const { context, page } = await openPage(browser, `${server.url}/blank.html`);
    assert.deepEqual(await visit(page, structure), expected);
    // Either half of the files, as they were stored.
    for (const half of [0, 1]) {
      const deleted = await page.evaluate(async (half) => {
        let deleted = 0;
        for (const name of await caches.keys()) {
          const cache = await caches.open(name);
          for (const [i, request] of (await cache.keys()).entries()) {
            if (i % 2 === half && !request.url.endsWith("manifest.json")) deleted += await cache.delete(request);
          }
        }
        return deleted;
      }, half);
      assert.ok(deleted >= 4, `${deleted} files were stored`);
      assert.deepEqual(await visit(page, structure), expected);
    }
    await context.close();
  });
}
