// Opening and disposing again and again leaves nothing behind.

import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../browser.mjs";
import { cycles } from "../cycles.mjs";
import { startServer } from "../server.mjs";
import { makeSite } from "../toy.mjs";

const COUNT = 12;
/** Until the browser has given back what it gives back. */
const REST_MS = 8000;
let browser, server, site;

before(async () => {
  site = makeSite(join(tmpdir(), `data-attribution-cycles-${process.pid}`));
  server = await startServer(site.folder);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

for (const device of ["cpu", "webgpu"]) {
  test(`${device}: ${COUNT} times open, attribute and dispose end where the second began`, async () => {
    const found = await cycles({
      browser, server, device, count: COUNT, restMs: (i) => ([1, COUNT - 1].includes(i) ? REST_MS : 0),
      manifest: `${server.url}/demo/manifest.json`, query: `${server.url}/demo/queries/${site.queries[0]}`,
    });
    // The first warms up: code is compiled, caches are filled.
    const [, second, ...rest] = found;
    const last = rest.at(-1);
    assert.equal(new Set(found.map(({ score }) => score)).size, 1);
    assert.ok(found.every(({ streamed }) => streamed), "the module was not compiled while it came");
    // A model that stayed would double these: what lies on the device is counted exactly.
    assert.ok(found.every(({ deviceBytes }) => deviceBytes === second.deviceBytes), JSON.stringify(found));
    assert.equal(second.deviceBytes === null, device === "cpu");
    assert.ok(second.wasmBytes > 0 && last.wasmBytes <= second.wasmBytes, `${last.wasmBytes}, ${second.wasmBytes}`);
    for (const process of ["pageProcessBytes", "gpuProcessBytes"]) {
      assert.ok(second[process] > 30e6 && last[process] <= 1.05 * second[process], `${process}: ${last[process]}, ${second[process]}`);
    }
    // What dispose() ends, ends.
    assert.ok(last.workersAtWork > 0);
    assert.deepEqual([second.workers, last.workers], [0, 0]);
    assert.ok(last.heapBytes < 1.05 * second.heapBytes + 100_000, `${last.heapBytes}, ${second.heapBytes}`);
  });
}
