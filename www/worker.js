// The worker: owns the WebAssembly module and its sessions, answers the page's requests.
//
// Messages in:  open, attribute (both with a `call` number), cancel {call}, close {session}; of digests.js helper {port}, helper-lost.
// Messages out: event {call, event}, done {call, value}, failed {call, code, message}, died {message}; of digests.js helper.

import { isLoaded, loadProgram } from "./program.js";
import "./subgroups.js";

/** Larger images are refused before their pixels are copied out of a canvas. */
const MAX_BITMAP_PIXELS = 64e6;

const sessions = new Map();
const running = new Map();
let lastSession = 0;

async function open({ call, manifestUrl, options }, signal) {
  const emit = emitter(call);
  // On its way while the program still is; as the program does, in case the host has another by now. It hears of a failure.
  const manifest = isLoaded() ? undefined : fetch(manifestUrl, { cache: "no-cache", signal });
  manifest?.catch(() => {});
  const { Session } = await loadProgram(emit);
  signal.throwIfAborted();
  const session = await Session.open(manifestUrl, options, emit, signal, manifest);
  if (signal.aborted) {
    session.free();
    throw coded("cancelled", "the call was cancelled");
  }
  sessions.set(++lastSession, { session, busy: 0, closing: false });
  return { session: lastSession, info: session.info };
}

async function attribute({ call, session: number, image, options }, signal) {
  const entry = sessions.get(number);
  if (!entry || entry.closing) throw coded("disposed", "this session is closed");
  entry.busy += 1;
  try {
    return await attributeImage(entry.session, image, options, emitter(call), signal);
  } finally {
    // Files and rows that the answer has fetched go to the cache behind it; the session is busy until then.
    entry.session.save().catch((error) => isFatal(error) && die(error)).then(() => {
      entry.busy -= 1;
      if (entry.closing) close(number);
    });
  }
}

async function attributeImage(session, image, options, emit, signal) {
  if (image.kind === "feature") return session.attributeFeature(image.feature, options, emit, signal);
  if (image.kind === "bitmap") return attributeBitmap(session, image.bitmap, options, emit, signal);
  const blob = image.kind === "url" ? await fetchImage(image.url, signal) : image.blob;
  const bytes = new Uint8Array(await blob.arrayBuffer());
  signal.throwIfAborted();
  try {
    return await session.attribute(bytes, options, emit, signal);
  } catch (error) {
    // Formats that only the browser decodes, such as AVIF.
    if (error?.code !== "not-an-image") throw error;
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch(() => null);
    if (!bitmap) throw error;
    return attributeBitmap(session, bitmap, options, emit, signal);
  }
}

function attributeBitmap(session, bitmap, options, emit, signal) {
  const { width, height } = bitmap;
  if (width * height > MAX_BITMAP_PIXELS) {
    bitmap.close();
    throw coded("image-too-large", `the image is too large: ${width}x${height} pixels`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const { data } = context.getImageData(0, 0, width, height);
  return session.attributePixels(width, height, new Uint8Array(data.buffer), options, emit, signal);
}

async function fetchImage(url, signal) {
  let response;
  try {
    response = await fetch(url, { signal });
  } catch (error) {
    if (signal.aborted) throw error;
    throw coded("network", `the image could not be fetched from ${url}: ${error.message}`);
  }
  if (response.status === 404 || response.status === 410) throw coded("not-found", `there is no image at ${url}`);
  if (!response.ok) throw coded("network", `${url} answered with status ${response.status}`);
  return response.blob();
}

function emitter(call) {
  return (event) => postMessage({ type: "event", call, event });
}

function coded(code, message) {
  return Object.assign(new Error(message), { code });
}

/** After a trap or a stack overflow inside WebAssembly its memory is not to be trusted: the worker must go. */
function isFatal(error) {
  return error instanceof WebAssembly.RuntimeError || (error instanceof RangeError && /call stack/i.test(error.message));
}

function die(error) {
  postMessage({ type: "died", message: String(error?.message ?? error) });
}

function fail(call, error, signal) {
  if (isFatal(error)) return die(error);
  const cancelled = signal.aborted || error?.name === "AbortError";
  const code = cancelled ? "cancelled" : typeof error?.code === "string" ? error.code : "internal";
  postMessage({ type: "failed", call, code, message: String(error?.message ?? error) });
}

async function answer(request, handle) {
  const abort = new AbortController();
  running.set(request.call, abort);
  try {
    const value = await handle(request, abort.signal);
    postMessage({ type: "done", call: request.call, value });
  } catch (error) {
    fail(request.call, error, abort.signal);
  } finally {
    running.delete(request.call);
  }
}

self.addEventListener("message", ({ data }) => {
  if (data.type === "open") answer(data, open);
  else if (data.type === "attribute") answer(data, attribute);
  else if (data.type === "cancel") running.get(data.call)?.abort();
  else if (data.type === "close") close(data.session);
});

/** A session cannot be freed while a call runs on it: then the end of that call closes it. */
function close(number) {
  const entry = sessions.get(number);
  if (!entry) return;
  entry.closing = true;
  if (entry.busy > 0) return;
  sessions.delete(number);
  entry.session.free();
}

// A trap in a task that WebAssembly itself scheduled reaches no call above: the call would wait for ever.
self.addEventListener("error", (event) => die(event.error ?? event.message));
self.addEventListener("unhandledrejection", (event) => {
  if (isFatal(event.reason)) die(event.reason);
});
