// Where the query image comes in (drop, choose; paste is heard on the document) and where it is shown large.

import { h, icon, ICONS } from "./dom.js";

/** `onSource(source, label)` is called with what a person gave; `onRefused(text)` when that was no file. */
export function createStage({ onSource, onRefused }) {
  const input = h("input", { type: "file", accept: "image/*", class: "visually-hidden", tabindex: "-1", "aria-hidden": "true", on: { change: takeChosen } });
  const image = h("img", { class: "query-image", part: "query-image", alt: "", hidden: true, on: { error: showNoPreview, load: fit } });
  const noPreview = h("p", { class: "no-preview", hidden: true }, "This browser cannot show this kind of image, but it can be attributed.");
  const label = h("span", { class: "query-label" });
  const choose = h("button", { type: "button", class: "button primary choose", on: { click: () => input.click() } }, "Choose an image");
  const another = h("button", { type: "button", class: "button quiet another", on: { click: () => input.click() } }, "Choose another");
  const prompt = h(
    "div",
    { class: "prompt" },
    icon(ICONS.upload),
    h("p", { class: "prompt-title" }, "Drop an image here"),
    h("p", { class: "muted" }, "or paste it from the clipboard"),
    choose,
  );
  const caption = h("figcaption", { hidden: true }, label, another);
  const root = h("figure", { class: "stage", part: "stage" }, input, h("div", { class: "frame" }, prompt, image, noPreview), caption);

  let objectUrl = null;
  let shown = null;

  function takeChosen() {
    const [file] = input.files;
    input.value = "";
    if (file) onSource(file, file.name);
  }

  function fit() {
    root.style.setProperty("--aspect", String(image.naturalWidth / image.naturalHeight || 1));
  }

  function showNoPreview() {
    image.hidden = true;
    noPreview.hidden = false;
    root.style.removeProperty("--aspect");
  }

  /** Shows a query { source, label }, or the prompt for null. */
  async function show(query) {
    if (query === shown) return;
    shown = query;
    if (objectUrl) URL.revokeObjectURL(objectUrl);
    objectUrl = null;
    prompt.hidden = query !== null;
    caption.hidden = query === null;
    noPreview.hidden = true;
    image.hidden = query === null;
    label.textContent = query?.label ?? "";
    root.classList.toggle("filled", query !== null);
    if (query === null) return image.removeAttribute("src");
    const preview = query.preview ?? query.source;
    if (preview instanceof Blob) objectUrl = URL.createObjectURL(preview);
    image.alt = `Query image: ${query.label}`;
    image.src = objectUrl ?? String(preview);
  }

  let depth = 0;
  function listenForDrops(host) {
    host.addEventListener("dragenter", (event) => {
      event.preventDefault();
      depth += 1;
      root.classList.add("dropping");
    });
    host.addEventListener("dragover", (event) => event.preventDefault());
    host.addEventListener("dragleave", () => {
      depth = Math.max(0, depth - 1);
      if (depth === 0) root.classList.remove("dropping");
    });
    host.addEventListener("drop", (event) => {
      event.preventDefault();
      depth = 0;
      root.classList.remove("dropping");
      takeTransfer(event.dataTransfer);
    });
  }

  /** Uses the first file of a drop or paste. */
  function takeTransfer(transfer) {
    const [file] = transfer?.files ?? [];
    if (file) onSource(file, file.name || "Pasted image");
    else onRefused("There was no image file in that. Save the image first, then drop or choose the file.");
  }

  return {
    root,
    show,
    listenForDrops,
    takeTransfer,
    /** What to show the query with elsewhere, such as beside a hit: { url, aspect }, or null. */
    get preview() {
      if (image.hidden || !image.naturalWidth) return null;
      return { url: image.src, aspect: image.naturalWidth / image.naturalHeight };
    },
    /** To where the focus goes when what had it is gone. */
    focus: () => (caption.hidden ? choose : another).focus({ preventScroll: true }),
    /** Scrolls up to the query where it is out of view. */
    reveal() {
      if (root.getBoundingClientRect().top >= 0) return;
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      root.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
    },
    /** Frees the preview of a file. */
    release() {
      show(null);
    },
  };
}
