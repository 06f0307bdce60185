// Which training images is a generated image made of? Answered in the browser, from static files.
//
//     const attributor = await Attributor.open("demo/manifest.json");
//     const result = await attributor.attribute(file, { topK: 100 });
//
// This module only talks to a worker; images are decoded, embedded and ranked there, never sent anywhere.

import { untilAborted } from "./abort.js";
import { AttributionError, cancelledError, disposedError } from "./attribution-error.js";
import { acquireConnection } from "./worker-connection.js";

export { AttributionError };

const DEVICES = ["auto", "cpu", "webgpu"];
const QUALITIES = ["fast", "balanced", "exact"];

export class Attributor {
  #connection;
  #session;
  #info;
  #disposed = false;
  #running = new Set();
  /** Resolves when the session is free: calls on one session run one after the other. */
  #turn = Promise.resolve();

  /** Opens an index by its manifest; see the .d.ts for the options and errors. */
  static async open(manifest, { device = "auto", onProgress, signal } = {}) {
    if (!DEVICES.includes(device)) {
      throw new AttributionError("invalid-argument", `device must be one of ${DEVICES.join(", ")}, not "${device}"`);
    }
    const manifestUrl = absoluteUrl(manifest);
    if (signal?.aborted) throw cancelledError();
    const connection = acquireConnection();
    const abort = new AbortController();
    const forward = () => abort.abort(cancelledError());
    signal?.addEventListener("abort", forward, { once: true });
    try {
      const request = connection.request(
        { type: "open", manifestUrl, options: { device } },
        { onProgress, signal: abort.signal },
      );
      const { session, info } = await request.result;
      return new Attributor(OPENED, connection, session, info);
    } catch (error) {
      connection.release();
      throw error;
    } finally {
      signal?.removeEventListener("abort", forward);
    }
  }

  /** Not public: use Attributor.open(). */
  constructor(token, connection, session, info) {
    if (token !== OPENED) throw new AttributionError("invalid-argument", "use Attributor.open() to make an Attributor");
    this.#connection = connection;
    this.#session = session;
    this.#info = Object.freeze(info);
  }

  get info() {
    return this.#info;
  }

  /** Ranks the index by its influence on `source`: a Blob or File, a URL, an ImageBitmap, or a feature as Float32Array. */
  async attribute(source, { topK = 100, quality = "balanced", onProgress, signal } = {}) {
    if (this.#disposed) throw disposedError();
    if (!Number.isInteger(topK) || topK < 1) {
      throw new AttributionError("invalid-argument", `topK must be a whole number from 1, not ${topK}`);
    }
    if (!QUALITIES.includes(quality)) {
      throw new AttributionError("invalid-argument", `quality must be one of ${QUALITIES.join(", ")}, not "${quality}"`);
    }
    const image = describeSource(source);
    if (signal?.aborted) throw cancelledError();
    const abort = new AbortController();
    const forward = () => abort.abort(cancelledError());
    signal?.addEventListener("abort", forward, { once: true });
    this.#running.add(abort);
    try {
      const message = { type: "attribute", session: this.#session, image, options: { topK, quality } };
      return await this.#inTurn(
        () => this.#connection.request(message, { onProgress, signal: abort.signal }),
        abort.signal,
      );
    } finally {
      signal?.removeEventListener("abort", forward);
      this.#running.delete(abort);
    }
  }

  /** Frees the session; the worker and its GPU device go with the page's last Attributor. Safe to call twice. */
  dispose() {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const abort of this.#running) abort.abort(disposedError());
    this.#connection.notify({ type: "close", session: this.#session });
    this.#connection.release();
  }

  /** Runs `start` when all earlier calls have left the worker; an abort while waiting rejects without starting. */
  async #inTurn(start, signal) {
    const earlier = this.#turn;
    let finish;
    this.#turn = new Promise((resolve) => (finish = resolve));
    try {
      await untilAborted(earlier, signal);
    } catch (error) {
      earlier.then(finish);
      throw error;
    }
    const request = start();
    request.finished.then(finish);
    return request.result;
  }
}

const OPENED = Symbol("opened");

function absoluteUrl(url) {
  try {
    return new URL(url, document.baseURI).href;
  } catch (cause) {
    throw new AttributionError("invalid-argument", `not a URL: ${url}`, { cause });
  }
}

function describeSource(source) {
  if (source instanceof Blob) return { kind: "blob", blob: source };
  if (typeof ImageBitmap !== "undefined" && source instanceof ImageBitmap) return { kind: "bitmap", bitmap: source };
  if (source instanceof Float32Array) return { kind: "feature", feature: source };
  if (typeof source === "string" || source instanceof URL) return { kind: "url", url: absoluteUrl(source) };
  throw new AttributionError("invalid-argument", "the image must be a Blob or File, a URL, an ImageBitmap, or a feature as Float32Array");
}
