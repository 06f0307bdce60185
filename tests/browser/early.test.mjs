// What opening an index asks for first is on its way while the program is, once, and changes nothing else.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { launch, openIndex, openPage, stored } from "./browser.mjs";
import { startServer } from "./server.mjs";
import { ROOT } from "./toy.mjs";

const WWW = join(ROOT, "www"), MANIFEST = "/demo/manifest.json";
const head = JSON.parse(readFileSync(join(WWW, MANIFEST))).backbone.head.file, HEAD = `/demo/${head}`;
let browser, server;

before(async () => {
  server = await startServer(WWW);
  browser = await launch();
});
beforeEach(() => {
  server.reset();
  server.faults.set("/blank.html", () => ({ body: "<!doctype html><title>test</title>" }));
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const times = (path) => server.requests.filter((asked) => asked === path).length;

/** Holds the program back until `path` was asked for, or for so long that it shows. */
function holdBack(path) {
  const asked = new Promise((done) => {
    setTimeout(() => done(false), 10_000).unref();
    server.faults.set(path, () => void done(true));
  });
  server.faults.set("/wasm/", () => asked.then(() => undefined));
  return asked;
}

async function open(page) {
  const info = await openIndex(page, `${server.url}${MANIFEST}`, { device: "cpu" });
  assert.equal(info.error, undefined, info.message);
}

test("manifest and head are asked for before the program has come, each once; a head that is kept is not", async () => {
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const asked = holdBack(HEAD);
  await open(page);
  assert.equal(await asked, true);
  assert.deepEqual([times(MANIFEST), times(HEAD)], [1, 1]);
  await stored(page);
  await page.reload();
  server.reset();
  server.faults.set("/blank.html", () => ({ body: "<!doctype html><title>test</title>" }));
  const again = holdBack(MANIFEST);
  await open(page);
  assert.equal(await again, true);
  assert.deepEqual([times(MANIFEST), times(HEAD)], [1, 0]);
  // With the program there, the program asks.
  await open(page);
  assert.deepEqual([times(MANIFEST), times(HEAD)], [2, 0]);
  await context.close();
});

test("what breaks off or is not there early is asked for again or told as ever", async () => {
  for (const fault of [(count) => (count === 1 ? "drop" : undefined), (count) => (count === 1 ? { status: 503, headers: { "Retry-After": "0" } } : undefined)]) {
    const { context, page } = await openPage(browser, `${server.url}/blank.html`);
    server.counts.clear();
    for (const path of [MANIFEST, HEAD]) server.faults.set(path, fault);
    await open(page);
    await context.close();
  }
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  server.faults.set(MANIFEST, () => ({ status: 404 }));
  assert.equal((await openIndex(page, `${server.url}${MANIFEST}`, { device: "cpu" })).error, "not-found");
  // Other bytes than the manifest pins.
  server.faults.delete(MANIFEST);
  server.faults.set(HEAD, (count, body) => (count === 1 ? { body: Buffer.from(body).fill(32) } : undefined));
  server.counts.clear();
  await page.reload();
  await open(page);
  await context.close();
});

test("a manifest that names a head elsewhere lets nothing be asked for there", async () => {
  const { context, page, problems } = await openPage(browser, `${server.url}/blank.html`);
  for (const file of ["../worker.js", "/elsewhere.json", "http://127.0.0.2:9/elsewhere.json"]) {
    const manifest = JSON.parse(readFileSync(join(WWW, MANIFEST)));
    manifest.backbone.head.file = file;
    server.faults.set(MANIFEST, () => ({ body: JSON.stringify(manifest) }));
    server.requests.length = 0;
    await page.reload();
    assert.equal((await openIndex(page, `${server.url}${MANIFEST}`, { device: "cpu" })).error, "format");
    const asked = server.requests.filter((path) => !/^\/(wasm\/|blank\.html|[\w-]+\.js$)/.test(path));
    assert.deepEqual(asked, [MANIFEST]);
    assert.equal(times("/worker.js"), 1);
  }
  assert.deepEqual(problems, []);
  await context.close();
});
