// The shadow tree of <data-attribution>: assembles the parts and switches between the states.

import { createControls } from "./controls.js";
import { h } from "./dom.js";
import { createExamples } from "./examples.js";
import { formatBytes, formatCount, formatShare } from "./format.js";
import { createGallery } from "./gallery.js";
import { createHitCard } from "./hit-card.js";
import { createHitDialog } from "./hit-dialog.js";
import { createIndexChoice } from "./index-choice.js";
import { remainderBeyond } from "./layout.js";
import { messageFor } from "./messages.js";
import { createNotes } from "./notes.js";
import { createProgressPanel } from "./progress-panel.js";
import { createStage } from "./query-stage.js";
import { createSummaryPanel } from "./summary-panel.js";

/** `actions`: onSource, onRefused, onCancel, onSetting, onAction(name), onIndex(src) and linkBase(). */
export function createView(actions) {
  const stage = createStage(actions);
  const examples = createExamples({ onPick: actions.onSource });
  const progress = createProgressPanel(actions);
  const dialog = createHitDialog(actions);
  const card = createHitCard();
  const openHit = (rank) => {
    card.hide();
    dialog.open(list.hits, rank, stage.preview);
  };
  const summary = createSummaryPanel({ onOpen: openHit });
  const gallery = createGallery({ onOpen: openHit, onPoint: (hit, button) => (hit ? card.show(hit, button) : card.hide()) });
  const controls = createControls({ onChange: actions.onSetting });
  const notes = createNotes();
  const choice = createIndexChoice(actions);

  const intro = h("p", { class: "download muted" });
  const privacy = h("p", { class: "privacy" }, "Your image never leaves this page.");
  const start = h("div", { class: "start" }, h("slot", { name: "intro" }), intro, privacy);
  const alertText = h("p", {});
  const alertDetail = h("p", { class: "alert-detail" });
  const alertAction = h("button", { type: "button", class: "button", on: { click: () => actions.onAction(alertAction.dataset.action) } });
  const alertBox = h("div", { class: "alert", part: "alert", hidden: true }, alertText, alertDetail, alertAction);
  // Present from the start: a live region that appears with its text is not announced everywhere.
  const alertRegion = h("div", { class: "alert-region", role: "alert" }, alertBox);
  const status = h("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  const kind = h("p", { class: "kind", part: "kind" });
  const remainder = h("p", { class: "remainder", part: "remainder" });
  const results = h(
    "section",
    { class: "results", part: "results", hidden: true, "aria-label": "Ranked works" },
    h("div", { class: "results-head" }, h("div", {}, h("h2", {}, "Ranked works"), kind), controls.root),
    gallery.root,
    remainder,
  );
  const root = h(
    "div",
    { class: "view", "data-state": "idle" },
    h("div", { class: "query" }, stage.root, h("div", { class: "panel", part: "panel" }, alertRegion, choice.root, start, progress.root, summary.root, examples.root)),
    results,
    notes.root,
    status,
    card.root,
    dialog.root,
  );
  stage.listenForDrops(root);
  notes.show(null);

  /** What the gallery shows: { hits, result (null while provisional), info, rows, totalRows }. */
  let list = { hits: [], result: null };
  let lastSettings = null;

  function drawList(settings, animate) {
    lastSettings = settings;
    const { result, info, provisional } = list;
    results.hidden = list.all.length === 0;
    if (results.hidden) return;
    list.hits = list.all.slice(0, settings.topK);
    controls.show(settings, info?.count ?? provisional?.totalRows);
    gallery.update(list.hits, settings, { animate });
    results.classList.toggle("provisional", !result);
    remainder.hidden = !result;
    if (!result) {
      kind.textContent = `Provisional: similarity only, ${formatCount(provisional.rows)} of ${formatCount(provisional.totalRows)} works read${likely(provisional.completeness)}. Influence follows at the end.`;
      return;
    }
    const fitted = info?.calibrator.fitted ? "calibrated" : "by a default calibrator";
    kind.textContent = `Order: measured similarity. Sizes and percentages: estimated influence, ${fitted}, over all ${formatCount(result.count)} works${result.completeness.influenceExact ? "" : "; 95\u202f% intervals with each work"}.`;
    const beyond = Math.max(result.count - list.hits.length, 0);
    const rest = formatShare(remainderBeyond(result, list.hits.length));
    remainder.textContent = beyond === 0
      ? "All works of the index are shown."
      : `Remaining influence: ${rest}, in the ${formatCount(beyond)} works not shown.`;
    summary.show(result, info, list.hits.length);
  }

  list.all = [];

  return {
    root, stage, examples, progress, choice,
    setState(state) {
      root.dataset.state = state;
      const focusLost = [progress.root, alertRegion].some((part) => part.contains(root.getRootNode().activeElement));
      if (focusLost) requestAnimationFrame(() => stage.focus());
      examples.setHeading(state === "idle" ? "Or try an example" : "Try another example");
      const busy = state === "loading" || state === "streaming";
      results.setAttribute("aria-busy", String(busy));
      results.classList.toggle("stale", state === "loading");
      if (!busy) progress.stop();
      if (busy) summary.hide();
      else if (list.result) summary.root.hidden = false;
      start.hidden = busy || Boolean(list.result);
      if (busy) card.hide();
    },
    announce: (text) => (status.textContent = text),
    showPoster(poster) {
      intro.textContent = poster ? posterText(poster) : "";
    },
    showResult(result, info, settings) {
      dialog.close();
      start.hidden = true;
      list = { all: result.hits, hits: [], result, info };
      notes.show(info);
      drawList(settings, true);
    },
    showProvisional({ hits, rows, totalRows, completeness }, info, settings) {
      list = { all: hits, hits: [], result: null, info, provisional: { rows, totalRows, completeness } };
      drawList(settings, true);
    },
    clear() {
      dialog.close();
      list = { all: [], hits: [], result: null };
      results.hidden = true;
      summary.hide();
      notes.show(null);
    },
    relayout: (settings = lastSettings) => settings && drawList(settings, false),
    showError(error) {
      const { text, action, detail } = messageFor(error);
      alertText.textContent = text;
      alertDetail.textContent = detail;
      alertAction.hidden = action === null;
      alertAction.dataset.action = action ?? "";
      alertAction.textContent = action === "cpu" ? "Use the CPU" : "Try again";
      alertBox.hidden = false;
    },
    hideError: () => (alertBox.hidden = true),
    close() {
      card.hide();
      dialog.close();
    },
  };
}

/** What is estimated of a provisional list of a clustered index; of a flat one it is only the share of rows read. */
function likely(completeness) {
  if (!completeness || completeness.reranked === completeness.rowsRead) return "";
  return `, holding an estimated ${Math.round(100 * completeness.estimatedRecall)}\u202f% of the final list`;
}

function posterText({ count, backbone, totalBytes, modelBytes, indexBytes }) {
  const works = Number.isFinite(count) ? `${formatCount(count)} works` : "the works of this index";
  const searched = `Compares your image with ${works}${backbone ? ` by ${backbone} features` : ""}.`;
  if (!(totalBytes > 0)) return searched;
  return `${searched} The first image downloads ${formatBytes(totalBytes)} once (model ${formatBytes(modelBytes)}, index ${formatBytes(indexBytes)}); your browser keeps it.`;
}
