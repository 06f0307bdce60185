// Times embedding one image, ours beside onnxruntime-web and transformers.js, in one headless Chromium.
//
//     node scripts/bench_embed/bench.mjs FOLDER --archs dinov2-s14,dino [--rounds 3] [--openings 3] [--limit 120] [--only REGEX]
//         [--groups cpu,webgpu]
//
// What: FOLDER/results.json gets one line for each configuration (architecture, side, device, precision, form of the
// graph). `openings`, in new pages with empty caches: `openMs`, module, model and session; `firstMs`, the first embedding, shaders
// cold, and `firstWallMs`, all until it is there. `runs`: later embeddings in the page that was opened last.
//
// How: each configuration has a page and a renderer process of its own. The configurations of one architecture and kind of
// device are opened in turns, each once nothing else goes on in the browser, one that takes long only once; then every round runs each of
// them once, but for those that take long, so that other load on the machine falls on all alike. `cpuMs` is the processor
// time of renderer and GPU process in a run, which other load changes less. Pages are cross-origin isolated, so that WASM may have two threads. Memory is what the operating system
// says: the renderer's peak, and by how much the GPU process grew. A configuration that has used up its seconds is
// stopped, and its line says so.

import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync, appendFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { cpus, loadavg } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { brotliCompressSync, constants } from "node:zlib";
import { startServer } from "../../tests/browser/server.mjs";
import { ROOT } from "../../tests/browser/toy.mjs";
import { launch } from "./chromium.mjs";
import * as sides from "./page.mjs";

const { values, positionals: [folder] } = parseArgs({
  allowPositionals: true,
  options: {
    archs: { type: "string" }, rounds: { type: "string", default: "3" }, openings: { type: "string", default: "3" }, limit: { type: "string", default: "120" },
    only: { type: "string", default: "" }, groups: { type: "string", default: "cpu,webgpu" },
  },
});
const rounds = Number(values.rounds), openings = Number(values.openings), limitMs = 1000 * Number(values.limit), only = new RegExp(values.only);
/** Whatever takes longer to its first embedding is opened and run once. */
const LONG_MS = 15000;
const isLong = ([opened]) => opened && opened.openMs + opened.firstWallMs > LONG_MS;
const sum = (list) => list.reduce((a, b) => a + b, 0);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Ours and theirs take turns in this order. Theirs are the graphs that are there; transformers.js, on the same runtime, gets the fused form alone. */
function configurations(group, arch) {
  const ours = ["f32", "int8", "int4"].map((precision) => ({ side: "ours", device: group, precision, form: "" }));
  const devices = group === "cpu" ? ["wasm-1", "wasm-2"] : ["webgpu"];
  const graphs = ["f32", "int8", "nbits8", "static8", "int4"].flatMap((precision) => ["plain", "fused"].map((form) => ({ precision, form })))
    .filter(({ precision, form }) => existsSync(join(folder, arch, `ort-${precision}-${form}.onnx`)));
  const best = graphs.some(({ form }) => form === "fused") ? "fused" : "plain";
  const theirs = [
    ...devices.flatMap((device) => graphs.map((graph) => ({ side: "ort", device, ...graph }))),
    ...graphs.filter(({ form }) => form === best).map((graph) => ({ side: "tjs", device: devices[0], ...graph })),
  ];
  const mixed = [];
  while (ours.length || theirs.length) mixed.push(...ours.splice(0, 1), ...theirs.splice(0, Math.ceil(theirs.length / (ours.length + 1))));
  return mixed.filter((c) => only.test(`${nameOf(c)} ${arch}`));
}
const nameOf = ({ side, device, precision, form }) => [side, device, precision, form].filter(Boolean).join("-");

function makeSite(site) {
  rmSync(site, { recursive: true, force: true });
  mkdirSync(site, { recursive: true });
  for (const entry of readdirSync(join(ROOT, "www"))) {
    if (entry !== "demo") cpSync(join(ROOT, "www", entry), join(site, entry), { recursive: true });
  }
  writeFileSync(join(site, "blank.html"), "<!doctype html><title>benchmark</title>");
  symlinkSync(resolve(folder, "node/node_modules/onnxruntime-web/dist"), join(site, "ort"));
  const transformers = resolve(folder, "node/node_modules/@huggingface/transformers");
  const inner = join(transformers, "node_modules/onnxruntime-web/dist");
  symlinkSync(join(transformers, "dist"), join(site, "tjs"));
  symlinkSync(existsSync(inner) ? inner : resolve(folder, "node/node_modules/onnxruntime-web/dist"), join(site, "tjs-ort"));
  symlinkSync(resolve(folder), join(site, "models"));
}

// ---- processes ----------------------------------------------------------------------------------

const read = (path) => { try { return readFileSync(path, "utf8"); } catch { return ""; } };
/** Processor time so far; the kernel counts in hundredths of a second. */
const cpuMs = (pid) => {
  const fields = read(`/proc/${pid}/stat`).split(") ").at(-1).split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12])) || 0;
};
const memory = (pid, field) => 1024 * Number(new RegExp(`${field}:\\s+(\\d+)`).exec(read(`/proc/${pid}/status`))?.[1] ?? 0);
const processes = async (type) => (await browser.processes())
  .filter((entry) => entry.type === type).map((entry) => entry.id);
const gpuProcess = async () => (await processes("GPU"))[0];
/** Starts the peak of a process anew; without permission the peak since its start stays. */
const resetPeak = (pid) => { try { writeFileSync(`/proc/${pid}/clear_refs`, "5"); } catch { /* stays */ } };

/** Until nothing goes on in the browser: pages store what they have fetched, and compile, behind their answers. */
async function settle() {
  const busy = async () => sum((await browser.processes()).map(({ id }) => cpuMs(id) || 0));
  for (let before = await busy(), i = 0; i < 120; i++) {
    await pause(500);
    const now = await busy();
    if (now - before < 40) return;
    before = now;
  }
}

// ---- one configuration --------------------------------------------------------------------------

/** `work`, or an error when the configuration has no time left; counts what it takes. */
async function within(entry, work) {
  const start = performance.now();
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`stopped after ${values.limit} s`)), Math.max(0, limitMs - entry.spentMs));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    entry.spentMs += performance.now() - start;
  }
}

async function stop(entry, error) {
  entry.line.stopped = String(error.message ?? error).split("\n")[0];
  await Promise.race([entry.page?.close().catch(() => {}), pause(10000)]);
  entry.page = null;
}

async function open(entry, arch, axes) {
  const { line } = entry, [before] = line.openings;
  if (line.stopped || isLong(line.openings)) return;
  await entry.page?.close();
  await settle();
  const renderers = new Map((await processes("renderer")).map((pid) => [pid, cpuMs(pid)]));
  const gpu = await gpuProcess(), gpuBefore = memory(gpu, "VmRSS");
  resetPeak(gpu);
  server.answered.length = 0;
  try {
    entry.page = await browser.openPage(`${server.url}/blank.html`);
    const openMs = await within(entry, entry.page.evaluate(sides[line.side].open, { ...line, folder: arch }));
    const first = await within(entry, entry.page.evaluate(sides[line.side].run, { axes }));
    line.openings.push({ openMs, firstMs: first.ms, firstWallMs: first.wallMs });
    entry.feature = first.feature;
  } catch (error) {
    await stop(entry, error);
  }
  const bytes = (test) => sum(server.answered.filter(({ path }) => test(path)).map((answer) => answer.bytes));
  line.modelBytes = bytes((path) => /\.onnx$|\/model\//.test(path));
  entry.program = [...new Set(server.answered.map(({ path }) => path).filter((path) => /\.(m?js|wasm)$/.test(path)))];
  // The page's renderer is the one that has worked most since.
  const grown = (await processes("renderer")).map((pid) => [cpuMs(pid) - (renderers.get(pid) ?? 0), pid]);
  entry.renderer = grown.sort((a, b) => b[0] - a[0])[0]?.[1];
  entry.gpu = await gpuProcess();
  if (entry.page) line.rendererPeakBytes = memory(entry.renderer, "VmHWM");
  if (line.device === "webgpu" && entry.gpu === gpu && !before) line.gpuGrowthBytes = Math.max(0, memory(gpu, "VmHWM") - gpuBefore);
}

async function again(entry) {
  const { line } = entry;
  if (!entry.page || (line.runs.length > 0 && isLong(line.openings))) return;
  const busy = () => cpuMs(entry.renderer) + (line.device === "webgpu" ? cpuMs(entry.gpu) : 0);
  const before = busy();
  try {
    const { ms } = await within(entry, entry.page.evaluate(sides[line.side].run, { axes: 0 }));
    line.runs.push(ms);
    line.cpuMs.push(busy() - before);
    line.rendererPeakBytes = memory(entry.renderer, "VmHWM");
  } catch (error) {
    await stop(entry, error);
  }
}

const cosine = (a, b) => a && b && sum(a.map((x, i) => x * b[i])) / Math.sqrt(sum(a.map((x) => x * x)) * sum(b.map((x) => x * x)));

/** Reads all that an architecture's pages will ask for, so that no first result waits for a cold disk. */
function warm(arch) {
  for (const entry of readdirSync(join(folder, arch), { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) readFileSync(join(entry.parentPath ?? entry.path, entry.name));
  }
}

async function measure(arch, group, references) {
  warm(arch);
  const { dimension } = JSON.parse(readFileSync(join(folder, arch, "spec.json"), "utf8"));
  const entries = configurations(group, arch).map((c) => ({ spentMs: 0, line: { arch, ...c, openings: [], runs: [], cpuMs: [] } }));
  const say = ({ line }) => console.log(`${arch} ${nameOf(line)}: ${line.stopped ?? ""} open and first `
    + `${line.openings.map(({ openMs, firstWallMs }) => `${openMs.toFixed(0)} ${firstWallMs.toFixed(0)}`).join(", ")}; then ${line.runs.map((ms) => ms.toFixed(0)).join(" ")} ms`);
  for (let opening = 0; opening < openings; opening++) for (const entry of entries) await open(entry, arch, dimension);
  for (let round = 0; round < rounds; round++) for (const entry of entries) await again(entry);
  for (const entry of entries) {
    const { line, feature } = entry;
    if (line.precision === "f32") references[line.side] ??= feature;
    line.cosine = cosine(feature, references[line.side]);
    line.cosineOther = cosine(feature, references[line.side === "ours" ? "ort" : "ours"]);
    line.program = sizes(entry.program);
    line.load = loadavg()[0];
    say(entry);
    appendFileSync(join(folder, "results.json"), `${JSON.stringify(line)}\n`);
    await Promise.race([entry.page?.close().catch(() => {}), pause(10000)]);
  }
}

/** Bytes of the program's files, raw and by brotli at its best; kept beside, as compressing takes a minute. */
function sizes(paths) {
  const cachePath = join(folder, "brotli.json");
  const cache = existsSync(cachePath) ? JSON.parse(readFileSync(cachePath, "utf8")) : {};
  const total = { raw: 0, brotli: 0, files: paths };
  for (const path of paths) {
    const bytes = readFileSync(join(folder, "site", path));
    const hash = createHash("sha256").update(bytes).digest("hex");
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_LGWIN]: 24, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length };
    cache[hash] ??= brotliCompressSync(bytes, { params }).length;
    total.raw += bytes.length;
    total.brotli += cache[hash];
  }
  writeFileSync(cachePath, JSON.stringify(cache));
  return total;
}

makeSite(join(folder, "site"));
const server = await startServer(join(folder, "site"));
const isolated = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
server.faults.set("/", (count, body, path, range) => body && !range
  && { body, headers: { ...isolated, ...(path.endsWith(".mjs") && { "Content-Type": "text/javascript" }) } });
const browser = await launch();
const version = (name) => JSON.parse(readFileSync(join(folder, "node/node_modules", name, "package.json"), "utf8")).version;
const machine = {
  cpu: cpus()[0]?.model, cores: cpus().length, browser: browser.version, onnxruntimeWeb: version("onnxruntime-web"),
  transformersJs: version("@huggingface/transformers"), rounds, openings,
};
writeFileSync(join(folder, "results.json"), `${JSON.stringify({ machine })}\n`);
const references = {};
for (const group of values.groups.split(",")) {
  for (const arch of values.archs.split(",")) await measure(arch, group, references[arch] ??= {});
}
await Promise.race([browser.close(), pause(10000)]);
await server.close();
process.exit(0);
