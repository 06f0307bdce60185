// What opening an index, asking it and disposing of it, again and again, leaves in memory.
//
//   node scripts/bench_memory.mjs [--cycles 100] [--devices webgpu,cpu] [--backbone NAME] [--out build/bench-memory]
//
// A tiny backbone, or with --backbone one of full size with generated weights. Writes curve.json and curve.svg and prints the
// first cycles and the last, each after a rest: the module's memory, the page's heap, buffers on the device, and the processes of the page
// (with the workers in it) and of the GPU. Wants a built project and its demo (scripts/demo --no-serve).

import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { launch } from "../tests/browser/browser.mjs";
import { cycles } from "../tests/browser/cycles.mjs";
import { startServer } from "../tests/browser/server.mjs";
import { makeSite, ROOT, run } from "../tests/browser/toy.mjs";

const { values } = parseArgs({
  options: {
    cycles: { type: "string", default: "100" }, devices: { type: "string", default: "webgpu,cpu" },
    backbone: { type: "string" }, out: { type: "string", default: join(ROOT, "build/bench-memory") },
  },
});
const count = Number(values.cycles);
/** Cycles that are printed. */
const told = [...new Set([0, 1, 9, count - 1])].filter((at) => at >= 0 && at < count);
/** A rest after those alone: the GPU process gives back a device's memory within some seconds, and the curve shows the others without. */
const REST_MS = 8000;
const CURVES = { wasmBytes: "#0b6e4f", heapBytes: "#b0401c", deviceBytes: "#0072b2", pageProcessBytes: "#c98500", gpuProcessBytes: "#8a8f98" };

const site = makeSite(join(tmpdir(), "data-attribution-memory"));
let index = "demo";
if (values.backbone) {
  index = values.backbone;
  run("toy-model", "--backbone", index, "--out", join(site.folder, `${index}-model`));
  const works = join(ROOT, "build/demo/works");
  run("pack", "--model", join(site.folder, `${index}-model`), "--images", join(works, readdirSync(works).sort()[0]), "--thumbnail", "0", "-o", join(site.folder, index));
}
const server = await startServer(site.folder);
const result = {};
for (const device of values.devices.split(",")) {
  // One of its own: what a browser has done before counts in its processes.
  const browser = await launch();
  result[device] = await cycles({
    browser, server, device, count, restMs: (i) => (told.includes(i) ? REST_MS : 0),
    manifest: `${server.url}/${index}/manifest.json`, query: `${server.url}/demo/queries/${site.queries[0]}`,
  });
  await browser.close();
}
await server.close();

mkdirSync(values.out, { recursive: true });
writeFileSync(join(values.out, "curve.json"), JSON.stringify(result));
console.log("| device | cycle | module, MB | page's heap, MB | on the device, MB | page's process, MB | workers in it | GPU process, MB |\n|---|--:|--:|--:|--:|--:|--:|--:|");
const megabytes = (bytes) => (bytes === null || bytes === undefined ? "-" : (bytes / 1e6).toFixed(1));
for (const [device, found] of Object.entries(result)) {
  for (const at of told) {
    const { wasmBytes, heapBytes, deviceBytes, pageProcessBytes, workers, gpuProcessBytes } = found[at];
    console.log(`| ${device} | ${at + 1} | ${[wasmBytes, heapBytes, deviceBytes, pageProcessBytes].map(megabytes).join(" | ")} | ${workers} | ${megabytes(gpuProcessBytes)} |`);
  }
}
writeFileSync(join(values.out, "curve.svg"), drawn(result));

function drawn(result) {
  const [left, top, width, height, gap] = [60, 30, 560, 180, 50];
  const devices = Object.entries(result);
  const parts = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 150} ${top + devices.length * (height + gap)}" font-family="sans-serif" font-size="12">`,
    '<rect width="100%" height="100%" fill="white"/>'];
  devices.forEach(([device, found], row) => {
    const y0 = top + row * (height + gap) + height;
    const most = Math.max(...found.flatMap((cycle) => Object.keys(CURVES).map((key) => cycle[key] ?? 0)));
    parts.push(`<text x="${left}" y="${y0 - height - 8}" font-weight="bold">${device}: MB after each cycle</text>`, `<path d="M${left} ${y0 - height}V${y0}H${left + width}" fill="none" stroke="#555"/>`,
      `<text x="${left - 6}" y="${y0 - height + 4}" text-anchor="end">${(most / 1e6).toFixed(0)}</text>`, `<text x="${left + width}" y="${y0 + 16}" text-anchor="end">${found.length} cycles</text>`);
    Object.entries(CURVES).forEach(([key, colour], i) => {
      if (!found[0][key]) return;
      const points = found.map((cycle, at) => `${(left + (width * at) / Math.max(found.length - 1, 1)).toFixed(1)},${(y0 - (height * cycle[key]) / most).toFixed(1)}`);
      parts.push(`<polyline points="${points.join(" ")}" fill="none" stroke="${colour}" stroke-width="2"/>`, `<text x="${left + width + 10}" y="${y0 - height + 16 * (i + 1)}" fill="${colour}">${key.replace("Bytes", "")}</text>`);
    });
  });
  return `${parts.join("\n")}\n</svg>\n`;
}
