// Files of weights are checked by a helper where there is one: with it, without it and where it dies answers are the same.

import assert from "node:assert/strict";
import { readFileSync, readdirSync, statSync } from "node:fs";
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
  serve();
  server.faults.set(HELPER, () => ({ status: 404 }));
  expected = await visit();
  assert.equal(expected.hits.length, 10, expected.message);
  assert.deepEqual(expected.digested, []);
});
beforeEach(() => server.reset());
after(async () => {
  await browser?.close();
  await server?.close();
});

/** Serves the site, and with a `helper`, the text that its script becomes, no weights before it runs: they would be checked without it. */
function serve(helper) {
  server.faults.set("/blank.html", () => ({ body: "<!doctype html><title>test</title>" }));
  if (!helper) return;
  const runs = new Promise((done) => {
    // A helper that never comes shows in what it should have done.
    setTimeout(done, 10_000).unref();
    server.faults.set("/helper-runs", () => {
      setTimeout(done, 100);
      return { body: "" };
    });
  });
  server.faults.set(WEIGHTS, () => runs.then(() => undefined));
  server.faults.set(HELPER, (count, body) => ({ body: `fetch("/helper-runs");\n${helper(body)}` }));
}

/** A helper that does `answer` with what it gets, and `port`. */
const answering = (answer) => () => `onmessage = ({ data: { port } }) => {
  port.onmessage = ({ data: { number, bytes } }) => { ${answer}; };
  port.postMessage({ ready: true });
};`;

/** The helper as it is, which tells the page of each digest. */
const telling = (body) => `(${function () {
  const { digest } = SubtleCrypto.prototype, channel = new BroadcastChannel("digests");
  SubtleCrypto.prototype.digest = function (name, bytes) {
    channel.postMessage(bytes.byteLength);
    return digest.call(this, name, bytes);
  };
}})();\n${body}`;

/** Asks the demo on the CPU, in a page of its own: the hits or the error, and the lengths of what the helper has digested. */
async function visit() {
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  await page.evaluate(() => {
    window.digested = [];
    new BroadcastChannel("digests").onmessage = ({ data }) => window.digested.push(data);
  });
  const info = await openIndex(page, `${server.url}/demo/manifest.json`, { device: "cpu" });
  const { error, message, hits = [] } = info.error ? info : await attribute(page, `${server.url}/demo/queries/${query}`, { topK: 10 });
  const digested = await page.evaluate(() => window.digested);
  await context.close();
  return { error, message, digested, hits: hits.map(({ id, score }) => [id, score]) };
}

const lengthOf = (file) => statSync(join(WWW, file)).size;

test("the helper checks all weights, and each is fetched once; it is the page's", async () => {
  serve(telling);
  // A worker that had one of its own would now and then outlive dispose().
  server.faults.set("/worker.js", (count, body) => ({ body: `delete self.Worker;\n${body}` }));
  const { hits, digested } = await visit();
  assert.deepEqual(hits, expected.hits);
  for (const length of files.map(lengthOf)) {
    assert.ok(digested.includes(length), `${length} of ${digested}`);
    digested.splice(digested.indexOf(length), 1);
  }
  for (const file of files) assert.equal(server.counts.get(file), 1, file);
});

test("what a helper loses as it dies is fetched again", async () => {
  serve(answering("throw new Error('the helper dies')"));
  const { hits, message } = await visit();
  assert.deepEqual(hits, expected.hits, message);
  assert.ok(files.some((file) => server.counts.get(file) === 2));
});

test("where a helper cannot digest, files are checked all the same", async () => {
  const mute = answering("port.postMessage({ number, bytes, digest: null }, [bytes.buffer])");
  serve(mute);
  const { hits, message } = await visit();
  assert.deepEqual(hits, expected.hits, message);
  serve(mute);
  server.faults.set(files[0], damaged);
  assert.equal((await visit()).error, "integrity");
});

test("a wrong bit is found by the helper, and named", async () => {
  serve(telling);
  const file = files.at(-1);
  server.faults.set(file, damaged);
  const { error, message, digested } = await visit();
  assert.equal(error, "integrity", message);
  assert.ok(message.includes(file.slice("/demo/".length)), message);
  // Once as it came, and once as it came past the browser's cache.
  assert.ok(digested.filter((length) => length === lengthOf(file)).length >= 2, `${digested}`);
});

function damaged(count, body) {
  const copy = Buffer.from(body);
  copy[copy.length >> 1] ^= 1;
  return { body: copy };
}
