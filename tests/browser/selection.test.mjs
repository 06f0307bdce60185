// The selection of the best k in headless Chromium, against sorting, in the workgroup memory that scans use on a processor, and in as
// much as they use on GPUs: with fewer and more candidates than the memory holds, ties, and equal bytes.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, openPage } from "./browser.mjs";
import { startServer } from "./server.mjs";
import { kernelTexts } from "./toy.mjs";

let browser, server, page, folder;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "data-attribution-selection-"));
  writeFileSync(join(folder, "blank.html"), "<!doctype html><title>selection</title>");
  server = await startServer(folder);
  browser = await launch();
  ({ page } = await openPage(browser, `${server.url}/blank.html`));
});
after(async () => {
  await browser?.close();
  await server?.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs in the page: the selected pairs of `pairs` (order, id, order, ...) and the state behind them. */
async function selected({ text, memory, pairs, k }) {
  globalThis.adapter ??= await navigator.gpu.requestAdapter();
  globalThis.device ??= await adapter.requestDevice({ requiredLimits: { maxComputeWorkgroupStorageSize: 32768 } });
  const n = pairs.length / 2;
  const buffer = (words, usage) => {
    const made = device.createBuffer({ size: Math.max(16, 4 * words.length), usage: usage | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
    device.queue.writeBuffer(made, 0, new Uint32Array(words));
    return made;
  };
  const { UNIFORM, STORAGE, MAP_READ, COPY_DST } = GPUBufferUsage;
  const buffers = [buffer([k, 0, 0, 0], UNIFORM), buffer([n, 0, 0, 0], STORAGE), buffer(pairs, STORAGE), buffer(Array(2 * Math.min(k, n)).fill(0), STORAGE)];
  device.pushErrorScope("validation");
  globalThis.pipelines ??= {};
  const compile = () => device.createComputePipelineAsync({ layout: "auto", compute: { module: device.createShaderModule({ code: text }), entryPoint: "main" } });
  const pipeline = (pipelines[memory] ??= await compile());
  const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
  const commands = device.createCommandEncoder();
  const pass = commands.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  const read = device.createBuffer({ size: 16 + buffers[3].size, usage: MAP_READ | COPY_DST });
  commands.copyBufferToBuffer(buffers[1], 0, read, 0, 16);
  commands.copyBufferToBuffer(buffers[3], 0, read, 16, buffers[3].size);
  device.queue.submit([commands.finish()]);
  const error = await device.popErrorScope();
  if (error) throw new Error(`${memory}: ${error.message}`);
  await read.mapAsync(1);
  return [...new Uint32Array(read.getMappedRange())];
}

/** Pairs in no order whose orders have few values where `ties`, and few bytes that differ. */
function candidates(n, ties) {
  const order = (i) => (Math.imul(i + 1, 0x9e3779b1) ^ (i >>> 3)) >>> 0;
  return Array.from({ length: n }, (_, i) => [ties ? 0xbf000000 + 65536 * (order(i) % 3) : 0xbf000000 + (order(i) >>> 12), (i * 7919) % n]).flat();
}

for (const memory of [2048, 16384, 32768]) {
  test(`the best of candidates are selected in ${memory >> 10} KiB`, async () => {
    const text = kernelTexts("bench-scan", "--memory", String(memory)).at(-1);
    for (const [n, k] of [[1, 1], [5, 9], [256, 255], [700, 100], [2000, 1000], [1792, 1792], [40001, 1000], [5003, 1]]) {
      for (const ties of [false, true]) {
        const pairs = candidates(n, ties);
        const sorted = Array.from({ length: n }, (_, i) => [pairs[2 * i], pairs[2 * i + 1]]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
        const wanted = sorted.slice(0, k);
        const [count, gathered, high, low, ...best] = await page.evaluate(selected, { text, memory, pairs, k });
        const what = `${n} candidates, k ${k}, ties ${ties}`;
        assert.deepEqual([count, gathered], [wanted.length, wanted.length], what);
        const found = Array.from(wanted, (_, i) => [best[2 * i], best[2 * i + 1]]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
        assert.deepEqual(found, wanted, what);
        // The threshold lets through what is no worse than the last of k.
        const passing = sorted.filter(([order, id]) => order > high || (order === high && ~id >>> 0 >= low));
        assert.equal(passing.length, k <= n ? wanted.length : n, what);
      }
    }
  });
}
