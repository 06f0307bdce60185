// A GPU that is lost at any stage of a query: the query ends in its right result, on the device's successor or on the CPU.
//
// The worker is served with a few lines that keep hold of its devices and destroy them at the first event of a stage.

import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { attribute, launch, openIndex, openPage } from "./browser.mjs";
import { startServer } from "./server.mjs";
import { makeSite, native, ROOT, run } from "./toy.mjs";

/** Between a native CPU and a browser's GPU. */
const CLOSE = 5e-4;
/** Where a device is lost: until the index is read, that is the same for both kinds. */
const STAGES = { demo: ["index", "hits"], clustered: ["device", "model", "preprocess", "embed", "index", "hits"] };
const INDEXES = Object.keys(STAGES);
let browser, server, site, image;
const expected = {};

before(async () => {
  site = makeSite(join(tmpdir(), `data-attribution-lost-${process.pid}`));
  image = join(site.folder, "demo/queries", site.queries[0]);
  run("pack", "--model", join(site.folder, "model-toy"), "--images", join(ROOT, "build/demo/works"), "--structure", "clustered",
    "--thumbnail", "0", "-o", join(site.folder, "clustered"));
  for (const index of INDEXES) expected[index] = native(join(site.folder, index), [image], 20)[0];
  server = await startServer(site.folder);
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Runs before the worker: `stage` is the type of an event, `losses` how many devices go, `adapters` how many there are. */
function destroyer({ stage, losses, adapters }) {
  const devices = [];
  let lost = 0, given = 0;
  const { requestAdapter } = GPU.prototype;
  GPU.prototype.requestAdapter = function (...options) {
    return ++given > adapters ? Promise.resolve(null) : requestAdapter.apply(this, options);
  };
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (...options) {
    const device = await requestDevice.apply(this, options);
    devices.push(device);
    return device;
  };
  const post = self.postMessage.bind(self);
  self.postMessage = (message, ...rest) => {
    const { event } = message;
    // Of an embedding, the middle.
    if (event?.type === stage && (stage !== "embed" || event.step > 0) && lost < losses && devices.length > lost) {
      devices[lost++].destroy();
      post({ ...message, event: { type: "lost" } });
    }
    post(message, ...rest);
  };
}

async function ask(index, options) {
  server.reset();
  server.faults.set("/worker.js", (count, body) => ({ body: `(${destroyer})(${JSON.stringify(options)});\n${body}` }));
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const info = await openIndex(page, `${server.url}/${index}/manifest.json`, { device: "webgpu" });
  assert.equal(info.error, undefined, info.message);
  const result = await attribute(page, `${server.url}/demo/queries/${site.queries[0]}`, { topK: 20 });
  const events = await page.evaluate(() => window.events);
  // Weights come from the cache the second time.
  const fetched = server.requests.filter((path) => path.includes("/model/"));
  assert.equal(fetched.length, new Set(fetched).size);
  await context.close();
  return { result, lost: events.filter(({ type }) => type === "lost").length };
}

function assertRight(result, index) {
  assert.equal(result.error, undefined, result.message);
  const wanted = new Map(expected[index].hits.map((hit) => [hit.id, hit]));
  const last = expected[index].hits.at(-1).score;
  assert.equal(result.hits.length, wanted.size);
  for (const hit of result.hits) {
    const twin = wanted.get(hit.id);
    if (!twin) assert.ok(hit.score - last < CLOSE, `${hit.id} is not among the native tool's`);
    else assert.ok(Math.abs(hit.score - twin.score) < CLOSE && Math.abs(hit.influence - twin.influence) < 1e-3);
  }
}

for (const index of INDEXES) {
  for (const stage of STAGES[index]) {
    test(`${index}: a GPU that is lost at the event "${stage}" is replaced by another`, async () => {
      const { result, lost } = await ask(index, { stage, losses: 1, adapters: 100 });
      assert.equal(lost, 1);
      assertRight(result, index);
      assert.equal(result.device, "webgpu");
    });
  }
}

test("without another GPU the CPU takes over", async () => {
  const { result, lost } = await ask("clustered", { stage: "embed", losses: 1, adapters: 1 });
  assert.equal(lost, 1);
  assertRight(result, "clustered");
  assert.equal(result.device, "cpu");
});

test("GPUs that are lost again and again leave the CPU", async () => {
  const { result, lost } = await ask("clustered", { stage: "embed", losses: 9, adapters: 100 });
  assert.ok(lost >= 2, `${lost}`);
  assertRight(result, "clustered");
  assert.equal(result.device, "cpu");
});
