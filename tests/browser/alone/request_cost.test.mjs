// How rows share requests follows what a request costs on the line at hand; the answer does not.

import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, openIndex, openPage } from "../browser.mjs";
import { packFeatures } from "../features.mjs";
import { startServer } from "../server.mjs";
import { makeSite } from "../toy.mjs";

const FEATURES = { rows: 8000, dimension: 256, queries: 6 };
let browser, server, queries;

before(async () => {
  const site = makeSite(join(tmpdir(), `data-attribution-requests-${process.pid}`));
  queries = packFeatures(site.folder, ["clustered"], FEATURES);
  server = await startServer(site.folder);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** All queries over `line`, one after the other; the hits, and the lengths of the ranges that came after the first query. */
async function visit(line) {
  server.reset();
  Object.assign(server.line, line);
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const info = await openIndex(page, `${server.url}/clustered/manifest.json`, { device: "cpu" });
  assert.equal(info.error, undefined, info.message);
  const hits = [], asked = [];
  for (const query of queries) {
    const result = await page.evaluate((query) => window.attributor.attribute(Float32Array.from(query), { topK: 500 }), query);
    hits.push(result.hits.map(({ id, score }) => ({ id, score })));
    asked.push(server.ranges.length);
  }
  const ranges = server.ranges.slice(asked[0]).map(({ first, last }) => last - first + 1);
  await context.close();
  return { hits, first: asked[0], ranges, mean: ranges.reduce((a, b) => a + b, 0) / ranges.length };
}

test("a line with long waits gets fewer and longer ranges than a slow one, and the same hits", async () => {
  const slow = await visit({ latencyMs: 0, bitsPerSecond: 3e6 });
  const far = await visit({ latencyMs: 150, bitsPerSecond: 500e6 });
  for (const [name, { first, ranges, mean }] of Object.entries({ slow, far })) {
    console.log(`${name}: ${first} ranges, then ${ranges.length} of ${mean.toFixed(0)} bytes`);
    assert.ok(first >= 16, "too few to measure by");
  }
  assert.deepEqual(far.hits, slow.hits);
  assert.ok(far.ranges.length < 0.9 * slow.ranges.length);
  assert.ok(far.mean > 1.1 * slow.mean);
});
