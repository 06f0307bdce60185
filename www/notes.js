// The fine print under the results: what the two numbers mean, and what they were computed with.

import { facts, h } from "./dom.js";
import { formatBytes, formatCount, formatDevice, formatParameter } from "./format.js";

export function createNotes() {
  const about = h("div", { class: "about" });
  const root = h(
    "details",
    { class: "notes", part: "notes" },
    h("summary", {}, "What the numbers mean, and how they were computed"),
    h(
      "div",
      { class: "notes-body" },
      h(
        "div",
        { class: "prose" },
        h("p", {}, h("strong", {}, "Similarity"), " is measured: the cosine between the features of your image and of a work, from \u22121 to 1. It says how alike the two look to the model, and nothing about cause."),
        h("p", {}, h("strong", {}, "Influence"), " is estimated: a calibrator turns the similarities to all works of the index into shares that add up to 100 %. One that was fitted learned how from models whose training images were known; a default one makes the same kind of shares, but nobody has checked their size. Works outside the index get no share, however much a model learned from them."),
        h("p", {}, "A high share is a reason to look closer. It is not proof that a work was used."),
      ),
      about,
    ),
  );

  return {
    root,
    show(info) {
      root.hidden = !info;
      if (!info) return;
      about.replaceChildren(
        facts([
          ["Index", info.title],
          ["Works (N)", formatCount(info.count)],
          ["Backbone", info.backbone],
          ["Feature", `${formatCount(info.dimension)} values`],
          ["Mapper", info.mapper || "none"],
          ["Calibrator", info.calibrator.fitted ? "fitted to known exemplars" : "default, not fitted"],
          ["inv_tau", formatParameter(info.calibrator.invTau)],
          ["Effective bias", formatParameter(info.calibrator.bias)],
          ["Device", formatDevice(info.device)],
          ["Why this device", info.deviceReason],
          ["Model", formatBytes(info.modelBytes)],
          ["Index size", formatBytes(info.indexBytes)],
        ]),
        ...(info.description ? [h("p", { class: "muted" }, info.description)] : []),
      );
    },
  };
}
