// Headless Chromium over its own protocol's pipe, with nothing switched on.
//
// Why not the tests' driver: it observes the network of each page, and for that the page's process keeps a copy of every file below 10 MB,
// which took 9 ms a file of 5 MB. That falls on whoever reads many small files, and not on one large file.
// A page lives in a context of its own (empty caches).

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHROMIUM, FLAGS } from "../../tests/browser/browser.mjs";

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
/** A page that is still being loaded has no place to evaluate in, or loses it. */
const LOADING = /execution context|navigated/i;

export async function launch() {
  const profile = mkdtempSync(join(tmpdir(), "data-attribution-chromium-"));
  const child = spawn(CHROMIUM, ["--headless", "--remote-debugging-pipe", `--user-data-dir=${profile}`, ...FLAGS, "about:blank"],
    { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });
  const waiting = new Map();
  let last = 0, rest = "";
  const ended = new Promise((done) => child.once("exit", done));
  child.on("exit", () => {
    for (const { reject } of waiting.values()) reject(new Error("Chromium has ended"));
  });
  child.stdio[4].setEncoding("utf8").on("data", (text) => {
    const messages = (rest + text).split("\0");
    rest = messages.pop();
    for (const { id, sessionId, method, result, error } of messages.map((message) => JSON.parse(message))) {
      // A crashed page answers nothing any more.
      if (method === "Inspector.targetCrashed") {
        for (const call of waiting.values()) if (call.sessionId === sessionId) call.reject(new Error("the page has crashed"));
      }
      const call = waiting.get(id);
      waiting.delete(id);
      if (error) call?.reject(new Error(error.message));
      else call?.resolve(result);
    }
  });
  const send = (method, params = {}, sessionId = undefined) => new Promise((resolve, reject) => {
    waiting.set(++last, { resolve, reject, sessionId });
    child.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId })}\0`);
  });

  async function evaluate(sessionId, method, argument) {
    const expression = `({ ${method} })[${JSON.stringify(method.name)}](${JSON.stringify(argument) ?? ""})`;
    const { result, exceptionDetails } = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }, sessionId);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  return {
    version: (await send("Browser.getVersion")).product.split("/").at(-1),
    /** Of each process: {type, id}. */
    async processes() {
      return (await send("SystemInfo.getProcessInfo")).processInfo;
    },
    /** {evaluate, close} of a page at `url`, loaded; `evaluate` takes a method in shorthand form and what JSON can carry. */
    async openPage(url) {
      const { browserContextId } = await send("Target.createBrowserContext");
      const { targetId } = await send("Target.createTarget", { url, browserContextId });
      const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
      await send("Inspector.enable", {}, sessionId);
      const { there } = { there(url) { return location.href === url && document.readyState === "complete"; } };
      while (!(await evaluate(sessionId, there, url).catch((error) => { if (!LOADING.test(error.message)) throw error; }))) await pause(20);
      return {
        evaluate: (method, argument) => evaluate(sessionId, method, argument),
        close: () => send("Target.disposeBrowserContext", { browserContextId }),
      };
    },
    async close() {
      send("Browser.close").catch(() => {});
      await Promise.race([ended, pause(10000)]);
      child.kill("SIGKILL");
      // Its other processes may still write.
      rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    },
  };
}
