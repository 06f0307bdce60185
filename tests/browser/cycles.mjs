// Opens an index, asks it and disposes of it, again and again, and reads what memory that leaves.
//
// The worker is served with a few lines that keep hold of the module's memory. Where processes are counted, it is what
// the operating system holds for them, so it has noise of its own.

import { readdirSync, readFileSync } from "node:fs";
import { openPage } from "./browser.mjs";

/** Runs before the worker. */
export function memoryTold() {
  let memory, streamed;
  for (const name of ["instantiate", "instantiateStreaming"]) {
    const original = WebAssembly[name];
    WebAssembly[name] = async (...given) => {
      const made = await original.apply(WebAssembly, given);
      memory = (made.instance ?? made).exports.memory;
      streamed = name === "instantiateStreaming";
      return made;
    };
  }
  const post = self.postMessage.bind(self);
  self.postMessage = (message, ...rest) => {
    const told = message.type === "done" && memory ? { ...message, value: { ...message.value, wasmBytes: memory.buffer.byteLength, streamed } } : message;
    post(told, ...rest);
  };
}

/** Bytes of a process; 0 where there is none, or none any more. */
function resident(pid) {
  try {
    return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

/** Workers of a page's process: each has a thread of that name. */
function workers(pid) {
  const name = (thread) => {
    try {
      return readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8");
    } catch {
      return "";
    }
  };
  try {
    return readdirSync(`/proc/${pid}/task`).filter((thread) => name(thread).startsWith("DedicatedWorker")).length;
  } catch {
    return 0;
  }
}

/** Seconds that the browser's processes of `type` have worked, by their ids. */
async function worked(protocol, type) {
  const { processInfo } = await protocol.send("SystemInfo.getProcessInfo");
  return new Map(processInfo.filter((process) => process.type === type).map(({ id, cpuTime }) => [id, cpuTime]));
}

/**
 * A list of {wasmBytes, streamed (compiled while it came), deviceBytes, heapBytes, pageProcessBytes, workers, gpuProcessBytes, workersAtWork
 * (before dispose), score}, one a cycle, processes read `restMs(cycle)` after its end: the browser frees what a device had once its
 * worker has gone, within some seconds.
 */
export async function cycles({ browser, server, manifest, query, device, count, restMs = () => 0, onCycle = () => {} }) {
  server.faults.set("/worker.js", (n, body) => ({ body: `(${memoryTold})();\n${body}` }));
  const { context, page } = await openPage(browser, `${server.url}/blank.html`);
  const protocol = await browser.newBrowserCDPSession();
  const ofPage = await context.newCDPSession(page);
  const [gpu] = (await worked(protocol, "GPU")).keys();
  let after;
  const found = [], renderers = [];
  for (let i = 0; i < count; i++) {
    const cycle = await page.evaluate(async ([manifest, query, device]) => {
      const { Attributor } = await import("/data-attribution.js");
      const attributor = await Attributor.open(manifest, { device });
      const result = await attributor.attribute(query, { topK: 10 });
      window.attributor = attributor;
      return { wasmBytes: result.wasmBytes, streamed: result.streamed, deviceBytes: attributor.info.deviceBytes, score: result.hits[0].score };
    }, [manifest, query, device]);
    after ??= await worked(protocol, "renderer");
    const atWork = new Map([...after.keys()].map((id) => [id, workers(id)]));
    await page.evaluate(() => window.attributor.dispose());
    await page.waitForTimeout(restMs(i));
    await ofPage.send("HeapProfiler.collectGarbage");
    const heap = await ofPage.send("Runtime.getHeapUsage");
    found.push({ ...cycle, heapBytes: heap.usedSize, gpuProcessBytes: resident(gpu) });
    renderers.push(new Map([...after.keys()].map((id) => [id, { pageProcessBytes: resident(id), workersAtWork: atWork.get(id), workers: workers(id) }])));
    onCycle(i, found.at(-1));
  }
  // The browser tells no page's process: it is the one that has worked most since the first cycle, in which others have started.
  const grown = [...await worked(protocol, "renderer")].map(([id, seconds]) => [seconds - (after.get(id) ?? seconds), id]);
  const [, itsProcess] = grown.sort(([a], [b]) => b - a)[0];
  found.forEach((cycle, i) => Object.assign(cycle, renderers[i].get(itsProcess)));
  await context.close();
  server.faults.delete("/worker.js");
  return found;
}
