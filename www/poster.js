// What can be said about an index before anything big is downloaded: read from the head of its manifest.

/** { count, backbone, title, modelBytes, indexBytes, totalBytes }, or null where the manifest cannot be read. */
export async function readPoster(manifestUrl) {
  try {
    const response = await fetch(manifestUrl);
    if (!response.ok) return null;
    const { count, title, backbone, totals } = await response.json();
    const modelBytes = totals?.model_bytes;
    const indexBytes = totals?.index_bytes;
    return { count, title, backbone: backbone?.name, modelBytes, indexBytes, totalBytes: modelBytes + indexBytes };
  } catch {
    return null;
  }
}
