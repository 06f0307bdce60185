// The outcome in one look: how concentrated the influence is, a strip of the works by their share, and the facts needed
// to judge the numbers.

import { facts, h } from "./dom.js";
import { formatBytes, formatCompleteness, formatCount, formatDevice, formatDuration, formatInfluence, formatParameter, formatShare, formatSimilarity } from "./format.js";
import { countForShare, influenceSum, remainderBeyond } from "./layout.js";

/** Works with less than this share are too thin for a segment of their own. */
const THINNEST_SHARE = 0.005;

export function createSummaryPanel({ onOpen }) {
  const headline = h("p", { class: "headline" });
  const strip = h("div", { class: "strip", part: "strip", role: "img" });
  const legend = h("p", { class: "strip-legend muted" });
  const nearest = h("p", { class: "nearest" });
  const numbers = h("div", { class: "numbers" });
  const root = h("section", { class: "summary", part: "summary", hidden: true, "aria-label": "Summary" }, headline, strip, legend, nearest, numbers);

  function show(result, info, shown) {
    root.hidden = false;
    headline.replaceChildren(...headlineFor(result));
    const remainder = remainderBeyond(result, shown);
    strip.replaceChildren(...segments(result.hits.slice(0, shown), remainder, onOpen));
    strip.setAttribute("aria-label", `Shares of influence: ${formatShare(1 - remainder)} in the ${formatCount(shown)} works shown.`);
    legend.replaceChildren(...legendFor(result, shown, remainder));
    const [first] = result.hits;
    nearest.replaceChildren();
    if (first) {
      nearest.append("Most influential: ", h("strong", {}, first.name), `, ${formatInfluence(first)} of the influence, similarity ${formatSimilarity(first.score)}.`);
    }
    numbers.replaceChildren(runFacts(result, info));
  }

  return { root, show, hide: () => (root.hidden = true) };
}

function headlineFor(result) {
  const half = countForShare(result.hits, 0.5);
  const count = formatCount(result.count);
  if (half !== null) {
    const works = half === 1 ? "1 work" : `${formatCount(half)} works`;
    return ["Half of the estimated influence comes from ", h("em", {}, works), ` of ${count}.`];
  }
  const share = formatShare(1 - result.remainingInfluence);
  return ["The influence is spread widely: the nearest ", h("em", {}, formatCount(result.hits.length)), ` of ${count} works hold ${share}.`];
}

function segments(hits, remainder, onOpen) {
  const parts = hits.filter((hit) => hit.influence >= THINNEST_SHARE).map((hit) => {
    const segment = h("div", { class: "segment", title: `${hit.rank}. ${hit.name}: ${formatShare(hit.influence)}`, on: { click: () => onOpen(hit.rank) } });
    if (hit.thumbnail) segment.append(h("img", { src: hit.thumbnail, alt: "", decoding: "async", on: { error: (event) => event.target.remove() } }));
    segment.style.flexGrow = String(hit.influence);
    return segment;
  });
  for (const [name, share] of [["smaller", influenceSum(hits.filter(isThin))], ["beyond", remainder]]) {
    if (share <= 0) continue;
    const segment = h("div", { class: `segment ${name}` });
    segment.style.flexGrow = String(share);
    parts.push(segment);
  }
  return parts;
}

const isThin = (hit) => hit.influence < THINNEST_SHARE;

function legendFor(result, shown, remainder) {
  const thin = result.hits.slice(0, shown).filter(isThin);
  const beyond = Math.max(result.count - shown, 0);
  const entry = (name, text) => h("span", {}, h("span", { class: `swatch segment ${name}` }), text);
  return [
    "Width: share of influence",
    ...(thin.length > 0 ? [entry("smaller", `${formatCount(thin.length)} smaller shares, ${formatShare(influenceSum(thin))}`)] : []),
    ...(beyond > 0 ? [entry("beyond", `${formatCount(beyond)} not shown, ${formatShare(remainder)}`)] : []),
  ];
}

function runFacts(result, info) {
  const { timings, bytes } = result;
  return facts([
    ["Computed", `${formatDevice(result.device)} in ${formatDuration(timings.totalMs)}`],
    ["Features", `${info.backbone}, ${formatDuration(timings.embedMs)}`],
    ["Ranking", `${formatCount(result.count)} works, ${formatDuration(timings.scoreMs)}`],
    ["Influence elsewhere", formatInfluence({ influence: result.remainingInfluence, influenceLow: result.remainingLow, influenceHigh: result.remainingHigh })],
    ["Read", formatCompleteness(result.completeness)],
    ["Downloaded", bytes.fetched > 0 ? formatBytes(bytes.fetched) : "nothing, all was stored"],
    ["Calibrator inv_tau", formatParameter(info.calibrator.invTau)],
    ["Effective bias", formatParameter(info.calibrator.bias)],
  ]);
}
