// The style of <data-attribution>, as a constructable sheet: a strict Content-Security-Policy allows it, and it is there
// before the first paint. Theming goes through the custom properties at the top and through ::part().

import { GALLERY_STYLE } from "./gallery-style.js";

const PANEL_STYLE = `
:host {
  --_accent: var(--data-attribution-accent, #b0401c);
  --_on-accent: var(--data-attribution-on-accent, #fff);
  --_text: var(--data-attribution-text, #1d1c1a);
  --_muted: var(--data-attribution-muted, #66635d);
  --_surface: var(--data-attribution-surface, #ffffff);
  --_sunken: var(--data-attribution-sunken, #f2f0ec);
  --_border: var(--data-attribution-border, #dedad3);
  --_radius: var(--data-attribution-radius, 14px);
  display: block;
  container-type: inline-size;
  color: var(--_text);
  font: 400 1rem/1.55 var(--data-attribution-font, -apple-system, BlinkMacSystemFont, "Segoe UI", Roboto, "Noto Sans", "Helvetica Neue", Arial, sans-serif);
  font-variant-numeric: tabular-nums;
}
:host([hidden]) { display: none; }
@supports (color: light-dark(#000, #fff)) {
  :host {
    --_accent: var(--data-attribution-accent, light-dark(#b0401c, #f59a74));
    --_on-accent: var(--data-attribution-on-accent, light-dark(#fff, #1d120c));
    --_text: var(--data-attribution-text, light-dark(#1d1c1a, #edebe6));
    --_muted: var(--data-attribution-muted, light-dark(#66635d, #a5a19a));
    --_surface: var(--data-attribution-surface, light-dark(#ffffff, #1f1e1c));
    --_sunken: var(--data-attribution-sunken, light-dark(#f2f0ec, #292825));
    --_border: var(--data-attribution-border, light-dark(#dedad3, #3a3835));
  }
}
*, ::before, ::after { box-sizing: border-box; }
[hidden] { display: none !important; }
h2, h3, p, dl, dd, figure, ul, ol { margin: 0; padding: 0; }
ul, ol { list-style: none; }
:focus-visible { outline: 3px solid var(--_accent); outline-offset: 2px; }
.muted { color: var(--_muted); }
.visually-hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.icon { width: 24px; height: 24px; fill: none; stroke: currentColor; stroke-width: 1.5; stroke-linecap: round; stroke-linejoin: round; }
.eyebrow { font-size: 0.8125rem; font-weight: 500; color: var(--_muted); }
h2 { font-size: 1.5rem; line-height: 1.2; font-weight: 600; letter-spacing: -0.015em; }

.button { font: inherit; font-size: 0.9375rem; font-weight: 500; line-height: 1.3; display: inline-flex; align-items: center; justify-content: center; gap: 0.5em;
  min-height: 40px; padding: 0.45rem 1rem; border: 1px solid var(--_border); border-radius: 999px; background: var(--_surface); color: var(--_text);
  cursor: pointer; text-decoration: none; transition: background 0.15s, border-color 0.15s; }
.button:hover:not(:disabled) { border-color: var(--_muted); }
.button:disabled { opacity: 0.4; cursor: default; }
.button.primary { background: var(--_accent); border-color: var(--_accent); color: var(--_on-accent); padding-inline: 1.4rem; }
.button.primary:hover { background: color-mix(in srgb, var(--_accent) 88%, var(--_text)); }
.button.quiet { border-color: transparent; background: none; min-height: 36px; padding: 0.3rem 0.6rem; color: var(--_accent); white-space: nowrap; margin-inline-end: -0.6rem; }
.button.quiet:hover { text-decoration: underline; border-color: transparent; }
.button.round { width: 40px; padding: 0; border-radius: 50%; }

.query { display: grid; gap: 2rem; }
.panel { display: flex; flex-direction: column; gap: 1.5rem; min-width: 0; }
.alert-region:has(> .alert[hidden]) { margin-bottom: -1.5rem; }
.stage { display: flex; flex-direction: column; gap: 0.5rem; min-width: 0; }
.frame { display: grid; place-items: center; min-height: 18rem; border-radius: var(--_radius); background: var(--_sunken); overflow: hidden; position: relative; }
.frame::after { content: ""; position: absolute; inset: 0; border-radius: inherit; border: 1.5px dashed color-mix(in srgb, var(--_muted) 45%, transparent); pointer-events: none; transition: border-color 0.15s, background 0.15s; }
.stage.filled .frame::after { border-color: transparent; }
.stage.dropping .frame::after { border: 3px solid var(--_accent); background: color-mix(in srgb, var(--_accent) 14%, transparent); }
.prompt { display: grid; justify-items: center; gap: 0.35rem; padding: 2rem 1.5rem; text-align: center; }
.prompt .icon { width: 40px; height: 40px; stroke-width: 1.2; color: var(--_accent); margin-bottom: 0.35rem; }
.prompt-title { font-size: 1.25rem; font-weight: 600; letter-spacing: -0.01em; }
.choose { margin-top: 1rem; }
.stage.filled .frame, .stage.filled figcaption { width: min(100%, 34rem * var(--aspect, 1)); }
.stage.filled .frame { flex: none; min-height: 0; background: none; border-radius: 6px; }
.query-image { display: block; width: 100%; height: auto; }
.no-preview { padding: 4rem 2rem; text-align: center; background: var(--_sunken); }
.stage figcaption { display: flex; justify-content: space-between; align-items: center; gap: 1rem; font-size: 0.9375rem; }
.query-label { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; color: var(--_muted); }

.index-choice { display: flex; align-items: center; gap: 0.75rem; font-size: 0.9375rem; }
.index-choice label { flex: none; color: var(--_muted); }
.index-choice select { font: inherit; font-weight: 500; color: inherit; background: var(--_surface); border: 1px solid var(--_border); border-radius: 999px; min-height: 40px; padding: 0.3rem 0.9rem; min-width: 0; max-width: 100%; text-overflow: ellipsis; cursor: pointer; }

.start { display: grid; gap: 0.75rem; }
.privacy { font-weight: 600; }
.example-list { display: grid; grid-template-columns: repeat(4, 1fr); gap: 8px; margin-top: 0.6rem; }
.example { display: block; width: 100%; aspect-ratio: 1; padding: 0; border: 0; border-radius: 8px; overflow: hidden; background: var(--_sunken); cursor: pointer; }
.example img { display: block; width: 100%; height: 100%; object-fit: cover; transition: transform 0.25s; }
.example:hover img { transform: scale(1.06); }
.example[aria-pressed="true"] { outline: 3px solid var(--_accent); outline-offset: 1px; }
.view:not([data-state="idle"]) .example-list { display: flex; overflow-x: auto; padding: 5px; margin-inline: -5px; scrollbar-width: thin; mask-image: linear-gradient(90deg, #000 calc(100% - 3rem), transparent); }
.view:not([data-state="idle"]) .example-list::after { content: ""; flex: 0 0 2.5rem; }
.view:not([data-state="idle"]) .example { width: 3.25rem; flex: none; }
.view:not([data-state="idle"]) .examples { margin-top: auto; }

.progress { display: grid; gap: 1.1rem; }
.progress-head { display: flex; justify-content: space-between; align-items: center; gap: 1rem; }
.progress-head h3 { font-size: 1.5rem; font-weight: 600; letter-spacing: -0.015em; }
.progress-row { display: grid; grid-template-columns: auto 1fr; gap: 0.2rem 1rem; font-size: 0.9375rem; transition: opacity 0.2s; }
.progress-row.waiting { opacity: 0.55; }
.progress-label { font-weight: 500; }
.progress-text { text-align: end; color: var(--_muted); }
progress { grid-column: 1 / -1; appearance: none; width: 100%; height: 6px; border: 0; border-radius: 3px; overflow: hidden; background: var(--_sunken); color: var(--_accent); }
progress::-webkit-progress-bar { background: var(--_sunken); }
progress::-webkit-progress-value { background: var(--_accent); border-radius: 3px; transition: inline-size 0.15s linear; }
progress::-moz-progress-bar { background: var(--_accent); border-radius: 3px; }

.alert { display: grid; gap: 0.35rem; justify-items: start; padding: 1rem 1.15rem; border-radius: var(--_radius); background: color-mix(in srgb, var(--_accent) 9%, var(--_surface)); border: 1px solid color-mix(in srgb, var(--_accent) 45%, transparent); }
.alert > p:first-child { font-weight: 500; }
.alert-detail { font-size: 0.875rem; color: var(--_muted); overflow-wrap: anywhere; }
.alert .button { margin-top: 0.5rem; }

.summary { display: grid; gap: 0.9rem; }
.headline { font-size: clamp(1.35rem, 2.6cqi, 1.9rem); line-height: 1.25; font-weight: 600; letter-spacing: -0.02em; text-wrap: balance; }
.headline em { font-style: normal; color: var(--_accent); }
.strip { display: flex; gap: 1px; height: clamp(4.5rem, 9cqi, 6.5rem); border-radius: 8px; overflow: hidden; background: var(--_surface); }
.segment { flex: 1 1 0; min-width: 0; background: var(--_border); cursor: pointer; overflow: hidden; }
.segment img { display: block; width: 100%; height: 100%; object-fit: cover; }
.segment.smaller { background: color-mix(in srgb, var(--_accent) 50%, var(--_surface)); cursor: default; }
.segment.beyond { background: var(--_border); cursor: default; }
.strip-legend { display: flex; flex-wrap: wrap; gap: 0.15rem 1.25rem; font-size: 0.8125rem; }
.swatch { display: inline-block; width: 0.75em; height: 0.75em; border-radius: 2px; margin-inline-end: 0.45em; }
dl { display: grid; gap: 0.75rem 1.5rem; }
dt { font-size: 0.8125rem; color: var(--_muted); }
dd { font-weight: 500; overflow-wrap: anywhere; }
.numbers dl { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); padding-top: 1rem; border-top: 1px solid var(--_border); font-size: 0.9375rem; }

.notes { margin-top: 3rem; border-top: 1px solid var(--_border); padding-top: 1rem; }
.notes summary { cursor: pointer; font-weight: 500; padding: 0.4rem 0; border-radius: 4px; width: fit-content; }
.notes-body { display: grid; gap: 2rem; padding: 1rem 0 0.5rem; }
.prose { display: grid; align-content: start; gap: 0.9rem; max-width: 38rem; }
.about dl { grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); }
.about p { margin-top: 1rem; }

@container (min-width: 30rem) { .example-list { grid-template-columns: repeat(8, 1fr); } }
@container (min-width: 52rem) {
  .example-list { grid-template-columns: repeat(6, 1fr); }
  .query { grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 3rem; }
  .frame { flex: 1; min-height: 24rem; }
  .notes-body { grid-template-columns: 1fr 1fr; gap: 3rem; }
}
@media (prefers-reduced-motion: reduce) {
  *, ::before, ::after { transition: none !important; animation: none !important; }
}
@media (forced-colors: active) {
  .frame { border: 1px solid; }
  progress { border: 1px solid; }
}
`;

export const STYLE = PANEL_STYLE + GALLERY_STYLE;
