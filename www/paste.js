// Pasted images. A paste that is aimed at nothing in particular goes to the first element of the page.

const listeners = new Set();

/** Calls `take(clipboardData)` for pastes with a file that are meant for `element`; returns a function that stops it. */
export function listenForPaste(element, take) {
  const onPaste = (event) => {
    const path = event.composedPath();
    const inside = path.includes(element);
    const typing = path.some((node) => node.isContentEditable || /^(input|textarea)$/i.test(node.localName ?? ""));
    const [first] = listeners;
    if (event.defaultPrevented || !(inside || (first === onPaste && !typing)) || !event.clipboardData?.files.length) return;
    event.preventDefault();
    take(event.clipboardData);
  };
  listeners.add(onPaste);
  document.addEventListener("paste", onPaste);
  return () => {
    listeners.delete(onPaste);
    document.removeEventListener("paste", onPaste);
  };
}
