// The index behind one element: opened at most once, shared by the queries that come meanwhile.

import { Attributor } from "./data-attribution.js";

export class OpenedIndex {
  /** The Attributor, null until it is open. */
  attributor = null;
  #opening = null;

  /** Cancelling a query does not cancel this: the next one would have to begin the download again. */
  open(src, options) {
    this.#opening ??= this.#start(src, options);
    return this.#opening.promise;
  }

  #start(src, { device, onProgress }) {
    const abort = new AbortController();
    const opening = { abort };
    const current = () => this.#opening === opening;
    opening.promise = Attributor.open(src, { device, onProgress: (event) => current() && onProgress(event), signal: abort.signal }).then(
      (attributor) => {
        if (current()) this.attributor = attributor;
        else attributor.dispose();
        return attributor;
      },
      (error) => {
        if (current()) this.#opening = null;
        throw error;
      },
    );
    return opening;
  }

  /** Stops the opening if it is under way; an open index stays open. */
  cancel() {
    if (this.attributor) return;
    this.#opening?.abort.abort();
    this.#opening = null;
  }

  /** Lets the index go, and with the page's last one the worker. */
  close() {
    this.cancel();
    this.attributor?.dispose();
    this.attributor = null;
    this.#opening = null;
  }
}
