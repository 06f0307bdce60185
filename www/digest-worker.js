// The helper of digests.js. It says when it is ready, and sends back all that it gets.

self.addEventListener("message", async ({ data: { number, bytes } }) => {
  // Where the browser digests nothing, the one who asked finds out.
  const digest = await crypto.subtle.digest("SHA-256", bytes).catch(() => null);
  postMessage({ number, bytes, digest }, [bytes.buffer]);
});

if (globalThis.crypto?.subtle) postMessage({ ready: true });
