// The four sliders above the gallery. They only report; the element holds the values.

import { formatCount } from "./format.js";
import { h } from "./dom.js";
import { mostRetrieved, positionOf, RETRIEVED_STEPS, retrievedAt, SETTINGS } from "./settings.js";

/** `onChange(name, value)` is called while a slider moves. */
export function createControls({ onChange }) {
  let most = mostRetrieved();
  const sliders = Object.fromEntries(Object.entries(SETTINGS).map(([name, setting]) => [name, createSlider(name, setting)]));
  const root = h("div", { class: "controls", part: "controls", role: "group", "aria-label": "Gallery settings" },
    ...Object.values(sliders).map((slider) => slider.root));

  function createSlider(name, { label, min, max, step = 1, unit }) {
    const logarithmic = name === "topK";
    const id = `control-${name}`;
    const range = logarithmic ? { min: 0, max: RETRIEVED_STEPS, step: 1 } : { min, max, step };
    const output = h("output", { for: id });
    const input = h("input", { type: "range", id, name, ...range, on: { input: () => onChange(name, read()) } });
    const read = () => (logarithmic ? retrievedAt(input.valueAsNumber, most) : input.valueAsNumber);
    return {
      root: h("div", { class: "control" }, h("label", { for: id }, label), output, input),
      show(value) {
        const text = unit ? `${formatCount(value)} ${unit}` : formatCount(value);
        // A slider that a person is moving keeps its place: two positions may give the same number.
        if (read() !== value) input.value = String(logarithmic ? positionOf(value, most) : value);
        input.setAttribute("aria-valuetext", text);
        output.textContent = text;
        input.disabled = logarithmic && most <= SETTINGS.topK.min;
        const { min: low, max: high } = range;
        input.style.setProperty("--filled", `${(100 * (input.valueAsNumber - low)) / (high - low)}%`);
      },
    };
  }

  return {
    root,
    /** Shows the values { topK, columns, resolution, padding } for an index of `count` items. */
    show(values, count) {
      most = mostRetrieved(count);
      for (const [name, slider] of Object.entries(sliders)) slider.show(name === "topK" ? Math.min(values[name], most) : values[name]);
    },
  };
}
