// Loads the WebAssembly module into the worker, once, and tells how much of it has arrived.

import * as digests from "./digests.js";

/** A module that sums products of bytes as relaxed SIMD does: () -> v128. */
const RELAXED_SIMD = new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0,
  10, 19, 1, 17, 0, 65, 0, 253, 17, 65, 0, 253, 17, 65, 0, 253, 17, 253, 147, 2, 11,
]);

/** Addresses of the module for this browser: its glue, and the WebAssembly. */
export function programFiles() {
  const relaxed = WebAssembly.validate(RELAXED_SIMD) ? "_relaxed" : "";
  return ["data_attribution.js", `data_attribution${relaxed}_bg.wasm`].map((file) => new URL(`./wasm/${file}`, import.meta.url));
}

const listeners = new Set();
const progress = { type: "program", loadedBytes: 0, totalBytes: 0, cachedBytes: 0 };
let loading = null, loaded = false;

/** Whether nothing has to be waited for. */
export function isLoaded() {
  return loaded;
}

/** The module's exports. `onEvent` gets { type: "program", loadedBytes, totalBytes }, totalBytes 0 while unknown. */
export async function loadProgram(onEvent) {
  listeners.add(onEvent);
  try {
    // A failed load may be tried again: the usual cause is a connection that was cut.
    loading ??= load(programFiles()).catch((error) => {
      loading = null;
      throw error;
    });
    const program = await loading;
    onEvent({ ...progress });
    return program;
  } finally {
    listeners.delete(onEvent);
  }
}

async function load([glue, url]) {
  let response;
  let program;
  try {
    [program, response] = await Promise.all([import(glue), fetch(url)]);
  } catch (error) {
    throw Object.assign(new Error(`the WebAssembly module could not be loaded: ${error.message}`), { code: "network" });
  }
  if (!response.ok) {
    throw Object.assign(new Error(`${url} answered with status ${response.status}`), { code: response.status === 404 ? "not-found" : "network" });
  }
  // The clone is counted and the original compiled, so that the browser can still keep the compiled code.
  const counted = count(response.clone());
  try {
    await program.default({ module_or_path: response });
  } catch (error) {
    const broken = error instanceof WebAssembly.CompileError || error instanceof WebAssembly.LinkError;
    throw Object.assign(new Error(`the WebAssembly module could not be started: ${error.message}`), { code: broken ? "internal" : "network" });
  }
  program.digestWith(digests);
  await counted;
  loaded = true;
  return program;
}

async function count(response) {
  // The length of a compressed body says nothing about the bytes that come out of it.
  const encoded = response.headers.has("content-encoding");
  progress.totalBytes = encoded ? 0 : Number(response.headers.get("content-length")) || 0;
  progress.loadedBytes = 0;
  try {
    for (let reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      progress.loadedBytes += value.byteLength;
      for (const listener of listeners) listener({ ...progress });
    }
    progress.totalBytes = progress.loadedBytes;
  } catch {
    // The same failure reaches the caller through the original.
  }
}
