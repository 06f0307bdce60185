// What to tell a person about an error, and what they can do: { text, action }, action "retry", "cpu" or null.

const MESSAGES = {
  "not-an-image": ["This file is not an image that can be read here. Choose a PNG, JPEG, WebP, GIF, BMP or TIFF file.", null],
  "damaged-image": ["This image is damaged and cannot be read to its end. Choose another copy of it.", null],
  "image-too-large": ["This image has too many pixels. Make it smaller and choose it again.", null],
  format: ["A file of this index cannot be read. Whoever hosts it has to publish the index again.", "retry"],
  "newer-version": ["This index is newer than this page. Reload the page; if that does not help, the page has to be updated.", null],
  integrity: ["A downloaded file is not the one the index names, so it was thrown away. Try again.", "retry"],
  "identity-mismatch": ["The index and the model do not belong together, so no scores are shown. Whoever hosts them has to publish a matching pair.", null],
  "not-found": ["A file is missing on the server. Check the address of the image and of the index, then try again.", "retry"],
  network: ["The download was interrupted. Check the connection and try again; what has arrived is kept.", "retry"],
  device: ["The GPU cannot be used for this. Try again on the CPU: slower, with the same result.", "cpu"],
  "not-finite": ["The computation gave values that are not numbers, so no result is shown. Try again on the CPU.", "cpu"],
  internal: ["The computation stopped unexpectedly. Try again: it starts afresh.", "retry"],
};

export function messageFor(error) {
  // The element's own: what was dropped or pasted is described better by the error itself.
  if (error?.code === "invalid-argument") return { text: error.message, action: null, detail: "" };
  const [text, action] = MESSAGES[error?.code] ?? ["This did not work. Try again, or choose another image.", "retry"];
  return { text, action, detail: String(error?.message ?? error) };
}
