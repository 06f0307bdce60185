// The justified gallery, as pure functions from hits to boxes.
//
// A thumbnail's short side is 1 + (full - 1) * sqrt(influence / top), held to [24 px, full], so that areas follow
// influence. `full` is the short side of the item with the top influence. Measuring against the top influence of the
// result, and not against a fixed share, keeps the picture readable whether the top item has 20 % or 0.2 %.
//
// Rows fill greedily in rank order. A row that overflows is scaled down, never up, so no thumbnail exceeds `full`; the
// widths and gaps of every row but the last sum exactly to the gallery's width (an image alone in its row is not stretched).

export const MINIMUM_SIDE_PX = 24;
/** Longer shapes are drawn as if their area were that of a box of this ratio. */
const LONGEST_RATIO = 1.5;
/** A row is scaled down at most to this; beyond it the next image starts a row and the gaps grow instead. */
const SMALLEST_SCALE = 0.5;
/** Until influences are known all images get this part of the full height. */
const PROVISIONAL_HEIGHT = 0.75;
export const CAPTION_HEIGHT_PX = 22;
/** A row has captions if its narrowest thumbnail has room for the share, and ranks if there is room for both. */
const SHARE_WIDTH_PX = 44;
const RANK_WIDTH_PX = 76;

/** Short side in px of a thumbnail; monotone in `influence`, `fullPx` at the top. */
export function shortSide(influence, topInfluence, fullPx) {
  const least = Math.min(MINIMUM_SIDE_PX, fullPx);
  if (!(influence > 0) || !(topInfluence > 0)) return least;
  const side = 1 + (fullPx - 1) * Math.sqrt(influence / topInfluence);
  return Math.min(Math.max(side, least), fullPx);
}

/** What the settings mean at an available width: px. Wide paddings shrink where the columns leave no room for them. */
export function measure(availablePx, { columns, resolution, padding }) {
  const gap = Math.min(padding, Math.floor(availablePx / (3 * columns)));
  const width = Math.max(1, Math.floor(Math.min(availablePx, columns * resolution + (columns - 1) * gap)));
  return { width, gap, full: (width - (columns - 1) * gap) / columns };
}

/** Width and height in px of one thumbnail. */
export function boxOf(hit, shortPx) {
  const aspect = hit.width > 0 && hit.height > 0 ? hit.width / hit.height : 1;
  const ratio = Math.max(aspect, 1 / aspect);
  const short = ratio > LONGEST_RATIO ? shortPx * Math.sqrt(LONGEST_RATIO / ratio) : shortPx;
  return aspect >= 1 ? { width: short * aspect, height: short } : { width: short, height: short / aspect };
}

/**
 * Breaks boxes into rows: [{ start, end, boxes: [{ width, height, gap }] }]. `gap` is the space after the box, 0 for
 * the last of a row; all three are whole px.
 */
export function justify(boxes, width, gap) {
  const rows = [];
  let start = 0;
  let filled = 0;
  for (let index = 0; index < boxes.length; index += 1) {
    const gaps = gap * (index - start);
    const sum = filled + boxes[index].width;
    if (sum + gaps < width) {
      filled = sum;
      continue;
    }
    const scale = (width - gaps) / sum;
    if (scale >= SMALLEST_SCALE || index === start) {
      rows.push(justifiedRow(boxes, start, index + 1, width, gap, scale));
      start = index + 1;
      filled = 0;
    } else {
      const wider = index - start > 1 ? (width - filled) / (index - start - 1) : gap;
      rows.push(justifiedRow(boxes, start, index, width, wider, 1));
      start = index;
      filled = 0;
      index -= 1;
    }
  }
  if (start < boxes.length) rows.push(justifiedRow(boxes, start, boxes.length, width, gap, 1));
  return rows;
}

/** Rounds edges, not widths: rounding errors then never add up over a row. */
function justifiedRow(boxes, start, end, width, gap, scale) {
  let position = 0;
  const edges = [];
  for (const box of boxes.slice(start, end)) {
    const left = Math.round(position);
    position += box.width * scale;
    const right = Math.max(left + 1, Math.min(Math.round(position), width));
    edges.push({ left, right, height: Math.max(1, Math.round(box.height * scale)) });
    position += gap;
  }
  return {
    start,
    end,
    boxes: edges.map(({ left, right, height }, index) => ({
      width: right - left,
      height,
      gap: index + 1 < edges.length ? edges[index + 1].left - right : 0,
    })),
  };
}

/**
 * Lays out hits in rank order. Without influences (a provisional result) all get one height.
 * Returns { width, gap, rows: [{ start, end, boxes, height, caption, influence }] }; `caption` is "full", "share" or
 * "none", `influence` the row's sum, or null.
 */
export function layoutGallery(hits, availablePx, settings) {
  const { width, gap, full } = measure(availablePx, settings);
  const known = hits.length > 0 && hits.every((hit) => Number.isFinite(hit.influence));
  const top = known ? Math.max(...hits.map((hit) => hit.influence)) : 0;
  const boxes = hits.map((hit) => {
    if (known) return boxOf(hit, shortSide(hit.influence, top, full));
    const box = boxOf(hit, 1);
    const height = full * PROVISIONAL_HEIGHT;
    return { width: (box.width / box.height) * height, height };
  });
  const rows = justify(boxes, width, gap).map((row) => ({
    ...row,
    height: Math.max(...row.boxes.map((box) => box.height)),
    caption: captionFor(Math.min(...row.boxes.map((box) => box.width))),
    influence: known ? influenceSum(hits.slice(row.start, row.end)) : null,
  }));
  return { width, gap, rows };
}

function captionFor(narrowestPx) {
  if (narrowestPx >= RANK_WIDTH_PX) return "full";
  return narrowestPx >= SHARE_WIDTH_PX ? "share" : "none";
}

/** Sum of the hits' influence. */
export function influenceSum(hits) {
  return hits.reduce((sum, hit) => sum + hit.influence, 0);
}

/** Influence of everything beyond the first `shown` hits of a result, in [0, 1]. */
export function remainderBeyond(result, shown) {
  const rest = result.remainingInfluence + influenceSum(result.hits.slice(shown));
  return Math.min(Math.max(rest, 0), 1);
}

/** How many of the first hits together reach `share` of the influence, or null if all of them do not. */
export function countForShare(hits, share) {
  let sum = 0;
  for (const [index, hit] of hits.entries()) {
    sum += hit.influence;
    if (sum >= share) return index + 1;
  }
  return null;
}
