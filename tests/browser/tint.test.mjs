// Every kernel that a backbone may be given on a GPU, compiled by Tint, the compiler of Chromium, with f16 and subgroups,
// which the software adapter of the other tests has not both of: by Dawn outside of a browser, on a device that does nothing.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT, run } from "./toy.mjs";

const DAWN = join(ROOT, "build/dawn/node_modules/webgpu/index.js");

test("Tint takes the kernels of all families, with all ways to multiply", { skip: !existsSync(DAWN) && "no Dawn for this machine" }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "data-attribution-texts-"));
  run("bench-kernels", "--texts", folder);
  // The tool's own compiler is told of no subgroups.
  const texts = readdirSync(folder).map((file) => readFileSync(join(folder, file), "utf8"))
    .map((text) => (/subgroup|quadSwap/.test(text) ? `enable subgroups;\n${text}` : text));
  rmSync(folder, { recursive: true });
  for (const part of ["enable f16", "dot4I8Packed", "subgroupMax", "quadSwapX", "vec2<u32>(row % out"]) {
    assert.ok(texts.some((text) => text.includes(part)), part);
  }
  const { create, globals } = await import(DAWN);
  Object.assign(globalThis, globals);
  // Lost to the garbage collector, it would take the process with it.
  const gpu = (globalThis.dawn = create(["backend=null"]));
  const adapter = await gpu.requestAdapter();
  const device = await adapter.requestDevice({ requiredFeatures: ["shader-f16", "subgroups"] });
  const refused = async (code) => {
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code });
    device.createComputePipeline({ layout: "auto", compute: { module, entryPoint: "main" } });
    return (await device.popErrorScope())?.message;
  };
  for (const text of texts) {
    const message = await refused(text);
    assert.equal(message, undefined, `${message}\n${text}`);
  }
  // The same device refuses what is wrong, and more workgroup memory than every device has.
  assert.match(await refused(texts[0].replace("fn main", "fn other")), /main/);
  assert.match(await refused("var<workgroup> a: array<f32, 5000>; @compute @workgroup_size(1) fn main() { a[0] = 1; }"), /workgroup/i);
  t.diagnostic(`${texts.length} texts`);
  device.destroy();
});
