// What is under way, in bytes and rows, with a way to stop it.

import { h } from "./dom.js";
import { formatBytes, formatCount } from "./format.js";

/**
 * Folds one progress event into the steps to show; pure. A step is { fraction, text }, fraction null while unknown and
 * 1 when done.
 */
export function foldProgress(steps, event) {
  switch (event.type) {
    case "program":
    case "model":
      return { ...steps, [event.type]: byteStep(event) };
    case "choosing":
      return { ...steps, model: { fraction: null, text: "finding your faster device" } };
    case "preprocess":
      return { ...steps, image: { fraction: 0, text: `${formatCount(event.width)} \u00d7 ${formatCount(event.height)} px` } };
    case "embed":
      return { ...steps, image: { ...steps.image, fraction: event.steps > 0 ? event.step / event.steps : null } };
    case "index": {
      const step = byteStep(event);
      return { ...steps, index: { ...step, text: `${step.text} \u00b7 ${formatCount(event.rows)} of ${formatCount(event.totalRows)} works` } };
    }
    default:
      return steps;
  }
}

function byteStep({ loadedBytes, totalBytes, cachedBytes }) {
  if (!(totalBytes > 0)) return { fraction: null, text: formatBytes(loadedBytes) };
  const fraction = Math.min(loadedBytes / totalBytes, 1);
  const stored = cachedBytes > 0 && cachedBytes >= loadedBytes ? ", stored in this browser" : "";
  const text = fraction === 1 ? `${formatBytes(totalBytes)}${stored}` : `${formatBytes(loadedBytes)} of ${formatBytes(totalBytes)}${stored}`;
  return { fraction, text };
}

const LABELS = { program: "Program", model: "Model", image: "Your image", index: "Index" };

export function createProgressPanel({ onCancel }) {
  const rows = Object.fromEntries(Object.entries(LABELS).map(([name, label]) => [name, createRow(label)]));
  const title = h("h3", {}, "Working");
  const root = h(
    "section",
    { class: "progress", part: "progress", hidden: true, "aria-label": "Progress" },
    h("div", { class: "progress-head" }, title, h("button", { type: "button", class: "button cancel", on: { click: onCancel } }, "Cancel")),
    ...Object.values(rows).map((row) => row.root),
  );
  let steps = {};

  function render() {
    for (const [name, row] of Object.entries(rows)) row.show(steps[name]);
  }

  return {
    root,
    /** Shows the panel with nothing done yet; what is already in memory keeps its line. */
    start(text) {
      steps = Object.fromEntries(["program", "model"].filter((name) => steps[name]?.fraction === 1).map((name) => [name, steps[name]]));
      title.textContent = text;
      root.hidden = false;
      render();
    },
    heading(text) {
      title.textContent = text;
    },
    add(event) {
      steps = foldProgress(steps, event);
      render();
    },
    stop() {
      root.hidden = true;
    },
    forget() {
      steps = {};
    },
  };
}

function createRow(label) {
  const bar = h("progress", { max: "1", "aria-label": label });
  const text = h("span", { class: "progress-text" });
  const root = h("div", { class: "progress-row" }, h("span", { class: "progress-label" }, label), text, bar);
  return {
    root,
    show(step) {
      root.classList.toggle("waiting", !step);
      root.classList.toggle("complete", step?.fraction === 1);
      text.textContent = step ? step.text : "waiting";
      if (step?.fraction === null) bar.removeAttribute("value");
      else bar.value = step?.fraction ?? 0;
    },
  };
}
