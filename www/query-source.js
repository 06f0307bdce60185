// A query as it is shown: { source, label, preview }.

/** Names a source for people, and finds something an <img> can show of it. */
export async function describeQuery(source) {
  return { source, label: labelOf(source), preview: await previewOf(source) };
}

function labelOf(source) {
  if (source instanceof Blob) return source.name || "Your image";
  const path = typeof source === "string" || source instanceof URL ? String(source).split(/[?#]/)[0] : "";
  if (path === "" || /^(data|blob):/.test(path)) return "Your image";
  return path.slice(path.lastIndexOf("/") + 1) || path;
}

async function previewOf(source) {
  if (typeof ImageBitmap === "undefined" || !(source instanceof ImageBitmap)) return source;
  const canvas = document.createElement("canvas");
  canvas.width = source.width;
  canvas.height = source.height;
  canvas.getContext("2d").drawImage(source, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve));
}
