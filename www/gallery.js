// The justified gallery in the page: rows of buttons from the boxes of layout.js.
//
// Items are kept by id across updates, so images do not load twice and can glide to their new places. The whole gallery
// is one stop for the Tab key; arrow keys move inside it.

import { h } from "./dom.js";
import { formatImages, formatShare, formatSimilarity } from "./format.js";
import { CAPTION_HEIGHT_PX, layoutGallery } from "./layout.js";

const GLIDE_MS = 380;

export { layoutGallery } from "./layout.js";

/** Head of a row: its summed influence and its number of images. */
export function rowHeading(row) {
  const images = formatImages(row.end - row.start);
  return row.influence === null ? images : `${formatShare(row.influence)} of influence \u00b7 ${images}`;
}

/** `onOpen(rank)` on a click; `onPoint(hit, button)` on hover or focus, with null when it ends. */
export function createGallery({ onOpen, onPoint }) {
  const root = h("div", { class: "gallery", part: "gallery" });
  let items = new Map();
  let order = [];

  function itemFor(hit) {
    const item = items.get(hit.id) ?? createItem(hit.id);
    item.hit = hit;
    return item;
  }

  function createItem(id) {
    const item = { hit: null };
    const image = h("img", { alt: "", loading: "lazy", decoding: "async", on: { error: () => item.button.classList.add("missing") } });
    const rank = h("span", { class: "hit-rank" });
    const share = h("span", { class: "hit-share" });
    const name = h("span", { class: "hit-name" });
    const leave = () => onPoint(null);
    item.button = h("button", {
      type: "button",
      class: "hit",
      part: "hit",
      on: {
        click: () => onOpen(item.hit.rank),
        pointerenter: (event) => event.pointerType === "mouse" && onPoint(item.hit, item.button),
        pointerleave: leave,
        focus: () => {
          setTabStop(item.button);
          if (item.button.matches(":focus-visible")) onPoint(item.hit, item.button);
        },
        blur: leave,
      },
    }, image, name);
    item.root = h("li", { "data-id": id }, item.button, h("span", { class: "hit-caption", "aria-hidden": "true" }, rank, share));
    item.draw = (box, caption) => {
      const { hit } = item;
      const known = Number.isFinite(hit.influence);
      item.root.dataset.rank = hit.rank;
      item.root.style.width = `${box.width}px`;
      item.root.style.marginInlineEnd = `${box.gap}px`;
      item.button.style.height = `${box.height}px`;
      item.button.dataset.rank = hit.rank;
      item.button.setAttribute("aria-label", labelOf(hit));
      name.textContent = hit.name;
      if (!hit.thumbnail) item.button.classList.add("missing");
      else if (image.src !== hit.thumbnail) {
        item.button.classList.remove("missing");
        image.src = hit.thumbnail;
      }
      rank.textContent = caption === "full" ? String(hit.rank) : "";
      const number = known ? formatShare(hit.influence) : formatSimilarity(hit.score);
      share.textContent = caption === "none" ? "" : number;
    };
    return item;
  }

  /** Lays out `hits`; with `animate`, items that were there before glide to their new places. */
  function update(hits, settings, { animate = false } = {}) {
    const available = Math.floor(root.clientWidth);
    if (available < 1) return;
    const before = animate ? placesOf(items) : null;
    const focused = root.getRootNode().activeElement?.closest?.(".hit");
    const { rows, gap } = layoutGallery(hits, available, settings);
    const kept = new Map();
    order = hits.map((hit) => {
      const item = itemFor(hit);
      kept.set(hit.id, item);
      return item;
    });
    items = kept;
    root.style.setProperty("--gap", `${gap}px`);
    root.replaceChildren(...rows.map((row) => drawRow(row, order.slice(row.start, row.end))));
    setTabStop(focused && items.has(idOf(focused)) ? focused : order[0]?.button);
    // Moving an element in the document takes its focus away.
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    if (before) glide(before, items);
  }

  const idOf = (button) => order.find((item) => item.button === button)?.hit.id;

  function drawRow(row, rowItems) {
    const list = h("ol", { class: "row-items", role: "list", start: row.start + 1 });
    row.boxes.forEach((box, index) => rowItems[index].draw(box, row.caption));
    list.append(...rowItems.map((item) => item.root));
    const section = h("section", { class: "row", part: "row" }, h("h3", { class: "row-heading", part: "row-heading" }, rowHeading(row)), list);
    section.style.setProperty("--caption-height", `${row.caption === "none" ? 0 : CAPTION_HEIGHT_PX}px`);
    return section;
  }

  function setTabStop(button) {
    for (const item of order) item.button.tabIndex = item.button === button ? 0 : -1;
  }

  root.addEventListener("keydown", (event) => {
    const index = order.findIndex((item) => item.button === event.target);
    if (index < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const target = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: order.length - 1 }[event.key] ?? rowNeighbour(index, event.key);
    if (target === undefined) return;
    event.preventDefault();
    order[Math.min(Math.max(target, 0), order.length - 1)].button.focus();
  });

  /** The item of the row above or below whose middle is nearest. */
  function rowNeighbour(index, key) {
    if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
    const row = order[index].root.closest(".row");
    const other = key === "ArrowUp" ? row.previousElementSibling : row.nextElementSibling;
    if (!other) return index;
    const distance = (item) => Math.abs(middleOf(item) - middleOf(order[index]));
    const candidates = order.filter((item) => other.contains(item.root));
    return order.indexOf(candidates.reduce((best, item) => (distance(item) < distance(best) ? item : best)));
  }

  return { root, update };
}

function middleOf(item) {
  const { left, width } = item.root.getBoundingClientRect();
  return left + width / 2;
}

function labelOf(hit) {
  const influence = Number.isFinite(hit.influence) ? `influence ${formatShare(hit.influence)}` : "influence not yet known";
  return `Rank ${hit.rank}: ${hit.name}, ${influence}, similarity ${formatSimilarity(hit.score)}`;
}

function placesOf(items) {
  return new Map([...items].map(([id, item]) => [id, item.button.getBoundingClientRect()]));
}

/** Lets what is in view move from its old place; new items fade in. */
function glide(before, items) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const timing = { duration: GLIDE_MS, easing: "cubic-bezier(0.2, 0, 0, 1)" };
  // All places are read before the first animation: reading after writing would lay out the page again each time.
  const places = [...items].map(([id, { button }]) => ({ button, old: before.get(id), now: button.getBoundingClientRect() }));
  for (const { button, old, now } of places) {
    if (now.bottom < 0 || now.top > innerHeight || now.width === 0) continue;
    if (!old || old.width === 0) {
      button.animate([{ opacity: 0 }, { opacity: 1 }], timing);
      continue;
    }
    const move = `translate(${old.left - now.left}px, ${old.top - now.top}px) scale(${old.width / now.width}, ${old.height / now.height})`;
    button.animate([{ transformOrigin: "0 0", transform: move }, { transformOrigin: "0 0", transform: "none" }], timing);
  }
}
