// The attributes of <data-attribution> as properties: the base of the element.

import { defaultColumns, SETTINGS, settingValue } from "./settings.js";

// Importing the module outside a browser, for example to render a page on a server, must not fail.
const Base = globalThis.HTMLElement ?? class {};

export class ElementProperties extends Base {
  static observedAttributes = ["src", "examples", "device", ...Object.values(SETTINGS).map(({ attribute }) => attribute)];

  get src() { return this.getAttribute("src"); }
  set src(value) { this.#reflect("src", value); }
  get examples() { return this.getAttribute("examples"); }
  set examples(value) { this.#reflect("examples", value); }
  get device() { return this.getAttribute("device") || "auto"; }
  set device(value) { this.#reflect("device", value); }
  get quality() { return this.getAttribute("quality") || "balanced"; }
  set quality(value) { this.#reflect("quality", value); }
  get eager() { return this.hasAttribute("eager"); }
  set eager(value) { this.toggleAttribute("eager", Boolean(value)); }
  get topK() { return settingValue("topK", this.getAttribute("top-k")); }
  set topK(value) { this.#reflect("top-k", value); }
  get columns() { return this.hasAttribute("columns") ? settingValue("columns", this.getAttribute("columns")) : defaultColumns(this.clientWidth); }
  set columns(value) { this.#reflect("columns", value); }
  get resolution() { return settingValue("resolution", this.getAttribute("resolution")); }
  set resolution(value) { this.#reflect("resolution", value); }
  get padding() { return settingValue("padding", this.getAttribute("padding")); }
  set padding(value) { this.#reflect("padding", value); }

  #reflect(attribute, value) {
    if (value === null || value === undefined) this.removeAttribute(attribute);
    else this.setAttribute(attribute, String(value));
  }

  /** Properties set before the element was defined hide the accessors until they are set again. */
  adoptProperties() {
    for (const name of ["src", "device", "quality", "examples", "eager", ...Object.keys(SETTINGS)]) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
  }

  /** The gallery's settings by name. */
  settings() {
    return Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, this[name]]));
  }

  /** The absolute URL that an attribute gives, or null. */
  resolved(attribute) {
    const value = this.getAttribute(attribute);
    return value && URL.canParse(value, document.baseURI) ? new URL(value, document.baseURI).href : null;
  }
}
