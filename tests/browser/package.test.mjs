// The npm package has every script that its own scripts load, and no others.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT } from "./toy.mjs";

/** What a script imports, or loads from beside itself. */
const loaded = (text) => [/\b(?:import|from)\s*\(?\s*"\.\/([^"]+)"/g, /new URL\(["`]\.\/([^"`$]+)["`], import\.meta\.url\)/g]
  .flatMap((pattern) => [...text.matchAll(pattern)].map(([, file]) => file));

test("the package has all scripts that its scripts load", () => {
  const { exports, files } = JSON.parse(readFileSync(join(ROOT, "pkg/package.json")));
  const reached = new Set();
  const waiting = Object.values(exports).map((entry) => entry.default ?? entry).filter((file) => file.endsWith(".js")).map((file) => file.slice(2));
  while (waiting.length > 0) {
    const file = waiting.pop();
    if (reached.has(file) || !file.endsWith(".js")) continue;
    reached.add(file);
    waiting.push(...loaded(readFileSync(join(ROOT, "www", file), "utf8")));
  }
  assert.ok(reached.has("digest-worker.js") && reached.has("element.js"), `${[...reached]}`);
  assert.deepEqual([...reached].filter((file) => !files.includes(file)), []);
  const own = files.filter((file) => file.endsWith(".js") && !file.startsWith("wasm/"));
  assert.deepEqual(own.filter((file) => !reached.has(file)), []);
});
