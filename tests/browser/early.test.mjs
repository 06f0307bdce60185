// The manifest is asked for while the program is on its way, once, and nothing else changes by that.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { launch, openIndex, openPage, stored } from "./browser.mjs";
import { startServer } from "./server.mjs";
import { ROOT } from "./toy.mjs";

const MANIFEST = "/demo/manifest.json";
let browser, server;

before(async () => {
  server = await startServer(join(ROOT, "www"));
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

/** Holds the program back until the manifest was asked for, or for so long that it shows. */
function heldBack() {
  const asked = new Promise((done) => {
    setTimeout(() => done(false), 10_000).unref();
    server.faults.set(MANIFEST, () => void done(true));
  });
  server.faults.set("/wasm/", () => asked.then(() => undefined));
  return asked;
}

const open = (page) => openIndex(page, `${server.url}${MANIFEST}`, { device: "cpu" });

test("the manifest is asked for before the program has come, and once; offline the kept one serves", async () => {
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const asked = heldBack();
  assert.equal((await open(page)).error, undefined);
  assert.equal(await asked, true);
  assert.equal(times(MANIFEST), 1);
  // With the program there, the program asks.
  assert.equal((await open(page)).error, undefined);
  assert.equal(times(MANIFEST), 2);
  await stored(page);
  await page.reload();
  server.faults.set(MANIFEST, () => "drop");
  assert.equal((await open(page)).error, undefined);
  await context.close();
});

test("an answer that fails is asked for again, one that is no manifest is told as ever", async () => {
  const of = async (fault) => {
    const { context, page } = await openPage(browser, `${server.url}/blank.html`);
    server.requests.length = 0;
    server.counts.clear();
    server.faults.set(MANIFEST, fault);
    const { error } = await open(page);
    await context.close();
    return [error, times(MANIFEST)];
  };
  assert.deepEqual(await of((count) => (count === 1 ? { status: 503, headers: { "Retry-After": "0" } } : undefined)), [undefined, 2]);
  assert.deepEqual(await of(() => ({ status: 404 })), ["not-found", 1]);
  assert.deepEqual(await of(() => ({ body: "<!doctype html>" })), ["format", 1]);
  const [error] = await of((count) => (count <= 2 ? "drop" : undefined));
  assert.equal(error, undefined);
});

test("who cancels while the program is on its way is heard", async () => {
  const { context, page, problems } = await openPage(browser, `${server.url}/blank.html`);
  let letGo;
  const held = new Promise((done) => (letGo = done));
  server.faults.set("/wasm/", () => held);
  server.faults.set(MANIFEST, () => held);
  const name = await page.evaluate(async (manifest) => {
    const { Attributor } = await import("/data-attribution.js");
    const abort = new AbortController();
    const opening = Attributor.open(manifest, { device: "cpu", signal: abort.signal });
    setTimeout(() => abort.abort(), 300);
    return opening.then(() => "opened", (error) => error.name);
  }, `${server.url}${MANIFEST}`);
  assert.equal(name, "AbortError");
  letGo();
  server.faults.delete("/wasm/");
  server.faults.delete(MANIFEST);
  assert.equal((await open(page)).error, undefined);
  assert.deepEqual(problems, []);
  await context.close();
});
