// Every backbone at its full size, with generated weights, in headless Chromium against the native tool.
//
//   node scripts/check_backbones.mjs [--precision int8] [--devices cpu,webgpu] [BACKBONE...]
//
// Packs the demo works of one artist with each and asks about two images on each device. Prints, a row each, the bytes of the weights,
// the milliseconds of one embedding in the browser and the largest difference of a score from the native tool's; ends with
// status 1 where that exceeds TOLERANCE. Wants a built project and its demo (scripts/demo --no-serve).

import { cpSync, mkdirSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { attribute, launch, openIndex, openPage } from "../tests/browser/browser.mjs";
import { startServer } from "../tests/browser/server.mjs";
import { makeSite, native, ROOT, run } from "../tests/browser/toy.mjs";

/** Browser and native round activations on their own: 1e-4 was measured, for 7 bits of a ResNet's too; tokens of 8 bits are not tried here. */
const TOLERANCE = 5e-4;
const ARTISTS = 1;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { precision: { type: "string", default: "int8" }, devices: { type: "string", default: "cpu,webgpu" } },
});
const names = positionals.length ? positionals : ["clip", "dino", "moco", "vit", "sscd", "dinov2-s14", "dinov2-b14"];
const site = makeSite(join(tmpdir(), "data-attribution-full-size"));
const queries = site.queries.slice(0, 2);
const images = queries.map((name) => join(site.folder, "demo/queries", name));
const works = join(site.folder, "works");
mkdirSync(works, { recursive: true });
for (const name of readdirSync(join(ROOT, "build/demo/works")).sort().slice(0, ARTISTS)) {
  cpSync(join(ROOT, "build/demo/works", name), join(works, name), { recursive: true });
}

const server = await startServer(site.folder);
const browser = await launch();
let wrong = 0;
console.log(`| backbone, ${values.precision} | MB | device | embedding, ms | largest difference of a score |\n|---|--:|---|--:|--:|`);
for (const name of names) {
  const model = join(site.folder, `${name}-model`);
  run("toy-model", "--backbone", name, "--precision", values.precision, "--out", model);
  run("pack", "--model", model, "--images", works, "--thumbnail", "0", "-o", join(site.folder, name));
  const expected = native(join(site.folder, name), images, 1000);
  for (const device of values.devices.split(",")) {
    const { context, page } = await openPage(browser, `${server.url}/blank.html`);
    const info = await openIndex(page, `${server.url}/${name}/manifest.json`, { device });
    if (info.error) throw new Error(`${name} on ${device}: ${info.message}`);
    let difference = 0, milliseconds = 0;
    for (const [i, query] of queries.entries()) {
      const result = await attribute(page, `${server.url}/demo/queries/${query}`, { topK: 1000 });
      if (result.error) throw new Error(`${name} on ${device}: ${result.message}`);
      const scores = new Map(result.hits.map((hit) => [hit.id, hit.score]));
      for (const hit of expected[i].hits) difference = Math.max(difference, Math.abs(scores.get(hit.id) - hit.score));
      // The first has cold shaders.
      milliseconds = result.timings.embedMs;
    }
    // A missing id makes the difference NaN, which is no agreement either.
    if (!(difference < TOLERANCE)) wrong++;
    console.log(`| ${name} | ${(info.modelBytes / 1e6).toFixed(1)} | ${info.device} | ${milliseconds.toFixed(0)} | ${difference.toExponential(1)} |`);
    await context.close();
  }
}
await browser.close();
await server.close();
process.exitCode = wrong ? 1 : 0;
