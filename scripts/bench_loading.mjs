// What a page's scripts hold while a backbone is loaded: sampled, file by file.
//
//   node scripts/bench_loading.mjs [--backbones dinov2-s14,dino] [--devices webgpu,cpu] [--out build/bench-memory]
//
// Backbones of full size with generated weights. While an index is opened, the heaps of the page and of the worker, and the array buffers
// that they hold, are read every few milliseconds through the browser's own protocol; a sample waits until the thread is idle, so what
// lives and dies within one task is not seen. The module's memory is read after a query: it never shrinks, so that is its peak. Writes
// loading.json and prints a line for each; the goal on a GPU, for all of them together, is the largest file and 32 MB. Wants a built project and its
// demo (scripts/demo --no-serve).

import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launch, openPage } from "../tests/browser/browser.mjs";
import { memoryTold } from "../tests/browser/cycles.mjs";
import { startServer } from "../tests/browser/server.mjs";
import { makeSite, ROOT, run } from "../tests/browser/toy.mjs";
import { workersOf } from "../tests/browser/workers.mjs";

const { values } = parseArgs({
  options: {
    backbones: { type: "string", default: "dinov2-s14,dino" }, devices: { type: "string", default: "webgpu,cpu" },
    out: { type: "string", default: join(ROOT, "build/bench-memory") },
  },
});
const PAUSE_MS = 4;
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function loading(browser, server, index, device) {
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const ofPage = await context.newCDPSession(page);
  const workers = await workersOf(ofPage);
  server.answered.length = 0;
  let opening = true;
  const samples = [];
  const sampled = (async () => {
    while (opening) {
      const heaps = [await ofPage.send("Runtime.getHeapUsage"), ...(await workers.all("Runtime.getHeapUsage"))].filter(Boolean);
      const sum = (key) => heaps.reduce((total, heap) => total + (heap[key] ?? 0), 0);
      samples.push({ at: performance.now(), heap: sum("usedSize"), buffers: sum("backingStorageSize") });
      await pause(PAUSE_MS);
    }
  })();
  const used = await page.evaluate(async ([manifest, device]) => {
    const { Attributor } = await import("/data-attribution.js");
    window.attributor = await Attributor.open(manifest, { device });
    return window.attributor.info.device;
  }, [`${server.url}/${index}/manifest.json`, device]);
  opening = false;
  await Promise.race([sampled, pause(2000)]);
  const wasmBytes = await page.evaluate(async (image) => (await window.attributor.attribute(image, { topK: 1 })).wasmBytes,
    `${server.url}/demo/queries/${site.queries[0]}`);
  await context.close();
  const files = server.answered.filter(({ path }) => path.includes("/model/")).map(({ bytes }) => bytes);
  const peak = (key) => Math.max(...samples.map((sample) => sample[key]));
  return {
    index, device: used, wasmBytes, samples: samples.length, files: files.length, largestFile: Math.max(...files),
    heapPeak: peak("heap"), buffersPeak: peak("buffers"), together: Math.max(...samples.map(({ heap, buffers }) => heap + buffers)),
  };
}

const site = makeSite(join(tmpdir(), "data-attribution-loading"));
const server = await startServer(site.folder);
server.faults.set("/worker.js", (n, body) => ({ body: `(${memoryTold})();\n${body}` }));
const browser = await launch();
const results = [];
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
console.log("| backbone | device | files | largest, MB | module, MB | scripts' heap, peak, MB | array buffers, peak, MB | all three at most, MB | samples |\n|---|---|--:|--:|--:|--:|--:|--:|--:|");
for (const index of values.backbones.split(",")) {
  if (!existsSync(join(site.folder, index))) {
    const works = join(ROOT, "build/demo/works");
    run("toy-model", "--backbone", index, "--out", join(site.folder, `${index}-model`));
    run("pack", "--model", join(site.folder, `${index}-model`), "--images", join(works, readdirSync(works).sort()[0]), "--thumbnail", "0", "-o", join(site.folder, index));
  }
  for (const device of values.devices.split(",")) {
    const line = await loading(browser, server, index, device);
    results.push(line);
    console.log(`| ${index} | ${device} | ${line.files} | ${[line.largestFile, line.wasmBytes, line.heapPeak, line.buffersPeak, line.wasmBytes + line.together].map(megabytes).join(" | ")} | ${line.samples} |`);
  }
}
await browser.close();
await server.close();
mkdirSync(values.out, { recursive: true });
writeFileSync(join(values.out, "loading.json"), JSON.stringify(results));
