// The demo page around the element: drops anywhere on the page, and visits without a connection.

import "./element.js";
import { programFiles } from "./program.js";

const element = document.querySelector("data-attribution");

// A file dropped beside the element would replace the page.
for (const type of ["dragover", "drop"]) {
  window.addEventListener(type, (event) => {
    if (event.defaultPrevented) return;
    event.preventDefault();
    const [file] = type === "drop" ? (event.dataTransfer?.files ?? []) : [];
    // The element shows its own errors.
    if (file) element.attribute(file).catch(() => {});
  });
}

if ("serviceWorker" in navigator && isSecureContext) {
  navigator.serviceWorker
    .register("sw.js")
    .then(() => navigator.serviceWorker.ready)
    .then(({ active }) => {
      const wasm = programFiles().map((url) => url.href);
      keepSeen(active, []);
      // By now the module is in use: keeping it costs no further download.
      element.addEventListener("result", () => keepSeen(active, wasm));
    })
    .catch((error) => console.info("Visits without a connection are not available:", error.message));
}

/** Files that came before the service worker was in control, it has to be told of. */
function keepSeen(worker, more) {
  const urls = performance.getEntriesByType("resource").map((entry) => entry.name);
  worker.postMessage({ type: "seen", urls: [...urls, ...more] });
}
