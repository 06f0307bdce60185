// The four settings of the gallery: their ranges, their defaults, and the logarithmic scale of "retrieved".

export const SETTINGS = {
  topK: { attribute: "top-k", label: "Retrieved", min: 10, max: 1000, initial: 100 },
  columns: { attribute: "columns", label: "Columns", min: 1, max: 20, initial: 5 },
  resolution: { attribute: "resolution", label: "Resolution", min: 64, max: 1024, initial: 256, step: 16, unit: "px" },
  padding: { attribute: "padding", label: "Padding", min: 0, max: 64, initial: 8, unit: "px" },
};

/** Positions of the logarithmic slider. */
export const RETRIEVED_STEPS = 100;

/** A setting's value from what an attribute or property says; anything unusable gives the default. */
export function settingValue(name, text) {
  const { min, max, initial } = SETTINGS[name];
  const value = text === null || text === undefined || text === "" ? NaN : Math.round(Number(text));
  return Number.isFinite(value) ? Math.min(Math.max(value, min), max) : initial;
}

/** Columns where nobody chose a number: fewer on narrow screens. */
export function defaultColumns(widthPx) {
  if (widthPx > 0 && widthPx < 480) return 2;
  if (widthPx > 0 && widthPx < 840) return 3;
  return SETTINGS.columns.initial;
}

/** Most that can be retrieved from an index of `count` items. */
export function mostRetrieved(count) {
  return Math.max(1, Math.min(SETTINGS.topK.max, count ?? SETTINGS.topK.max));
}

/** Slider position in [0, RETRIEVED_STEPS] to a number in [10, most], evenly in the logarithm, two digits. */
export function retrievedAt(position, most) {
  const least = Math.min(SETTINGS.topK.min, most);
  if (position <= 0) return least;
  if (position >= RETRIEVED_STEPS) return most;
  const exact = least * (most / least) ** (position / RETRIEVED_STEPS);
  return Math.min(Math.max(Number(exact.toPrecision(2)), least), most);
}

/** The inverse: the slider position that shows `retrieved`. */
export function positionOf(retrieved, most) {
  const least = Math.min(SETTINGS.topK.min, most);
  if (most <= least) return RETRIEVED_STEPS;
  const held = Math.min(Math.max(retrieved, least), most);
  return Math.round((RETRIEVED_STEPS * Math.log(held / least)) / Math.log(most / least));
}
