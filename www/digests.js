// SHA-256 of files by a helper, a worker of its own: the browser copies what it is to digest, which stops whoever asks for it.
//
// Without a helper nothing is missing: who is told so digests alone. One that dies takes what it had with it.

let helper = null;
let ready = false;
let last = 0;
const waiting = new Map();

/** Starts the helper, once. */
export function start() {
  if (helper) return;
  try {
    helper = new Worker(new URL("./digest-worker.js", import.meta.url), { type: "module", name: "data-attribution-digests" });
  } catch {
    helper = {};
    return;
  }
  helper.onmessage = ({ data }) => (data.ready ? (ready = true) : settle(data.number)?.resolve([data.bytes, data.digest]));
  helper.onmessageerror = stop;
  helper.onerror = stop;
}

/**
 * The digest of `bytes`, whose buffer goes to the helper: a promise of [the same bytes in another buffer, digest], which rejects
 * where the helper has lost them. Without a helper undefined, and `bytes` stay.
 */
export function sha256(bytes) {
  if (!ready) return undefined;
  const number = ++last;
  return new Promise((resolve, reject) => {
    helper.postMessage({ number, bytes }, [bytes.buffer]);
    waiting.set(number, { resolve, reject });
  });
}

function settle(number) {
  const promise = waiting.get(number);
  waiting.delete(number);
  return promise;
}

function stop(event) {
  event.preventDefault();
  ready = false;
  helper.onmessage = null;
  helper.terminate();
  for (const number of [...waiting.keys()]) settle(number).reject(new Error("the helper stopped"));
}
