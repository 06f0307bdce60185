// A static server for tests that can misbehave like real hosts do.
//
// `faults` maps the start of a path to a function (request number for that path, bytes, path, range) that returns, or
// promises, what to answer instead: {status, body, headers}, "drop" to cut the connection, or undefined for the truth.
// `range` is {first, last}, or null for a whole file. RANGE_FAULTS below are faults of hosts with ranges.
//
// `line` simulates a line: `latencyMs` before each answer, `bitsPerSecond` shared by all answers; zeros for none.
//
// `requests` lists the paths asked for, `ranges` {path, first, last} of those with a range, `answered` {path, status,
// bytes, at} of the answers that were sent whole, `at` in milliseconds of the wall's clock.

import { createServer } from "node:http";
import { createSecureServer } from "node:http2";
import { readFileSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { gzipSync } from "node:zlib";

const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".svg": "image/svg+xml",
  ".wasm": "application/wasm", ".jpg": "image/jpeg", ".png": "image/png", ".bin": "application/octet-stream",
};
const now = () => performance.timeOrigin + performance.now();
/** Bytes that go over a simulated line at once. */
const PIECE = 16384;

const partOf = (body, { first, last }) => body.subarray(first, last + 1);
const contentRange = (body, { first, last }) => ({ "Content-Range": `bytes ${first}-${last}/${body.length}` });

/** Faults of hosts that are asked for ranges; whole files stay true. */
export const RANGE_FAULTS = {
  /** Answers with the whole file. */
  ignore: (count, body, path, range) => range && { body },
  /** Compresses what it sends, and says so. */
  compress: (count, body, path, range) => range
    && { status: 206, body: gzipSync(partOf(body, range)), headers: { ...contentRange(body, range), "Content-Encoding": "gzip" } },
  /** Compresses, sends the whole file. */
  compressWhole: (count, body, path, range) => range && { body: gzipSync(body), headers: { "Content-Encoding": "gzip" } },
  /** Leaves out the last byte. */
  truncate: (count, body, path, range) => range
    && { status: 206, body: partOf(body, range).subarray(0, -1), headers: contentRange(body, range) },
  /** Sends a byte more. */
  longer: (count, body, path, range) => range
    && { status: 206, body: Buffer.concat([partOf(body, range), Buffer.from([0])]), headers: contentRange(body, range) },
  /** Sends the start of the file, and says so. */
  elsewhere: (count, body, path, range) => {
    if (!range) return undefined;
    const start = { first: 0, last: range.last - range.first };
    return { status: 206, body: partOf(body, start), headers: contentRange(body, start) };
  },
  /** Sends other bytes of the file as if they were those asked for: all in reverse order. */
  reorder: (count, body, path, range) => range
    && { status: 206, body: Buffer.from(partOf(body, range)).reverse(), headers: contentRange(body, range) },
  /** One wrong bit in every range. */
  flip: (count, body, path, range) => range && { status: 206, body: flipped(partOf(body, range)), headers: contentRange(body, range) },
  /** One wrong bit in the first range of each file. */
  flipOnce: (count, body, path, range) => (count === 1 ? RANGE_FAULTS.flip(count, body, path, range) : undefined),
  /** States another length of the file, as a host with an old file does. */
  otherTotal: (count, body, path, range) => range
    && { status: 206, body: partOf(body, range), headers: { "Content-Range": `bytes ${range.first}-${range.last}/${body.length + 1}` } },
  unsatisfiable: (count, body, path, range) => range && { status: 416, headers: { "Content-Range": `bytes */${body.length}` } },
  /** Too many requests: twice, with a pause to keep. */
  busy: (count) => (count <= 2 ? { status: 429, headers: { "Retry-After": "0" } } : undefined),
  unavailable: (count) => (count <= 2 ? { status: 503, headers: { "Retry-After": "0" } } : undefined),
  /** Cuts the first connection for each file. */
  dropOnce: (count) => (count === 1 ? "drop" : undefined),
  offline: () => "drop",
};

/** A fault that serves `bytes` in place of the true file, in ranges too. */
export function serveInstead(bytes) {
  return (count, body, path, range) => truth(bytes, range);
}

function flipped(bytes) {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] ^= 4;
  return copy;
}

/** {first, last} of a request, cut at the end of the file; null without a range that can be read. */
function rangeOf(header, length) {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(header ?? "") ?? [];
  if (first === undefined) return null;
  return { first: Number(first), last: Math.min(last === "" ? Infinity : Number(last), length - 1) };
}

function truth(body, range) {
  if (!range) return { body, headers: { "Accept-Ranges": "bytes" } };
  if (range.first >= body.length || range.last < range.first) {
    return { status: 416, headers: { "Content-Range": `bytes */${body.length}` } };
  }
  const found = { first: range.first, last: Math.min(range.last, body.length - 1) };
  return { status: 206, body: partOf(body, found), headers: contentRange(body, found) };
}

/** Read at once: in pieces, beside other work, it takes a multiple of the processor's time, which what is measured lacks. */
function fileAt(path) {
  try {
    return readFileSync(path);
  } catch {
    return null;
  }
}

/** Serves `root`; with `tls` {key, cert} over HTTP/2. */
export async function startServer(root, tls) {
  const state = {
    faults: new Map(), requests: [], counts: new Map(), ranges: [], answered: [], line: { latencyMs: 0, bitsPerSecond: 0 },
  };
  const send = sender(state.line);
  const answerTo = async (request, response) => {
    let path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    if (path.endsWith("/")) path += "index.html";
    state.requests.push(path);
    const count = (state.counts.get(path) ?? 0) + 1;
    state.counts.set(path, count);
    const body = fileAt(join(root, normalize(path)));
    const range = rangeOf(request.headers.range, body?.length ?? Infinity);
    if (range) state.ranges.push({ path, ...range });
    let answer;
    for (const [prefix, fault] of state.faults) {
      if (answer || !path.startsWith(prefix)) continue;
      answer = await fault(count, body, path, range);
      if (answer === "drop") return request.socket.destroy();
    }
    answer ??= body ? truth(body, range) : { status: 404, body: "not found", headers: { "Content-Type": "text/plain" } };
    const bytes = Buffer.isBuffer(answer.body) ? answer.body : Buffer.from(answer.body ?? "");
    response.on("finish", () => state.answered.push({ path, status: response.statusCode, bytes: bytes.length, at: now() }));
    const status = answer.status ?? 200;
    const headers = { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream", "Cache-Control": "no-cache", ...answer.headers };
    await send(response, status, headers, bytes);
  };
  const server = tls ? createSecureServer(tls, answerTo) : createServer(answerTo);
  const sessions = new Set();
  server.on("session", (session) => void sessions.add(session.once("close", () => sessions.delete(session))));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    ...state,
    url: `${tls ? "https" : "http"}://localhost:${server.address().port}`,
    reset() {
      state.faults.clear();
      state.counts.clear();
      for (const list of [state.requests, state.ranges, state.answered]) list.length = 0;
      Object.assign(state.line, { latencyMs: 0, bitsPerSecond: 0 });
    },
    close: () => new Promise((done) => {
      server.closeAllConnections?.();
      for (const session of sessions) session.destroy();
      server.close(done);
    }),
  };
}

/** Sends answers over `line`: pieces of all answers take turns on it. */
function sender(line) {
  let free = 0;
  const until = (time) => new Promise((done) => setTimeout(done, Math.max(0, time - performance.now())));
  return async (response, status, headers, bytes) => {
    if (line.latencyMs > 0) await until(performance.now() + line.latencyMs);
    response.writeHead(status, { "Content-Length": bytes.length, ...headers });
    if (!line.bitsPerSecond) return response.end(bytes);
    for (let at = 0; at < bytes.length && !response.destroyed; at += PIECE) {
      const piece = bytes.subarray(at, at + PIECE);
      free = Math.max(free, performance.now()) + (piece.length * 8000) / line.bitsPerSecond;
      await until(free);
      response.write(piece);
    }
    return response.end();
  };
}
