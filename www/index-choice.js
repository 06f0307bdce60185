// Choosing between several indexes on one page: other features, other mappers, each an index of its own.
//
// The page's author lists them as children of the element:
//     <option value="clip/manifest.json">CLIP, fine-tuned</option>

import { h } from "./dom.js";

/** `onIndex(src)` is called when a visitor chooses another index. */
export function createIndexChoice({ onIndex }) {
  const select = h("select", { id: "index-choice", on: { change: () => onIndex(select.value) } });
  const root = h("div", { class: "index-choice", part: "index-choice", hidden: true }, h("label", { for: "index-choice" }, "Features"), select);
  return {
    root,
    /** `choices` are { src, label }; fewer than two are no choice. */
    show(choices, src) {
      root.hidden = choices.length < 2;
      select.replaceChildren(...choices.map(({ src: value, label }) => h("option", { value }, label)));
      select.value = src ?? "";
    },
  };
}

/** The choices that `element` lists as children. */
export function listedChoices(element) {
  return [...element.querySelectorAll(":scope > option[value]")]
    .map((option) => ({ src: option.getAttribute("value"), label: option.textContent.trim() || option.getAttribute("value") }))
    .filter(({ src }) => src !== "");
}
