// The page's pure functions: node --test tests/page/

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { formatBytes, formatDuration, formatShare, safeLink } from "../../www/format.js";
import { rowHeading } from "../../www/gallery.js";
import { boxOf, countForShare, influenceSum, layoutGallery, measure, MINIMUM_SIDE_PX, remainderBeyond, shortSide } from "../../www/layout.js";
import { foldProgress } from "../../www/progress-panel.js";
import { positionOf, RETRIEVED_STEPS, retrievedAt, settingValue } from "../../www/settings.js";

/** A fixed pseudo-random sequence in [0, 1). */
function sequence(seed) {
  let state = seed;
  return () => (state = (state * 16807) % 2147483647) / 2147483647;
}

function someHits(count, seed, known = true) {
  const random = sequence(seed);
  const weights = Array.from({ length: count }, (_, index) => (0.5 + random()) * Math.exp(-index / 12)).sort((a, b) => b - a);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight, index) => ({
    rank: index + 1,
    width: Math.round(200 + 1800 * random()),
    height: Math.round(200 + 1800 * random()),
    influence: known ? weight / total : null,
  }));
}

const SETTINGS = [
  { columns: 5, resolution: 256, padding: 8 },
  { columns: 1, resolution: 1024, padding: 0 },
  { columns: 20, resolution: 64, padding: 64 },
  { columns: 3, resolution: 512, padding: 33 },
];

test("every row but the last fills the width exactly, in whole pixels", () => {
  let full = 0;
  for (const settings of SETTINGS) {
    for (const available of [328, 767, 1184]) {
      for (const known of [true, false]) {
        const hits = someHits(137, 11, known);
        const { width, rows } = layoutGallery(hits, available, settings);
        assert.ok(width <= available);
        assert.deepEqual(rows.map(({ start }) => start), [0, ...rows.slice(0, -1).map(({ end }) => end)]);
        assert.equal(rows.at(-1).end, hits.length);
        for (const [index, row] of rows.entries()) {
          const sum = row.boxes.reduce((total, box) => total + box.width + box.gap, 0);
          assert.ok(row.boxes.every((box) => Number.isInteger(box.width) && Number.isInteger(box.gap) && box.width > 0 && box.height > 0));
          if (index < rows.length - 1 && row.boxes.length > 1) {
            assert.equal(sum, width, `row ${index} of ${JSON.stringify({ ...settings, available, known })}`);
            full += 1;
          } else assert.ok(sum <= width);
        }
      }
    }
  }
  assert.ok(full > 100, `only ${full} rows were checked`);
});

test("row influences and the remainder add up to one", () => {
  const hits = someHits(200, 5).map((hit) => ({ ...hit, influence: hit.influence * 0.8 }));
  const { rows } = layoutGallery(hits.slice(0, 60), 1184, SETTINGS[0]);
  const shown = rows.reduce((sum, row) => sum + row.influence, 0);
  assert.ok(Math.abs(shown - influenceSum(hits.slice(0, 60))) < 1e-12);
  const rest = remainderBeyond({ hits, remainingInfluence: 0.2 }, 60);
  assert.ok(Math.abs(shown + rest - 1) < 1e-12);
  assert.equal(rowHeading({ start: 0, end: 5, influence: 0.379 }), "37.9\u202f% of influence \u00b7 5 images");
  assert.equal(rowHeading({ start: 9, end: 10, influence: null }), "1 image");
});

test("provisional rows have one height and no influence", () => {
  for (const row of layoutGallery(someHits(40, 3, false), 1184, SETTINGS[0]).rows) {
    assert.equal(row.influence, null);
    assert.equal(new Set(row.boxes.map((box) => box.height)).size, 1);
  }
});

test("the short side grows with the influence, from the minimum to the full side", () => {
  for (const top of [0.2, 0.007, 1e-6]) {
    let before = 0;
    for (let step = 0; step <= 100; step += 1) {
      const side = shortSide((top * step) / 100, top, 256);
      assert.ok(side >= before && side >= MINIMUM_SIDE_PX && side <= 256);
      before = side;
    }
    assert.equal(before, 256);
    assert.equal(shortSide(top / 4, top, 256), 128.5);
  }
  assert.equal(shortSide(0, 0.1, 256), MINIMUM_SIDE_PX);
  assert.equal(shortSide(null, 0, 256), MINIMUM_SIDE_PX);
  assert.equal(shortSide(0, 0.1, 10), 10);
});

test("a box keeps the shape of its image; an unknown shape is a square", () => {
  assert.deepEqual(boxOf({ width: 1200, height: 1000 }, 100), { width: 120, height: 100 });
  assert.deepEqual(boxOf({ width: 1000, height: 1200 }, 100), { width: 100, height: 120 });
  assert.deepEqual(boxOf({ width: 0, height: 0 }, 100), { width: 100, height: 100 });
  const long = boxOf({ width: 6000, height: 1000 }, 100);
  assert.ok(Math.abs(long.width / long.height - 6) < 1e-9 && Math.abs(long.width * long.height - 15000) < 1e-6);
});

test("the measures leave room for every column", () => {
  assert.deepEqual(measure(1184, { columns: 5, resolution: 256, padding: 8 }), { width: 1184, gap: 8, full: 230.4 });
  assert.deepEqual(measure(2000, { columns: 5, resolution: 100, padding: 10 }), { width: 540, gap: 10, full: 100 });
  assert.ok(measure(328, { columns: 20, resolution: 64, padding: 64 }).full > 0);
});

test("how many works reach a share", () => {
  const hits = [0.3, 0.15, 0.1, 0.05].map((influence) => ({ influence }));
  assert.equal(countForShare(hits, 0.5), 3);
  assert.equal(countForShare(hits, 0.9), null);
});

test("numbers read well", () => {
  const plain = (text) => text.replace(/[\u00a0\u202f]/g, " ");
  const bytes = [[0, "0 B"], [999, "999 B"], [1000, "1.00 kB"], [999_600, "1.00 MB"], [87_849_216, "87.8 MB"], [123_456_789, "123 MB"], [NaN, "unknown size"]];
  for (const [value, text] of bytes) assert.equal(plain(formatBytes(value)), text);
  const shares = [[0, "0 %"], [0.000004, "< 0.001 %"], [0.00043, "0.043 %"], [0.0123, "1.23 %"], [0.1243, "12.4 %"], [1, "100.0 %"]];
  for (const [value, text] of shares) assert.equal(plain(formatShare(value)), text);
  const times = [[312.4, "312 ms"], [999.7, "1.00 s"], [1240, "1.24 s"], [12_340, "12.3 s"], [125_000, "2 min 5 s"]];
  for (const [value, text] of times) assert.equal(plain(formatDuration(value)), text);
});

test("only http(s) links of the data become links", () => {
  const base = "https://example.org/demo/manifest.json";
  assert.equal(safeLink("works/1.html", base), "https://example.org/demo/works/1.html");
  assert.equal(safeLink("http://example.org/a", base), "http://example.org/a");
  for (const bad of ["javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "blob:https://example.org/1", "", null, undefined, "http://["]) {
    assert.equal(safeLink(bad, base), null);
  }
});

test("settings are held to their ranges, the logarithmic slider to its ends", () => {
  assert.equal(settingValue("columns", null), 5);
  assert.equal(settingValue("columns", "many"), 5);
  assert.equal(settingValue("columns", "99"), 20);
  assert.equal(settingValue("padding", "0"), 0);
  for (const most of [1000, 340, 60]) {
    assert.equal(retrievedAt(0, most), 10);
    assert.equal(retrievedAt(RETRIEVED_STEPS, most), most);
    for (let position = 0; position <= RETRIEVED_STEPS; position += 1) {
      const value = retrievedAt(position, most);
      assert.ok(value >= 10 && value <= most);
      assert.ok(Math.abs(positionOf(value, most) - position) <= 3);
    }
  }
  assert.equal(retrievedAt(50, 1000), 100);
  assert.equal(retrievedAt(0, 4), 4);
});

test("progress events become steps", () => {
  let steps = foldProgress({}, { type: "model", loadedBytes: 0, totalBytes: 0, cachedBytes: 0 });
  assert.equal(steps.model.fraction, null);
  steps = foldProgress(steps, { type: "model", loadedBytes: 50, totalBytes: 200, cachedBytes: 0 });
  assert.equal(steps.model.fraction, 0.25);
  steps = foldProgress(steps, { type: "index", loadedBytes: 10, totalBytes: 10, cachedBytes: 10, rows: 1200, totalRows: 2400 });
  assert.equal(steps.index.fraction, 1);
  assert.match(steps.index.text, /stored in this browser.*1,200 of 2,400 works/);
  assert.equal(foldProgress(steps, { type: "something-new" }), steps);
});

test("the package lists exactly the library's modules that its entries import", () => {
  const www = new URL("../../www/", import.meta.url);
  const { files } = JSON.parse(readFileSync(new URL("../../pkg/package.json", import.meta.url), "utf8"));
  const reached = new Set();
  const follow = (name) => {
    if (reached.has(name) || name.startsWith("wasm/")) return;
    reached.add(name);
    const text = readFileSync(new URL(name, www), "utf8");
    for (const [, path] of text.matchAll(/(?:from|import|import\(|new URL\()\s*"\.\/([\w./-]+)"/g)) follow(path);
  };
  for (const entry of ["data-attribution.js", "element.js"]) follow(entry);
  const declared = readdirSync(www).filter((name) => name.endsWith(".d.ts"));
  assert.deepEqual(files.filter((name) => !name.startsWith("wasm/")).sort(), [...reached, ...declared].sort());
});
