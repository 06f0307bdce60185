// Where the time of a forward pass goes on the CPU, or that of opening a model, function by function, in headless Chromium.
//
//   node scripts/bench_profile.mjs INDEX [--runs 10] [--opening] [--image PNG]
//
// INDEX is a packed index, such as build/bench-embed/dinov2-s14/ours-int8. The module keeps its functions' names (as
// scripts/size-breakdown makes it from the last module that was built, the relaxed one after scripts/build page); the browser's sampling
// profiler watches the worker while an image is embedded again and again, or while the index is opened. Prints each function's own share.

import { copyFileSync, existsSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { launch, openPage } from "../tests/browser/browser.mjs";
import { startServer } from "../tests/browser/server.mjs";
import { makeSite, ROOT } from "../tests/browser/toy.mjs";
import { workersOf } from "../tests/browser/workers.mjs";

const { values, positionals: [index] } = parseArgs({
  allowPositionals: true, options: { runs: { type: "string", default: "10" }, opening: { type: "boolean" }, image: { type: "string" } },
});
const named = join(ROOT, "build/bindgen/named.wasm");
if (!index || !existsSync(named)) throw new Error("usage: scripts/bench_profile.mjs INDEX, after scripts/size-breakdown");
const SAMPLE_US = 250;
const WARM_RUNS = 3;

const site = makeSite(join(tmpdir(), "data-attribution-profile"));
for (const form of ["", "_relaxed"]) copyFileSync(named, join(site.folder, `wasm/data_attribution${form}_bg.wasm`));
symlinkSync(resolve(index), join(site.folder, "profiled"));
if (values.image) copyFileSync(values.image, join(site.folder, "demo/queries", site.queries[0]));
const server = await startServer(site.folder);
const browser = await launch();
const { context, page } = await openPage(browser, `${server.url}/blank.html`);
const workers = await workersOf(await context.newCDPSession(page));
const embed = (runs) => page.evaluate(async ([image, runs]) => {
  const times = [];
  for (let i = 0; i < runs; i++) times.push((await window.attributor.attribute(image, { topK: 1 })).timings.embedMs);
  return times;
}, [`${server.url}/demo/queries/${site.queries[0]}`, runs]);

const open = (folder) => page.evaluate(async (manifest) => {
  const { Attributor } = await import("/data-attribution.js");
  const start = performance.now();
  window.attributor = await Attributor.open(manifest, { device: "cpu" });
  return [performance.now() - start];
}, `${server.url}/${folder}/manifest.json`);

// The worker comes with the first index that is opened; all others share it.
await open("demo");
if (!values.opening) {
  await open("profiled");
  await embed(WARM_RUNS);
}
await workers.all("Profiler.enable");
await workers.all("Profiler.setSamplingInterval", { interval: SAMPLE_US });
await workers.all("Profiler.start");
const times = values.opening ? await open("profiled") : await embed(Number(values.runs));
const [stopped] = await workers.all("Profiler.stop");
if (!stopped) throw new Error("the worker gave no profile");
const { profile } = stopped;
await context.close();
await browser.close();
await server.close();

const own = new Map();
const placeOf = ({ url, lineNumber, columnNumber }) => `${url.replace(/^.*\//, "")}:${lineNumber + 1}:${columnNumber + 1}`;
const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame.functionName || placeOf(callFrame)]));
let busy = 0;
profile.samples.forEach((id, i) => {
  const name = names.get(id);
  if (name === "(idle)" || name === "(program)") return;
  const us = profile.timeDeltas[i + 1] ?? 0;
  busy += us;
  own.set(name, (own.get(name) ?? 0) + us);
});
const short = (name) => name.replace(/\[[0-9a-f]{16}\]/g, "").replace(/data_attribution::/g, "");
const unit = values.opening ? "opening" : "image";
console.log(`${times.length} times, ${times.map((ms) => ms.toFixed(0)).join(" ")} ms, idle for the rest\n\n| function | ms an ${unit} | share |\n|---|--:|--:|`);
for (const [name, us] of [...own].sort((a, b) => b[1] - a[1]).filter(([, us]) => us > 0.005 * busy)) {
  console.log(`| \`${short(name)}\` | ${(us / 1e3 / times.length).toFixed(1)} | ${((100 * us) / busy).toFixed(1)} % |`);
}
