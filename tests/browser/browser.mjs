// Headless Chromium with WebGPU on the software adapter, and the library loaded into a blank page.

import { createRequire } from "node:module";
import { ROOT } from "./toy.mjs";

const { chromium } = createRequire(`${ROOT}build/node/package.json`)("playwright-core");

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const FLAGS = [
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--no-sandbox", "--disable-quic",
  "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

export function launch() {
  return chromium.launch({ executablePath: CHROMIUM, args: FLAGS });
}

/** A page in a context of its own (empty caches); `problems` collects what the console should not say. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ serviceWorkers: "block", ...options });
  const page = await context.newPage();
  const problems = [];
  page.on("console", (message) => {
    // The driver's own remark, where a test keeps service workers out.
    if (message.text().includes("blocked by Playwright")) return;
    if (["error", "warning"].includes(message.type())) problems.push(message.text());
  });
  page.on("pageerror", (error) => problems.push(String(error)));
  await page.goto(url);
  return { context, page, problems };
}

/** Waits until nothing more comes into the caches: what was fetched is stored after the answer. */
export async function stored(page) {
  const entries = () => page.evaluate(async () => {
    let count = 0;
    for (const name of await caches.keys()) count += (await (await caches.open(name)).keys()).length;
    return count;
  });
  for (let before = -1, now = await entries(); now !== before;) {
    before = now;
    await page.waitForTimeout(700);
    now = await entries();
  }
}

/** Opens an index in the page as `window.attributor`; returns its info or the error's code. */
export function openIndex(page, manifest, options = {}) {
  return page.evaluate(async ([manifest, options]) => {
    const { Attributor } = await import("/data-attribution.js");
    window.events = [];
    try {
      window.attributor = await Attributor.open(manifest, { ...options, onProgress: (event) => window.events.push(event) });
      return window.attributor.info;
    } catch (error) {
      return { error: error.code, message: error.message };
    }
  }, [manifest, options]);
}

/** Attributes the image at `url` with `window.attributor`; the result, or {error, message}. */
export function attribute(page, url, options = {}) {
  return page.evaluate(async ([url, options]) => {
    try {
      return await window.attributor.attribute(url, { ...options, onProgress: (event) => window.events.push(event) });
    } catch (error) {
      return { error: error.code, message: error.message };
    }
  }, [url, options]);
}
