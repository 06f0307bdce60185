// Every kernel that a backbone or a scan may be given on a GPU, compiled by Tint, the compiler of Chromium, with f16 and subgroups,
// which the software adapter of the other tests has not both of: by Dawn outside of a browser, on a device that does nothing and has 16 KiB
// of workgroup memory, as every one has; selection.test.mjs tries more.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT, kernelTexts } from "./toy.mjs";

const DAWN = join(ROOT, "build/dawn/node_modules/webgpu/index.js");

test("Tint takes the kernels of all families, with all ways to multiply and to scan", { skip: !existsSync(DAWN) && "no Dawn for this machine" }, async (t) => {
  const texts = [...kernelTexts("bench-kernels"), ...kernelTexts("bench-scan")];
  const wide = kernelTexts("bench-scan", "--memory", "32768").at(-1);
  for (const part of ["enable f16", "dot4I8Packed", "subgroupMax", "quadSwapX", "vec2<u32>(row % out", "subgroupExclusiveAdd", "const HELD"]) {
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
    const entries = [...code.matchAll(/@compute @workgroup_size\([^)]*\)\s*fn (\w+)/g)];
    assert.ok(entries.length > 0, code);
    for (const [, entryPoint] of entries) device.createComputePipeline({ layout: "auto", compute: { module, entryPoint } });
    return (await device.popErrorScope())?.message;
  };
  for (const text of texts) {
    const message = await refused(text);
    assert.equal(message, undefined, `${message}\n${text}`);
  }
  // The same device refuses what is wrong, and more workgroup memory than every device has.
  assert.match(await refused(`${texts[0]}\nfn wrong() { let x = nowhere; }`), /nowhere/);
  assert.match(await refused(wide), /workgroup/i);
  t.diagnostic(`${texts.length} texts`);
  device.destroy();
});
