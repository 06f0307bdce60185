// <data-attribution src="demo/manifest.json">: the whole thing as one element.
//
// It downloads nothing big before the first query (unless `eager`); the manifest alone is read, to say how much that
// will be. Attributes hold the settings and properties reflect them; `state` is idle, loading, streaming, done or error.

import { untilAborted } from "./abort.js";
import { AttributionError, cancelledError } from "./attribution-error.js";
import { ElementProperties } from "./element-properties.js";
import { STYLE } from "./element-style.js";
import { formatCount } from "./format.js";
import { listedChoices } from "./index-choice.js";
import { OpenedIndex } from "./opened-index.js";
import { listenForPaste } from "./paste.js";
import { readPoster } from "./poster.js";
import { describeQuery } from "./query-source.js";
import { mostRetrieved } from "./settings.js";
import { createView } from "./view.js";

/** While the index streams in, provisional hits are drawn at most this often. */
const REDRAW_MS = 250;

export class DataAttributionElement extends ElementProperties {
  #view;
  #state = "idle";
  #error = null;
  /** The last finished query: { result, info, query }. Kept through errors and cancellations of later ones. */
  #last = null;
  #index = new OpenedIndex();
  #abort = null;
  #query = null;
  #lastDraw = 0;
  #resize = null;
  #stopPaste = null;
  #choices = null;

  constructor() {
    super();
    this.#view = createView({
      onSource: (source, label) => this.#startQuietly(source, label),
      onRefused: (text) => this.#refuse(new AttributionError("invalid-argument", text)),
      onCancel: () => this.cancel(),
      onSetting: (name, value) => {
        this[name] = value;
        this.#retrieveMore();
      },
      onAction: (action) => this.#act(action),
      onIndex: (src) => this.#choose(src),
      linkBase: () => this.resolved("src") ?? document.baseURI,
    });
    this.#choices = new MutationObserver(() => this.#showChoices());
    const root = this.attachShadow({ mode: "open" });
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLE);
    root.adoptedStyleSheets = [sheet];
    root.append(this.#view.root);
  }

  connectedCallback() {
    this.adoptProperties();
    this.#stopPaste = listenForPaste(this, (clipboard) => this.#view.stage.takeTransfer(clipboard));
    this.#resize = new ResizeObserver(() => this.#view.relayout(this.settings()));
    this.#resize.observe(this);
    // The children are there by now, or come with the rest of the page.
    this.#showChoices();
    this.#choices.observe(this, { childList: true });
    this.#loadPoster();
    this.#view.examples.load(this.resolved("examples"));
    if (this.eager && this.src) this.#open().catch(() => {});
  }

  disconnectedCallback() {
    this.#stopPaste();
    this.#resize.disconnect();
    this.#choices.disconnect();
    // An element that is only moved is connected again at once.
    queueMicrotask(() => {
      if (!this.isConnected) this.#close();
    });
  }

  attributeChangedCallback(name, before, after) {
    if (before === after) return;
    if (name === "examples") {
      if (this.isConnected) this.#view.examples.load(this.resolved("examples"));
    } else if (name === "device") {
      this.#close();
    } else if (name === "src") {
      this.#reset();
    } else {
      this.#view.relayout(this.settings());
    }
  }

  /** Ranks the index by a Blob or File, a URL or an ImageBitmap, and shows the result; a running query is cancelled. */
  async attribute(source) {
    return this.#run(await describeQuery(source));
  }

  /** Stops the running query and its downloads; the previous result comes back. */
  cancel() {
    this.#abort?.abort(cancelledError());
    this.#index.cancel();
  }

  get state() { return this.#state; }
  get result() { return this.#last?.result ?? null; }
  get error() { return this.#error; }
  get info() { return this.#index.attributor?.info ?? this.#last?.info ?? null; }
  async #loadPoster() {
    const url = this.resolved("src");
    const poster = url ? await readPoster(url) : null;
    if (url === this.resolved("src")) this.#view.showPoster(poster);
  }

  /** From the page's own controls: errors are shown, there is no caller to reject to. */
  #startQuietly(source, label) {
    this.#run({ source, label, preview: source }).catch(() => {});
  }

  async #run(query) {
    this.#abort?.abort(cancelledError());
    const abort = (this.#abort = new AbortController());
    const current = () => this.#abort === abort;
    this.#query = query;
    this.#error = null;
    this.#lastDraw = 0;
    this.#view.hideError();
    this.#view.stage.show(query);
    this.#view.stage.reveal();
    this.#view.examples.mark(query.source);
    this.#view.progress.start("Preparing");
    this.#setState("loading");
    this.#view.announce("Preparing the model.");
    const onProgress = (event) => current() && this.#onProgress(event);
    try {
      const attributor = await untilAborted(this.#open(), abort.signal);
      const { info } = attributor;
      this.#view.progress.heading("Comparing");
      this.#view.announce(`Comparing your image with ${formatCount(info.count)} works.`);
      const result = await attributor.attribute(query.source, { topK: this.#retrieved(info), quality: this.quality, onProgress, signal: abort.signal });
      this.#last = { result, info, query };
      this.#abort = null;
      this.#setState("done");
      this.#view.showResult(result, info, this.settings());
      const [first] = result.hits;
      this.#view.announce(`Done: ${formatCount(result.hits.length)} works ranked.${first ? ` Most influential: ${first.name}.` : ""}`);
      this.dispatchEvent(new CustomEvent("result", { detail: result, composed: true }));
      return result;
    } catch (error) {
      if (current()) this.#afterFailure(error);
      throw error;
    }
  }

  #afterFailure(error) {
    this.#abort = null;
    // The worker is gone, or the session with it: the next query opens the index again.
    if (error.code === "internal" || error.code === "disposed") this.#close();
    if (this.#last) {
      this.#setState("done");
      this.#view.stage.show(this.#last.query);
      this.#view.examples.mark(this.#last.query.source);
      this.#view.showResult(this.#last.result, this.#last.info, this.settings());
    } else {
      this.#setState("idle");
      this.#view.clear();
      this.#view.stage.show(null);
      this.#view.examples.mark(null);
    }
    if (error.code === "cancelled") this.#view.announce("Cancelled.");
    else this.#fail(error);
  }

  /** What was dropped is no image: a query that runs goes on. */
  #refuse(error) {
    if (this.#abort) this.#view.showError(error);
    else this.#fail(error);
  }

  #fail(error) {
    this.#error = error;
    this.#view.showError(error);
    this.#setState("error");
    this.dispatchEvent(new CustomEvent("error", { detail: error, composed: true }));
  }

  #open() {
    if (!this.src) return Promise.reject(new AttributionError("invalid-argument", "<data-attribution> has no src"));
    return this.#index.open(this.src, { device: this.device, onProgress: (event) => this.#onProgress(event) });
  }

  #onProgress(event) {
    this.#view.progress.add(event);
    if (this.#abort && this.#state !== "streaming" && (event.type === "index" || event.type === "hits")) this.#setState("streaming");
    if (this.#abort && event.type === "hits" && event.hits.length > 0 && performance.now() - this.#lastDraw > REDRAW_MS) {
      this.#lastDraw = performance.now();
      this.#view.showProvisional(event, this.info, this.settings());
    }
    this.dispatchEvent(new CustomEvent("progress", { detail: event, composed: true }));
  }

  #act(action) {
    if (action === "cpu") this.device = "cpu";
    const query = this.#query;
    if (query && (action === "retry" || action === "cpu")) this.#startQuietly(query.source, query.label);
  }

  #close() {
    this.#abort?.abort(cancelledError());
    this.#index.close();
    this.#view.progress.forget();
    this.#view.close();
  }

  /** Another index: results of the former one would be wrong beside it. */
  #reset() {
    const abort = this.#abort;
    this.#abort = null;
    abort?.abort(cancelledError());
    this.#close();
    this.#last = null;
    this.#query = null;
    this.#error = null;
    this.#view.hideError();
    this.#view.clear();
    this.#view.stage.show(null);
    this.#setState("idle");
    if (!this.isConnected) return;
    this.#showChoices();
    this.#loadPoster();
  }

  /** The indexes that the page offers; without `src` the first of them is used. */
  #showChoices() {
    const choices = listedChoices(this);
    if (!this.src && choices.length > 0) this.src = choices[0].src;
    else this.#view.choice.show(choices, this.src);
  }

  /**
   * Hits to ask for. A flat index is read whole anyway; of a clustered one, more hits are more bytes, so it is asked for
   * what is shown.
   */
  #retrieved(info) {
    const most = mostRetrieved(info.count);
    return info.structure === "clustered" ? Math.min(this.topK, most) : most;
  }

  /** Asks again when more is to be shown than was asked for. */
  #retrieveMore() {
    const last = this.#last;
    if (!last || this.#abort || last.result.hits.length >= this.#retrieved(last.info)) return;
    this.#run(last.query).catch(() => {});
  }

  /** Another index for the same image. */
  #choose(src) {
    const query = this.#query ?? this.#last?.query;
    this.src = src;
    if (query) this.#run(query).catch(() => {});
  }

  #setState(state) {
    this.#state = state;
    this.#view.setState(state);
  }
}

if (globalThis.customElements && !customElements.get("data-attribution")) {
  customElements.define("data-attribution", DataAttributionElement);
}
