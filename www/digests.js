// SHA-256 of files by a helper, a worker of its own: the browser copies what it is to digest, which stops whoever asks for it.
//
// The page starts and ends the helper: Chromium now and then keeps a worker, with all its memory, that had a worker of its own.
// Without a helper nothing is missing: who is told so digests alone. One that dies takes what it had with it.

let helper = null;
let asked = false;
let ready = false;
let last = 0;
const waiting = new Map();

/** Asks the page for the helper, once. */
export function start() {
  if (asked) return;
  asked = true;
  postMessage({ type: "helper" });
}

self.addEventListener("message", ({ data }) => {
  if (data.type === "helper-lost") return lost();
  if (data.type !== "helper") return;
  helper = data.port;
  helper.onmessageerror = lost;
  helper.onmessage = ({ data }) => (data.ready ? (ready = true) : settle(data.number)?.resolve([data.bytes, data.digest]));
});

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

function lost() {
  ready = false;
  if (helper) {
    // What is on its way may still come, and must not make it ready again.
    helper.onmessage = null;
    helper.close();
  }
  for (const number of [...waiting.keys()]) settle(number).reject(new Error("the helper stopped"));
}
