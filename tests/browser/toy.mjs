// A toy backbone and an index of demo works made with it: everything a query needs, in a few hundred kilobytes.

import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const ROOT = new URL("../../", import.meta.url).pathname;
export const TOOL = join(ROOT, "target/release/data-attribution");
const WIDTH = 32, MLP = 128, DEPTH = 2, PATCH = 14, TOKENS = 17;

function tensors() {
  const list = [
    ["cls_token", [1, 1, WIDTH]], ["pos_embed", [1, TOKENS, WIDTH]],
    ["patch_embed.proj.weight", [WIDTH, 3, PATCH, PATCH]], ["patch_embed.proj.bias", [WIDTH]],
  ];
  for (let i = 0; i < DEPTH; i++) {
    const add = (name, ...shape) => list.push([`blocks.${i}.${name}`, shape]);
    for (const norm of ["norm1", "norm2"]) add(`${norm}.weight`, WIDTH), add(`${norm}.bias`, WIDTH);
    for (const [name, out, inputs] of [["attn.qkv", 3 * WIDTH, WIDTH], ["attn.proj", WIDTH, WIDTH], ["mlp.fc1", MLP, WIDTH], ["mlp.fc2", WIDTH, MLP]]) {
      add(`${name}.weight`, out, inputs), add(`${name}.bias`, out);
    }
    add("ls1.gamma", WIDTH), add("ls2.gamma", WIDTH);
  }
  list.push(["norm.weight", [WIDTH]], ["norm.bias", [WIDTH]]);
  return list;
}

/** The checkpoint as safetensors; `seed` tells one backbone from another. */
export function toyCheckpoint(seed) {
  const header = {}, parts = [];
  let at = 0, state = seed;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  };
  for (const [name, shape] of tensors()) {
    const length = shape.reduce((a, b) => a * b, 1);
    const inputs = length / shape[0];
    const base = /norm.*weight$/.test(name) ? 1 : /gamma$/.test(name) ? 0.5 : 0;
    const spread = base ? 0.2 : shape.length > 1 ? 2 / Math.sqrt(inputs) : 0.2;
    const values = Float32Array.from({ length }, () => base + spread * next());
    parts.push(Buffer.from(values.buffer));
    header[name] = { dtype: "F32", shape, data_offsets: [at, (at += 4 * length)] };
  }
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([size, json, ...parts]);
}

export function run(...args) {
  return execFileSync(TOOL, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], maxBuffer: 1 << 28 });
}

/** The texts of all kernels that a benchmark's command may measure, in their order, as browsers want them. */
export function kernelTexts(...command) {
  const folder = mkdtempSync(join(tmpdir(), "data-attribution-texts-"));
  run(...command, "--texts", folder);
  const files = readdirSync(folder).sort((a, b) => parseInt(a) - parseInt(b));
  // The tool's own compiler is told of no subgroups.
  const texts = files.map((file) => readFileSync(join(folder, file), "utf8"))
    .map((text) => (/subgroup|quadSwap/.test(text) ? `enable subgroups;\n${text}` : text));
  rmSync(folder, { recursive: true });
  return texts;
}

/** A site with the page, the module and a toy index; returns its folder and some query images. */
export function makeSite(folder) {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const entry of readdirSync(join(ROOT, "www"))) {
    if (entry !== "demo") cpSync(join(ROOT, "www", entry), join(folder, entry), { recursive: true });
  }
  writeFileSync(join(folder, "blank.html"), "<!doctype html><title>test</title>");
  const works = join(ROOT, "build/demo");
  if (!existsSync(join(works, "queries.json"))) throw new Error("run scripts/demo --no-serve first");
  for (const [name, seed] of [["toy", 7], ["other", 8]]) {
    writeFileSync(join(folder, `${name}.safetensors`), toyCheckpoint(seed));
    // By samples some matrices would take tokens in 8 bits, and scores would be the native tool's but for that.
    run("import", "--backbone", "toy-p14", join(folder, `${name}.safetensors`), "-o", join(folder, `model-${name}`), "--nearest");
    run("pack", "--model", join(folder, `model-${name}`), "--images", join(works, "works"), "--metadata", join(works, "works.csv"),
      "--thumbnail", "64", "--title", "Toy", "-o", join(folder, name === "toy" ? "demo" : "other"));
  }
  cpSync(join(works, "queries"), join(folder, "demo/queries"), { recursive: true });
  cpSync(join(works, "queries.json"), join(folder, "demo/queries.json"));
  return { folder, queries: readdirSync(join(folder, "demo/queries")).sort() };
}

/** What the native tool answers for `images`: a list in their order. */
export function native(index, images, top) {
  return run("attribute", "--index", index, "--top", String(top), "--json", ...images).trim().split("\n").map((line) => JSON.parse(line));
}
