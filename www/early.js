// What opening an index asks for first is on its way while the program still is: the manifest, and the head of its model.
//
// Only requests are made here: what answers is read, checked and stored by the program (src/source/early.rs), which takes each answer
// once and asks itself for what is not here. A head that the cache has is not asked for.

/** The cache of verified files, as src/source/verified_cache.rs names it. */
const CACHE = "data-attribution-1";

/** Answers on their way, by address. */
export class Early {
  #answers = new Map();
  /** Addresses that the program has asked for itself. */
  #taken = new Set();

  /** Asks for the manifest at the absolute address `url`, and for what it names. */
  constructor(url, signal) {
    // As the program does: a manifest is asked for anew, and what is kept here need not be kept by the browser as well.
    const manifest = this.#ask(url, { cache: "no-cache", signal });
    const parsed = manifest.then((response) => response.clone().json());
    parsed.then(async (manifest) => {
      const { file } = manifest.backbone.head, head = new URL(file, url).href;
      // Of other names the program says what is wrong.
      if (!/^model\/\w+\.json$/.test(file)) return;
      if (this.#taken.has(head) || await isKept(head) || this.#taken.has(head)) return;
      this.#ask(head, { cache: globalThis.caches ? "no-store" : "default", signal });
    }).catch(() => {});
  }

  #ask(url, options) {
    const answer = fetch(url, options);
    // Whoever takes it hears of a failure.
    answer.catch(() => {});
    this.#answers.set(url, answer);
    return answer;
  }

  /** The answer to a GET of `url`, a promise of a Response; undefined where none is on its way. */
  take(url) {
    const answer = this.#answers.get(url);
    this.#answers.delete(url);
    this.#taken.add(url);
    return answer;
  }
}

async function isKept(url) {
  try {
    return Boolean(await (await caches.open(CACHE)).match(url));
  } catch {
    return false;
  }
}
