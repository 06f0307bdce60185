// The style of the results: gallery, sliders, card and dialog. See element-style.js.

export const GALLERY_STYLE = `
.results { margin-top: 3.5rem; }
.results.stale .gallery, .results.stale .remainder { opacity: 0.35; }
.gallery { transition: opacity 0.25s; }
.results-head { display: grid; gap: 1.25rem 3rem; margin-bottom: 1.75rem; }
.kind { margin-top: 0.35rem; color: var(--_muted); font-size: 0.9375rem; max-width: 34rem; }
.provisional .kind { color: var(--_accent); }
.controls { display: grid; grid-template-columns: 1fr 1fr; gap: 0.75rem 1.5rem; }
.control { display: grid; grid-template-columns: 1fr auto; gap: 0 0.75rem; font-size: 0.875rem; }
.control label { color: var(--_muted); }
.control output { font-weight: 500; }
.control input { grid-column: 1 / -1; width: 100%; height: 28px; margin: 0; appearance: none; background: none; cursor: pointer; border-radius: 6px; }
.control input:disabled { opacity: 0.4; cursor: default; }
.control input::-webkit-slider-runnable-track { height: 4px; border-radius: 2px; background: linear-gradient(90deg, var(--_accent) var(--filled, 0%), var(--_border) var(--filled, 0%)); }
.control input::-moz-range-track { height: 4px; border-radius: 2px; background: var(--_border); }
.control input::-moz-range-progress { height: 4px; border-radius: 2px; background: var(--_accent); }
.control input::-webkit-slider-thumb { appearance: none; width: 18px; height: 18px; margin-top: -7px; border-radius: 50%; border: 2px solid var(--_accent); background: var(--_surface); }
.control input::-moz-range-thumb { width: 14px; height: 14px; border-radius: 50%; border: 2px solid var(--_accent); background: var(--_surface); }

.gallery { width: 100%; }
.row { margin-bottom: max(1.1rem, var(--gap)); }
.row-heading { font-size: 0.8125rem; font-weight: 500; color: var(--_muted); display: flex; align-items: center; gap: 0.9rem; margin-bottom: 0.6rem; white-space: nowrap; }
.row-heading::after { content: ""; flex: 1; height: 1px; background: var(--_border); }
.row-items { display: flex; align-items: flex-end; }
.row-items li { flex: none; }
.hit { display: block; width: 100%; padding: 0; border: 0; border-radius: 4px; background: var(--_sunken); overflow: hidden; cursor: zoom-in; position: relative; }
.hit img { display: block; width: 100%; height: 100%; object-fit: cover; transition: filter 0.15s; }
.hit:hover img { filter: brightness(1.08); }
.hit:hover { box-shadow: 0 0 0 2px var(--_accent); }
.hit.missing img { display: none; }
.hit-name { display: none; }
.hit.missing .hit-name { display: block; padding: 0.4rem; font: inherit; font-size: 0.75rem; color: var(--_muted); overflow-wrap: anywhere; }
.hit-caption { display: flex; justify-content: space-between; gap: 0.4rem; height: var(--caption-height); padding-top: 3px; font-size: 0.75rem; line-height: 18px; overflow: hidden; white-space: nowrap; }
.hit-rank { color: var(--_muted); }
.hit-share { font-weight: 500; }
.provisional .hit-share { font-weight: 400; color: var(--_muted); }
.remainder { margin-top: 1.5rem; padding: 0.9rem 0; font-weight: 500; border-top: 1px solid var(--_border); }

.card { position: fixed; inset: auto; margin: 0; width: max-content; max-width: min(20rem, calc(100vw - 20px)); padding: 0.75rem 0.9rem; border: 1px solid var(--_border); border-radius: 10px; background: var(--_surface); color: var(--_text); box-shadow: 0 8px 30px rgb(0 0 0 / 0.18); font-size: 0.8125rem; line-height: 1.4; pointer-events: none; }
.card-name { font-weight: 600; font-size: 0.9375rem; overflow-wrap: anywhere; }
.card-caption { color: var(--_muted); margin-top: 0.15rem; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden; }
.card dl { grid-template-columns: repeat(3, auto); gap: 1.1rem; margin-top: 0.5rem; }
.card dt { font-size: 0.75rem; }

.dialog { width: min(62rem, calc(100vw - 24px)); max-width: none; max-height: calc(100dvh - 24px); padding: 0; border: 1px solid var(--_border); border-radius: calc(var(--_radius) + 2px); background: var(--_surface); color: var(--_text); overflow: auto; }
.dialog::backdrop { background: rgb(12 11 10 / 0.72); }
.dialog-body { padding: 1rem 1.25rem 1.5rem; display: grid; gap: 1.25rem; }
.dialog-bar { display: flex; align-items: center; gap: 0.5rem; }
.dialog-position { flex: 1; padding-inline: 0.5rem; font-size: 0.875rem; }
.dialog-images { display: flex; gap: 1.25rem; width: min(100%, min(56dvh, 30rem) * var(--aspects, 2) + 1.25rem); }
.dialog-images figure { flex: 1 1 0; min-width: 0; }
.dialog-images img { display: block; width: 100%; border-radius: 6px; }
.dialog-images figcaption { margin-top: 0.4rem; font-size: 0.8125rem; color: var(--_muted); }
.dialog-details { display: grid; gap: 0.9rem; }
.dialog-details .button { margin-top: 1rem; }
.dialog-title { overflow-wrap: anywhere; }
.dialog-caption { color: var(--_muted); margin-bottom: 0.9rem; max-width: 45rem; }
.dialog-details dl { grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); }
@media (max-width: 36rem) {
  .dialog-images { flex-wrap: wrap; width: 100%; }
  .dialog-images .dialog-hit { flex: 0 0 100% !important; order: -1; }
  .dialog-images .dialog-hit img { width: min(100%, 42dvh * var(--hit-aspect, 1)); }
  .dialog-images .dialog-query { flex: 0 0 36% !important; }
}

@container (min-width: 44rem) { .controls { grid-template-columns: repeat(4, 1fr); } }
@container (min-width: 64rem) { .results-head { grid-template-columns: minmax(0, 4fr) minmax(0, 6fr); align-items: end; } }
`;
