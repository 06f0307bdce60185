// The small card beside a hit that is hovered or focused. It repeats what the hit's label says, so it is not announced.

import { facts, h } from "./dom.js";
import { formatInfluence, formatSimilarity } from "./format.js";

const MARGIN_PX = 10;

export function createHitCard() {
  const root = h("div", { class: "card", part: "card", popover: "manual", "aria-hidden": "true" });
  // The top layer escapes any clipping or transform of the embedding page; without it a fixed box has to do.
  const layered = typeof root.showPopover === "function";
  if (!layered) root.hidden = true;

  function show(hit, anchor) {
    root.replaceChildren(
      h("p", { class: "card-name" }, hit.name),
      ...(hit.caption ? [h("p", { class: "card-caption" }, hit.caption)] : []),
      facts([
        ["Rank", String(hit.rank)],
        ["Influence", Number.isFinite(hit.influence) ? formatInfluence(hit) : "not yet known"],
        ["Similarity", formatSimilarity(hit.score)],
      ]),
    );
    setShown(true);
    place(anchor.getBoundingClientRect());
  }

  function place(target) {
    const { width, height } = root.getBoundingClientRect();
    const left = Math.min(Math.max(target.left + target.width / 2 - width / 2, MARGIN_PX), innerWidth - width - MARGIN_PX);
    const above = target.top - height - MARGIN_PX;
    const below = target.bottom + MARGIN_PX;
    const top = above >= MARGIN_PX ? above : Math.min(below, innerHeight - height - MARGIN_PX);
    root.style.left = `${Math.round(left)}px`;
    root.style.top = `${Math.round(top)}px`;
  }

  function setShown(shown) {
    if (!root.isConnected) return;
    if (!layered) root.hidden = !shown;
    else if (shown && !root.matches(":popover-open")) root.showPopover();
    else if (!shown && root.matches(":popover-open")) root.hidePopover();
  }

  return { root, show, hide: () => setShown(false) };
}
