// The helper of digests.js. By the port that the page gives it, it says when it is ready, and sends back all that it gets.

self.addEventListener("message", ({ data: { port } }) => {
  if (!globalThis.crypto?.subtle) return close();
  port.onmessage = async ({ data: { number, bytes } }) => {
    // Where the browser digests nothing, the one who asked finds out.
    const digest = await crypto.subtle.digest("SHA-256", bytes).catch(() => null);
    port.postMessage({ number, bytes, digest }, [bytes.buffer]);
  };
  // What was lost before it could be read has no number: the page hears of an error, and so does the one who asked.
  port.onmessageerror = () => setTimeout(() => { throw new Error("a message could not be read"); });
  port.postMessage({ ready: true });
});
