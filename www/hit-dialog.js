// One hit large, beside the query. A native <dialog>: it traps the focus, closes on Escape, gives the focus back.

import { facts, h, icon, ICONS } from "./dom.js";
import { formatCount, formatInfluence, formatSimilarity, safeLink } from "./format.js";

/** `linkBase()` gives the address that relative links of the index are relative to. */
export function createHitDialog({ linkBase }) {
  const heading = h("h2", { class: "dialog-title", id: "dialog-title" });
  const image = h("img", { class: "dialog-image", alt: "", on: { error: () => (image.hidden = true) } });
  const queryImage = h("img", { class: "dialog-query-image", alt: "" });
  const query = h("figure", { class: "dialog-query" }, queryImage, h("figcaption", {}, "Your image"));
  const text = h("div", { class: "dialog-text" });
  const previous = h("button", { type: "button", class: "button round", "aria-label": "Previous work", on: { click: () => step(-1) } }, icon(ICONS.previous));
  const next = h("button", { type: "button", class: "button round", "aria-label": "Next work", on: { click: () => step(1) } }, icon(ICONS.next));
  const close = h("button", { type: "button", class: "button round", "aria-label": "Close", on: { click: () => root.close() } }, icon(ICONS.close));
  const position = h("span", { class: "dialog-position muted" });
  const root = h(
    "dialog",
    { class: "dialog", part: "dialog", "aria-labelledby": "dialog-title" },
    h(
      "div",
      { class: "dialog-body" },
      h("header", { class: "dialog-bar" }, previous, next, position, close),
      h("div", { class: "dialog-images" }, query, h("figure", { class: "dialog-hit" }, image, h("figcaption", {}, "Work of the index"))),
      h("div", { class: "dialog-details" }, heading, text),
    ),
  );
  const images = root.querySelector(".dialog-images");
  const hitFigure = images.lastChild;
  let hits = [];
  let index = 0;
  let queryAspect = 0;

  function draw() {
    const hit = hits[index];
    const link = safeLink(hit.link, linkBase());
    const known = Number.isFinite(hit.influence);
    heading.textContent = hit.name;
    position.textContent = `${formatCount(index + 1)} of ${formatCount(hits.length)}`;
    previous.disabled = index === 0;
    next.disabled = index === hits.length - 1;
    image.hidden = !hit.thumbnail;
    image.alt = hit.caption || hit.name;
    if (hit.thumbnail) image.src = hit.thumbnail;
    else image.removeAttribute("src");
    shape(hit.width > 0 && hit.height > 0 ? hit.width / hit.height : 1);
    text.replaceChildren(
      ...(hit.caption ? [h("p", { class: "dialog-caption" }, hit.caption)] : []),
      facts([
        ["Rank", formatCount(hit.rank)],
        ["Influence (estimated)", known ? formatInfluence(hit) : "known when the whole index is read"],
        ["Similarity (measured)", formatSimilarity(hit.score)],
        ...Object.entries(hit.fields ?? {}),
        ["Size", hit.width > 0 ? `${formatCount(hit.width)} \u00d7 ${formatCount(hit.height)} px` : null],
      ]),
      ...(link ? [h("a", { class: "button", href: link, target: "_blank", rel: "noopener noreferrer" }, "Open the source page")] : []),
    );
  }

  /** Both images get one height: their figures grow with the aspect ratios. */
  function shape(aspect) {
    query.style.flexGrow = String(queryAspect);
    hitFigure.style.flexGrow = String(aspect);
    images.style.setProperty("--hit-aspect", String(aspect));
    images.style.setProperty("--aspects", String(aspect + queryAspect));
  }

  function step(by) {
    index = Math.min(Math.max(index + by, 0), hits.length - 1);
    draw();
    // A button that became disabled would lose the focus to nowhere.
    if (root.getRootNode().activeElement?.disabled) close.focus();
  }

  root.addEventListener("click", (event) => event.target === root && root.close());
  root.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
    else return;
    event.preventDefault();
  });

  return {
    root,
    /** Opens at a rank of `shown`, beside the query's preview { url, aspect } or null. */
    open(shown, rank, preview) {
      const at = shown.findIndex((hit) => hit.rank === rank);
      if (at < 0) return;
      hits = shown;
      index = at;
      queryAspect = preview?.aspect ?? 0;
      query.hidden = !preview;
      if (preview) queryImage.src = preview.url;
      draw();
      if (!root.open) root.showModal();
    },
    close: () => root.open && root.close(),
  };
}
