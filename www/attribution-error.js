// The one error class of the library. `code` is stable and meant for programs; `message` is meant for people.

export class AttributionError extends Error {
  /**
   * @param {string} code one of the codes listed in data-attribution.d.ts
   * @param {string} message
   * @param {ErrorOptions} [options]
   */
  constructor(code, message, options) {
    super(message, options);
    this.code = code;
    // Callers that abort expect the platform's name for it.
    this.name = code === "cancelled" ? "AbortError" : "AttributionError";
  }
}

export function cancelledError() {
  return new AttributionError("cancelled", "the call was cancelled");
}

export function disposedError() {
  return new AttributionError("disposed", "this Attributor was disposed; open a new one");
}
