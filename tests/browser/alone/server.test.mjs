// The server of the browser tests: what it answers to ranges, its faults, and its simulated line.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, test } from "node:test";
import { RANGE_FAULTS, serveInstead, startServer } from "../server.mjs";

const BYTES = Buffer.from(Uint8Array.from({ length: 1000 }, (_, i) => (i * 7) % 251));
let server, root;

before(async () => {
  root = mkdtempSync(join(tmpdir(), "data-attribution-server-"));
  writeFileSync(join(root, "a.bin"), BYTES);
  writeFileSync(join(root, "large.bin"), Buffer.alloc(250_000));
  server = await startServer(root);
});
afterEach(() => server.reset());
after(async () => {
  await server.close();
  rmSync(root, { recursive: true });
});

async function get(range, path = "a.bin") {
  const response = await fetch(`${server.url}/${path}`, { headers: range ? { Range: range } : {} });
  const { status, headers } = response;
  return { status, range: headers.get("content-range"), encoding: headers.get("content-encoding"), body: Buffer.from(await response.arrayBuffer()) };
}

test("whole files and ranges are the file's bytes", async () => {
  assert.deepEqual(await get(), { status: 200, range: null, encoding: null, body: BYTES });
  assert.deepEqual(await get("bytes=10-19"), { status: 206, range: "bytes 10-19/1000", encoding: null, body: BYTES.subarray(10, 20) });
  assert.deepEqual((await get("bytes=990-2000")).range, "bytes 990-999/1000");
  assert.deepEqual((await get("bytes=990-")).body, BYTES.subarray(990));
  assert.equal((await get("bytes=1000-1001")).status, 416);
  assert.deepEqual(server.ranges[0], { path: "/a.bin", first: 10, last: 19 });
  assert.deepEqual(server.answered.map(({ status, bytes }) => [status, bytes]), [[200, 1000], [206, 10], [206, 10], [206, 10], [416, 0]]);
});

test("each fault is what its name says", async () => {
  const part = BYTES.subarray(10, 20);
  const expected = {
    ignore: { status: 200, range: null, body: BYTES },
    compress: { status: 206, encoding: "gzip" },
    compressWhole: { status: 200, encoding: "gzip" },
    truncate: { status: 206, range: "bytes 10-19/1000", body: part.subarray(0, -1) },
    longer: { status: 206, body: Buffer.concat([part, Buffer.from([0])]) },
    elsewhere: { status: 206, range: "bytes 0-9/1000", body: BYTES.subarray(0, 10) },
    reorder: { status: 206, range: "bytes 10-19/1000", body: Buffer.from(part).reverse() },
    otherTotal: { status: 206, range: "bytes 10-19/1001", body: part },
    unsatisfiable: { status: 416, range: "bytes */1000" },
    busy: { status: 429 },
    unavailable: { status: 503 },
  };
  for (const [name, wanted] of Object.entries(expected)) {
    server.reset();
    server.faults.set("/a.bin", RANGE_FAULTS[name]);
    const found = await get("bytes=10-19");
    for (const [field, value] of Object.entries(wanted)) assert.deepEqual(found[field], value, `${name}: ${field}`);
  }
  server.reset();
  server.faults.set("/a.bin", RANGE_FAULTS.flipOnce);
  assert.notDeepEqual((await get("bytes=10-19")).body, part);
  assert.deepEqual((await get("bytes=10-19")).body, part);
  server.reset();
  server.faults.set("/a.bin", RANGE_FAULTS.dropOnce);
  await assert.rejects(get("bytes=10-19"));
  assert.deepEqual((await get("bytes=10-19")).body, part);
  server.reset();
  server.faults.set("/a.bin", serveInstead(Buffer.from("another file")));
  assert.equal((await get("bytes=0-6")).body.toString(), "another");
  assert.equal((await get("bytes=10-19")).range, "bytes 10-11/12");
});

test("a fault may wait for other requests", async () => {
  let release;
  const released = new Promise((done) => (release = done));
  server.faults.set("/a.bin", () => released);
  const slow = get();
  await get(null, "large.bin");
  release({ body: "late" });
  assert.equal((await slow).body.toString(), "late");
});

test("a simulated line has its latency once an answer and its rate over all of them", async () => {
  // Two answers of 250 kB at 8 Mbit/s are 500 ms, however many connections.
  Object.assign(server.line, { latencyMs: 40, bitsPerSecond: 8e6 });
  const start = performance.now();
  await Promise.all([get(null, "large.bin"), get(null, "large.bin")]);
  const elapsed = performance.now() - start;
  assert.ok(elapsed >= 530, `${elapsed} ms`);
  assert.ok(elapsed < 1500, `${elapsed} ms`);
});
