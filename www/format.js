// Numbers and addresses as people read them. Pure functions.

const INTEGER = new Intl.NumberFormat("en");

/** 40000 -> "40,000" */
export function formatCount(count) {
  return INTEGER.format(count);
}

/** "1 image", "5 images" */
export function formatImages(count) {
  return `${formatCount(count)} ${count === 1 ? "image" : "images"}`;
}

/** Decimal units, three digits: "0 B", "999 B", "1.50 kB", "87.9 MB". */
export function formatBytes(bytes) {
  if (!Number.isFinite(bytes) || bytes < 0) return "unknown size";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  let value = bytes;
  // 999.5 would round up to a fourth digit.
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  if (unit === 0) return `${Math.round(value)}\u00a0B`;
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return `${value.toFixed(digits)}\u00a0${units[unit]}`;
}

/** "312 ms", "1.24 s", "2 min 5 s" */
export function formatDuration(milliseconds) {
  if (!Number.isFinite(milliseconds) || milliseconds < 0) return "unknown time";
  if (milliseconds < 999.5) return `${Math.round(milliseconds)}\u00a0ms`;
  if (milliseconds < 59_950) return `${(milliseconds / 1000).toFixed(milliseconds < 9_995 ? 2 : 1)}\u00a0s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)}\u00a0min ${seconds % 60}\u00a0s`;
}

/** A share in [0, 1] as "12.4 %"; small shares keep two digits, "0.043 %", and end at "< 0.001 %". */
export function formatShare(share) {
  if (!Number.isFinite(share)) return "unknown";
  const percent = share * 100;
  if (percent <= 0) return "0\u202f%";
  if (percent < 0.001) return "<\u202f0.001\u202f%";
  if (percent < 0.0995) return `${Number(percent.toPrecision(2))}\u202f%`;
  if (percent < 9.995) return `${percent.toFixed(2)}\u202f%`;
  return `${percent.toFixed(1)}\u202f%`;
}

/** A hit's share, with its 95 % interval where that is wider than the digits shown: "1.87 % (1.85 to 1.90 %)". */
export function formatInfluence({ influence, influenceLow, influenceHigh }) {
  const [share, low, high] = [influence, influenceLow, influenceHigh].map(formatShare);
  if (!Number.isFinite(influenceLow) || !Number.isFinite(influenceHigh) || low === high) return share;
  return `${share} (${low.replace("\u202f%", "")}\u2013${high})`;
}

/** How much of the index a result rests on, in a line. */
export function formatCompleteness({ rowsRead, rows, reranked, estimatedRecall }) {
  if (reranked >= rows) return "all works, in full";
  const read = rowsRead >= rows ? "codes of all works" : `codes of ${formatCount(rowsRead)} of ${formatCount(rows)} works`;
  return `${read}, ${formatCount(reranked)} in full; estimated recall ${(100 * estimatedRecall).toFixed(1)}\u202f%`;
}

/** A cosine: "0.831". */
export function formatSimilarity(score) {
  return Number.isFinite(score) ? score.toFixed(3) : "unknown";
}

/** A parameter such as 1/tau: up to four significant digits, no trailing zeros. */
export function formatParameter(value) {
  return Number.isFinite(value) ? String(Number(value.toPrecision(4))).replace("-", "\u2212") : "unknown";
}

/** "on your GPU" or "on your CPU". */
export function formatDevice(device) {
  return /gpu/i.test(device ?? "") ? "on your GPU" : "on your CPU";
}

/** The address of a link that came with the data, or null unless it is http(s), possibly relative to `base`. */
export function safeLink(link, base) {
  if (typeof link !== "string" || link === "") return null;
  try {
    const url = new URL(link, base);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}
