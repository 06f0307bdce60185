// The helper of digests.js. It says when it is ready, and sends back all that it gets.

self.addEventListener("message", async ({ data: { number, bytes } }) => {
  // Where the browser digests nothing, the one who asked finds out.
  const digest = await crypto.subtle.digest("SHA-256", bytes).catch(() => null);
  postMessage({ number, bytes, digest }, [bytes.buffer]);
});

// What was lost before it could be read has no number: the one who asked hears of an error.
self.addEventListener("messageerror", () => setTimeout(() => { throw new Error("a message could not be read"); }));

if (globalThis.crypto?.subtle) postMessage({ ready: true });
else close();
