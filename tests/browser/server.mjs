// A static server for tests that can misbehave like real hosts do.
//
// `faults` maps the start of a path to a function (request number for that path, bytes) that returns what to answer
// instead: {status, body, headers}, "drop" to cut the connection, or undefined for the truth.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";

const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".svg": "image/svg+xml",
  ".wasm": "application/wasm", ".jpg": "image/jpeg", ".png": "image/png", ".bin": "application/octet-stream",
};

export async function startServer(root) {
  const state = { faults: new Map(), requests: [], counts: new Map() };
  const server = createServer(async (request, response) => {
    let path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    if (path.endsWith("/")) path += "index.html";
    state.requests.push(path);
    const body = await readFile(join(root, normalize(path))).catch(() => null);
    const count = (state.counts.get(path) ?? 0) + 1;
    state.counts.set(path, count);
    for (const [prefix, fault] of state.faults) {
      if (!path.startsWith(prefix)) continue;
      const answer = fault(count, body, path);
      if (answer === "drop") return request.socket.destroy();
      if (answer) {
        response.writeHead(answer.status ?? 200, { "Content-Type": TYPES[extname(path)] ?? "text/plain", ...answer.headers });
        return response.end(answer.body ?? "");
      }
    }
    if (!body) {
      response.writeHead(404);
      return response.end("not found");
    }
    response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream", "Cache-Control": "no-cache" });
    response.end(body);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  return {
    ...state,
    url: `http://localhost:${server.address().port}`,
    reset() {
      state.faults.clear();
      state.counts.clear();
      state.requests.length = 0;
    },
    close: () => new Promise((done) => {
      server.closeAllConnections();
      server.close(done);
    }),
  };
}
