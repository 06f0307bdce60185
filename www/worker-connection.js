// The page's side of the worker.
//
// All Attributors of a page share one worker, and so one GPU device. It starts with the first of them and is terminated
// with the last, which is what frees the memory and the device. A worker that dies (a trap in the WebAssembly module,
// memory used up) takes all pending calls with it; they reject with the code "internal", and the next open starts anew.
// The worker may ask for a helper (digests.js), which starts and ends here too.

import { AttributionError } from "./attribution-error.js";

let shared = null;

/** The page's connection, started if there is none; every acquire() needs one release(). */
export function acquireConnection() {
  if (!shared || shared.closed) shared = new WorkerConnection(startWorker());
  shared.users += 1;
  return shared;
}

function startWorker() {
  if (typeof Worker === "undefined") {
    throw new AttributionError("invalid-argument", "data-attribution runs in a browser page: there is no Worker here");
  }
  const { origin } = new URL(import.meta.url);
  if (origin !== location.origin) {
    throw new AttributionError(
      "invalid-argument",
      `data-attribution was loaded from ${origin}, but browsers start workers only from the page's own origin ` +
        `(${location.origin}). Copy the package's files to your site and import them from there.`,
    );
  }
  try {
    return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "data-attribution" });
  } catch (cause) {
    throw new AttributionError("internal", "the browser refused to start the worker; serve the page over http(s)", { cause });
  }
}

class WorkerConnection {
  users = 0;
  closed = false;
  #worker;
  #helper;
  #calls = new Map();
  #lastCall = 0;

  constructor(worker) {
    this.#worker = worker;
    worker.addEventListener("message", ({ data }) => this.#receive(data));
    worker.addEventListener("messageerror", () => this.#die("a message of the worker could not be read"));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#die(event.message || "worker.js could not be loaded; is it hosted beside data-attribution.js, and does the page's Content-Security-Policy allow worker-src 'self'?");
    });
  }

  /**
   * Sends one request. `result` rejects at once when `signal` aborts, with the signal's reason; `finished` resolves
   * (never rejects) when the worker is done with the request, which after an abort can be later.
   */
  request(message, { onProgress, signal } = {}) {
    if (this.closed) {
      const error = new AttributionError("internal", "the worker of this Attributor has stopped; open a new one");
      return { result: Promise.reject(error), finished: Promise.resolve() };
    }
    const call = ++this.#lastCall;
    const entry = { onProgress, aborted: false };
    entry.finished = new Promise((resolve) => (entry.finish = resolve));
    const result = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
    const abort = () => {
      entry.aborted = true;
      entry.reject(signal.reason);
      if (!this.closed) this.#worker.postMessage({ type: "cancel", call });
    };
    entry.detach = () => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort, { once: true });
    this.#calls.set(call, entry);
    try {
      this.#worker.postMessage({ ...message, call });
    } catch (cause) {
      this.#settle(call, (failed) =>
        failed.reject(new AttributionError("invalid-argument", "the image could not be handed to the worker", { cause })));
    }
    return { result, finished: entry.finished };
  }

  /** A message without an answer. */
  notify(message) {
    if (!this.closed) this.#worker.postMessage(message);
  }

  release() {
    this.users -= 1;
    if (this.users <= 0) this.#close();
  }

  #receive(data) {
    if (data.type === "died") return this.#die(data.message);
    if (data.type === "helper") return this.#startHelper();
    if (data.type === "event") {
      const entry = this.#calls.get(data.call);
      if (entry && !entry.aborted) report(entry.onProgress, data.event);
    } else if (data.type === "done") {
      this.#settle(data.call, (entry) => entry.resolve(data.value));
    } else if (data.type === "failed") {
      this.#settle(data.call, (entry) => entry.reject(new AttributionError(data.code, data.message)));
    }
  }

  #settle(call, settle) {
    const entry = this.#calls.get(call);
    if (!entry) return;
    this.#calls.delete(call);
    entry.detach();
    settle(entry);
    entry.finish();
  }

  /** A worker beside the other, and a way between them; a browser that refuses one leaves the other without. */
  #startHelper() {
    if (this.closed) return;
    try {
      this.#helper = new Worker(new URL("./digest-worker.js", import.meta.url), { type: "module", name: "data-attribution-digests" });
    } catch {
      return;
    }
    const { port1, port2 } = new MessageChannel();
    this.#helper.addEventListener("error", (event) => {
      event.preventDefault();
      this.#helper.terminate();
      this.notify({ type: "helper-lost" });
    });
    this.#helper.postMessage({ port: port1 }, [port1]);
    this.#worker.postMessage({ type: "helper", port: port2 }, [port2]);
  }

  #die(reason) {
    for (const call of [...this.#calls.keys()]) {
      this.#settle(call, (entry) =>
        entry.reject(new AttributionError("internal", `the computation stopped unexpectedly: ${reason}`)));
    }
    this.#close();
  }

  #close() {
    if (this.closed) return;
    this.closed = true;
    this.#worker.terminate();
    this.#helper?.terminate();
    for (const call of [...this.#calls.keys()]) {
      this.#settle(call, (entry) => entry.reject(new AttributionError("disposed", "the worker was closed")));
    }
    if (shared === this) shared = null;
  }
}

/** A listener that throws must not stop the computation; its error still reaches the console. */
function report(listener, event) {
  if (!listener) return;
  try {
    listener(event);
  } catch (error) {
    reportError(error);
  }
}
