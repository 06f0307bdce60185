/** The custom element <data-attribution>; importing this module defines it. */

import type { AttributionError, Device, ImageSource, Info, ProgressEvent, Quality, Result } from "./data-attribution.js";

export type DataAttributionState = "idle" | "loading" | "streaming" | "done" | "error";

/** None of these events bubbles: an "error" that did would look like one of the page. */
export interface DataAttributionEventMap {
  result: CustomEvent<Result>;
  progress: CustomEvent<ProgressEvent>;
  error: CustomEvent<AttributionError>;
}

/**
 * Children `<option value="manifest URL">label</option>` offer several indexes; without `src` the first is used.
 *
 * Attributes: `src` (manifest), `examples` (queries.json), `device`, `quality`, `top-k`, `columns`, `resolution`, `padding`, `eager`.
 *
 * Theming: the custom properties `--data-attribution-accent`, `-on-accent`, `-text`, `-muted`, `-surface`, `-sunken`,
 * `-border`, `-radius` and `-font`; the parts `stage`, `query-image`, `panel`, `progress`, `summary`, `strip`, `examples`,
 * `alert`, `results`, `kind`, `index-choice`, `controls`, `gallery`, `row`, `row-heading`, `hit`, `remainder`, `card`, `dialog` and
 * `notes`; the slot `intro`.
 */
export class DataAttributionElement extends HTMLElement {
  src: string | null;
  /** A JSON list of { file, artist, slug }; the images are in `queries/` beside it. */
  examples: string | null;
  device: Device;
  quality: Quality;
  /** Opens the index, downloads included, without waiting for a query. */
  eager: boolean;
  /** Number of hits shown, 10 to 1000; default 100. */
  topK: number;
  /** Full-size images per row, 1 to 20; default 5, fewer on narrow screens. */
  columns: number;
  /** Largest short side of a thumbnail in px, 64 to 1024; default 256. */
  resolution: number;
  /** Space between thumbnails in px, 0 to 64; default 8. */
  padding: number;

  readonly state: DataAttributionState;
  /** The last finished result; kept when a later query fails. */
  readonly result: Result | null;
  /** Why the state is "error". */
  readonly error: AttributionError | null;
  readonly info: Info | null;

  /** Attributes an image and shows the result; a running query is cancelled. Errors are shown and rejected. */
  attribute(source: ImageSource): Promise<Result>;
  /** Stops the running query and its downloads; the previous result comes back. */
  cancel(): void;

  addEventListener<K extends keyof DataAttributionEventMap>(
    type: K,
    listener: (this: DataAttributionElement, event: DataAttributionEventMap[K]) => unknown,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof DataAttributionEventMap>(
    type: K,
    listener: (this: DataAttributionElement, event: DataAttributionEventMap[K]) => unknown,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject, options?: boolean | EventListenerOptions): void;
}

declare global {
  interface HTMLElementTagNameMap {
    "data-attribution": DataAttributionElement;
  }
}
