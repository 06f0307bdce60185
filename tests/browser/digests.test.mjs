// Files of weights are checked by a helper where there is one: with it, without it and where it dies answers are the same.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { attribute, launch, openIndex, openPage } from "./browser.mjs";
import { startServer } from "./server.mjs";
import { ROOT } from "./toy.mjs";

const WWW = join(ROOT, "www"), WEIGHTS = "/demo/model/weights/", HELPER = "/digest-worker.js";
const files = readdirSync(join(WWW, WEIGHTS)).map((file) => WEIGHTS + file);
const [{ file: query }] = JSON.parse(readFileSync(join(WWW, "demo/queries.json")));
let browser, server, expected;

before(async () => {
  server = await startServer(WWW);
  browser = await launch();
  setUp();
  server.faults.set(HELPER, () => ({ status: 404 }));
  expected = await visit();
  assert.equal(expected.hits.length, 10, expected.message);
  assert.equal(expected.digested, 0);
});
beforeEach(setUp);
after(async () => {
  await browser?.close();
  await server?.close();
});

function setUp() {
  server.reset();
  server.faults.set("/blank.html", () => ({ body: "<!doctype html><title>test</title>" }));
  // Until the helper has started, files are checked without it.
  server.faults.set(WEIGHTS, () => new Promise((done) => setTimeout(done, 500)));
  server.faults.set(HELPER, (count, body) => ({ body: `(${telling})();\n${body}` }));
}

/** Runs before the helper: tells the page of each digest. */
function telling() {
  const { digest } = SubtleCrypto.prototype, channel = new BroadcastChannel("digests");
  SubtleCrypto.prototype.digest = function (...given) {
    channel.postMessage("one");
    return digest.apply(this, given);
  };
}

/** Asks the demo on the CPU, in a page of its own: the hits or the error, and how many files the helper has digested. */
async function visit() {
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  await page.evaluate(() => {
    window.digested = 0;
    new BroadcastChannel("digests").onmessage = () => (window.digested += 1);
  });
  const info = await openIndex(page, `${server.url}/demo/manifest.json`, { device: "cpu" });
  const { error, message, hits = [] } = info.error ? info : await attribute(page, `${server.url}/demo/queries/${query}`, { topK: 10 });
  const digested = await page.evaluate(() => window.digested);
  await context.close();
  return { error, message, digested, hits: hits.map(({ id, score }) => [id, score]) };
}

test("the helper checks all weights, and each is fetched once", async () => {
  const { hits, digested } = await visit();
  assert.deepEqual(hits, expected.hits);
  assert.ok(digested >= files.length, `${digested} of ${files.length} files`);
  for (const file of files) assert.equal(server.counts.get(file), 1, file);
});

test("what a helper loses as it dies is fetched again", async () => {
  server.faults.set(HELPER, () => ({ body: "postMessage({ ready: true }); onmessage = () => { throw new Error('the helper dies'); };" }));
  const { hits, message } = await visit();
  assert.deepEqual(hits, expected.hits, message);
  assert.ok(files.some((file) => server.counts.get(file) === 2));
});

test("where a helper cannot digest, files are checked all the same", async () => {
  const mute = "postMessage({ ready: true }); onmessage = ({ data: { number, bytes } }) => postMessage({ number, bytes, digest: null }, [bytes.buffer]);";
  server.faults.set(HELPER, () => ({ body: mute }));
  const { hits, message } = await visit();
  assert.deepEqual(hits, expected.hits, message);
  server.faults.set(files[0], damaged);
  assert.equal((await visit()).error, "integrity");
});

test("a wrong bit is found by the helper, and named", async () => {
  server.faults.set(files.at(-1), damaged);
  const { error, message, digested } = await visit();
  assert.equal(error, "integrity", message);
  assert.ok(message.includes(files.at(-1).slice("/demo/".length)), message);
  assert.ok(digested >= 1);
});

function damaged(count, body) {
  const copy = Buffer.from(body);
  copy[copy.length >> 1] ^= 1;
  return { body: copy };
}
