/** Which training images is a generated image made of? Answered in the browser, from static files. */

export type Device = "auto" | "cpu" | "webgpu";

/**
 * How much of a clustered index a query reads; a flat index is read whole.
 * - `fast`: the likeliest part of it
 * - `balanced`: short codes of all items, and the candidates in full
 * - `exact`: all items in full, however many bytes that is
 */
export type Quality = "fast" | "balanced" | "exact";

/**
 * - `not-an-image`, `damaged-image`, `image-too-large`: the query cannot be used
 * - `format`, `newer-version`, `integrity`, `identity-mismatch`: a file of the index or model cannot be used
 * - `not-found`, `network`: a file could not be fetched
 * - `device`: the asked-for device cannot be used here
 * - `not-finite`: the computation gave values that are no numbers, so there is no result
 * - `invalid-argument`: the call itself is wrong
 * - `cancelled`: by the `signal`; the error's `name` is then `AbortError`
 * - `disposed`: the Attributor was disposed before or during the call
 * - `internal`: the worker died; open a new Attributor
 */
export type AttributionErrorCode =
  | "not-an-image" | "damaged-image" | "image-too-large"
  | "format" | "newer-version" | "integrity" | "identity-mismatch"
  | "not-found" | "network" | "device" | "not-finite"
  | "invalid-argument" | "cancelled" | "disposed" | "internal";

export class AttributionError extends Error {
  constructor(code: AttributionErrorCode | (string & {}), message: string, options?: { cause?: unknown });
  /** Stable; later versions may add codes. */
  readonly code: AttributionErrorCode | (string & {});
}

/** One ranked item of the index. */
export interface Hit {
  /** From 1. */
  readonly rank: number;
  readonly id: number | string;
  readonly name: string;
  /** Similarity: the cosine between the mapped features, in [-1, 1]. Not calibrated. */
  readonly score: number;
  /** Calibrated share of influence over all items, in [0, 1]; null while the result is provisional. */
  readonly influence: number | null;
  /** Ends of the interval that holds the influence with a probability of 95 %, by the features before they were rounded for the index; of a flat index both are the influence itself. */
  readonly influenceLow: number | null;
  readonly influenceHigh: number | null;
  /** Absolute URL, or null where the index has no thumbnails. */
  readonly thumbnail: string | null;
  /** Size of the original, pixels. */
  readonly width: number;
  readonly height: number;
  readonly caption?: string;
  /** As written in the index: check the scheme before using it as a link. */
  readonly link?: string;
  /** Whatever else the index knows, as text, by its name. */
  readonly fields?: Readonly<Record<string, string>>;
}

export interface Info {
  readonly title: string;
  readonly description?: string;
  readonly backbone: string;
  /** Values per feature. */
  readonly dimension: number;
  /** Items in the index. */
  readonly count: number;
  /** A flat index is read whole; of a clustered one, `quality` says how much. */
  readonly structure: "flat" | "clustered";
  /** The device in use: "cpu" or "webgpu". */
  readonly device: string;
  readonly deviceReason: string;
  /** Bytes of tensors on the GPU, shared by all open attributors; null on the CPU. */
  readonly deviceBytes: number | null;
  /** `bias` is the effective one, as it enters the formula. */
  readonly calibrator: { readonly invTau: number; readonly bias: number; /** false for defaults */ readonly fitted: boolean };
  readonly mapper: string | null;
  /** Download sizes, bytes. */
  readonly modelBytes: number;
  readonly indexBytes: number;
}

export interface Timings {
  readonly decodeMs: number;
  readonly embedMs: number;
  readonly scoreMs: number;
  readonly totalMs: number;
}

/** How much of the index an answer rests on. */
export interface Completeness {
  /** Items scored, of `rows`. */
  readonly rowsRead: number;
  readonly rows: number;
  /** Items whose score is that of their full features, not of their short codes. */
  readonly reranked: number;
  /** Expected share of the true top k among the hits, 0 to 1. */
  readonly estimatedRecall: number;
  /** Whether the influences rest on all items in full, with no estimate in them. */
  readonly influenceExact: boolean;
}

export interface Result {
  /** By rank; at most `topK`. */
  readonly hits: readonly Hit[];
  /** Influence of all items not in `hits`, in [0, 1]. */
  readonly remainingInfluence: number;
  /** Ends of the interval that holds it with a probability of 95 %; equal where it is exact. */
  readonly remainingLow: number;
  readonly remainingHigh: number;
  /** Items ranked. */
  readonly count: number;
  readonly completeness: Completeness;
  readonly device: string;
  readonly timings: Timings;
  /** For this query, downloads that were given up included; `requests` counts files and ranges of files. The page fetches thumbnails itself: they are in neither. */
  readonly bytes: { readonly fetched: number; readonly cached: number; readonly requests: number };
}

export type ProgressEvent =
  /** The WebAssembly module itself; `totalBytes` is 0 while unknown. */
  | { readonly type: "program"; readonly loadedBytes: number; readonly totalBytes: number; readonly cachedBytes: number }
  | { readonly type: "choosing" }
  | { readonly type: "device"; readonly device: string; readonly reason: string }
  | { readonly type: "manifest"; readonly info: Partial<Info> }
  | { readonly type: "model"; readonly loadedBytes: number; readonly totalBytes: number; readonly cachedBytes: number }
  | { readonly type: "preprocess"; readonly width: number; readonly height: number }
  | { readonly type: "embed"; readonly step: number; readonly steps: number }
  | {
      readonly type: "index";
      readonly loadedBytes: number; readonly totalBytes: number; readonly cachedBytes: number;
      readonly rows: number; readonly totalRows: number;
    }
  /** Provisional: the best of the `rows` read so far, by similarity; influence is null. */
  | {
      readonly type: "hits";
      readonly hits: readonly Hit[]; readonly rows: number; readonly totalRows: number;
      readonly completeness: Completeness;
    };

export interface CallOptions {
  readonly onProgress?: (event: ProgressEvent) => void;
  readonly signal?: AbortSignal;
}

export interface OpenOptions extends CallOptions {
  /** Default "auto": the faster one that gives right results here. */
  readonly device?: Device;
}

export interface AttributeOptions extends CallOptions {
  /** How many hits to return, from 1; default 100. */
  readonly topK?: number;
  /** Default "balanced". */
  readonly quality?: Quality;
}

/** What can be attributed. Pixels of an ImageBitmap pass through a canvas: alpha is lossy there. */
export type ImageSource = Blob | string | URL | ImageBitmap;

/** A feature of the index's backbone that was computed elsewhere: one value per backbone dimension, of any length, not mapped. */
export type FeatureSource = Float32Array;

export class Attributor {
  private constructor();
  /**
   * Opens an index by the URL of its manifest (relative to the page). All Attributors of a page share one worker, which
   * must come from the page's own origin.
   */
  static open(manifest: string | URL, options?: OpenOptions): Promise<Attributor>;
  readonly info: Info;
  /** Calls on one Attributor run one after the other, in the order of the calls. */
  attribute(source: ImageSource | FeatureSource, options?: AttributeOptions): Promise<Result>;
  /** Frees its memory; running calls reject with the code "disposed", and files that are not stored yet are fetched again at the next visit. Safe to call twice. */
  dispose(): void;
}
