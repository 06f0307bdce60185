// The example queries: a JSON list of { file, artist, slug }, the images in `queries/` beside it.

import { h } from "./dom.js";

export function createExamples({ onPick }) {
  const list = h("ul", { class: "example-list" });
  const heading = h("h3", { class: "eyebrow" }, "Or try an example");
  const root = h("section", { class: "examples", part: "examples", hidden: true, "aria-label": "Example queries" }, heading, list);
  let wanted = null;

  /** Shows the examples of a JSON address; none, or a list that cannot be read, hides the section. */
  async function load(url) {
    wanted = url;
    const entries = url ? await fetchExamples(url) : [];
    if (wanted !== url) return;
    root.hidden = entries.length === 0;
    list.replaceChildren(...entries.map((entry) => h("li", {}, exampleButton(entry))));
  }

  function exampleButton({ imageUrl, label, slug }) {
    return h(
      "button",
      { type: "button", class: "example", title: label, "data-slug": slug, "aria-pressed": "false", on: { click: () => onPick(imageUrl, label) } },
      h("img", { src: imageUrl, alt: `Example: ${label}`, loading: "lazy", decoding: "async" }),
    );
  }

  /** Marks the example in use, if the query is one. */
  function mark(source) {
    for (const button of list.querySelectorAll(".example")) {
      button.setAttribute("aria-pressed", String(button.firstChild.src === String(source)));
    }
  }

  return { root, load, mark, setHeading: (text) => (heading.textContent = text) };
}

async function fetchExamples(url) {
  try {
    const response = await fetch(url);
    if (!response.ok) return [];
    const entries = await response.json();
    return entries.map(({ file, artist, slug }) => ({
      imageUrl: new URL(`queries/${encodeURIComponent(file)}`, url).href,
      label: String(artist ?? slug ?? file),
      slug: String(slug ?? file),
    }));
  } catch {
    return [];
  }
}
