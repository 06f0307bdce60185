// What runs inside the measured pages, an object for each side. Both load a model on `open` and keep it in `window`;
// both give times in milliseconds of the page's own clock.

/** Ours: the public API alone. */
export const ours = {
  async open({ folder, device, precision }) {
    const start = performance.now();
    const { Attributor } = await import("/data-attribution.js");
    window.attributor = await Attributor.open(`/models/${folder}/ours-${precision}/manifest.json`, { device });
    window.image = await (await fetch(`/models/${folder}/image.png`)).blob();
    return performance.now() - start;
  },
  /** `embedMs` runs from the decoded image to the feature; the rows of the index are the axes, so the scores are the feature. */
  async run({ axes }) {
    const start = performance.now();
    const result = await window.attributor.attribute(window.image, { topK: axes || 1 });
    const feature = axes ? new Array(axes).fill(0) : null;
    for (const hit of axes ? result.hits : []) feature[Number(hit.name)] = hit.score;
    return { ms: result.timings.embedMs, wallMs: performance.now() - start, feature };
  },
};

/** onnxruntime-web: its own bundle for each provider; everything else as it is by default. */
export const ort = {
  async open({ folder, device, precision, form }) {
    const start = performance.now();
    const ort = await import(device === "webgpu" ? "/ort/ort.webgpu.min.mjs" : "/ort/ort.wasm.min.mjs");
    ort.env.wasm.wasmPaths = "/ort/";
    ort.env.wasm.numThreads = device === "wasm-2" ? 2 : 1;
    if (device === "wasm-2" && !window.crossOriginIsolated) throw new Error("the page is not cross-origin isolated");
    ort.env.logLevel = "error";
    const session = await ort.InferenceSession.create(`/models/${folder}/ort-${precision}-${form}.onnx`, {
      executionProviders: [device === "webgpu" ? "webgpu" : "wasm"],
    });
    const pixels = new Float32Array(await (await fetch(`/models/${folder}/input.f32`)).arrayBuffer());
    const side = Math.round(Math.sqrt(pixels.length / 3));
    window.embed = async () => {
      const outputs = await session.run({ pixel_values: new ort.Tensor("float32", pixels, [1, 3, side, side]) });
      return Object.values(outputs)[0].getData();
    };
    return performance.now() - start;
  },
  async run({ axes }) {
    const start = performance.now();
    const feature = await window.embed();
    const ms = performance.now() - start;
    return { ms, wallMs: ms, feature: axes ? Array.from(feature) : null };
  },
};

/** transformers.js, of the same graphs: its own bundle, with onnxruntime-web's files from this host and nothing from a hub. */
export const tjs = {
  async open({ folder, device, precision, form }) {
    const start = performance.now();
    const { AutoModel, Tensor, env } = await import("/tjs/transformers.min.js");
    Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: "/models/", useBrowserCache: false, useWasmCache: false });
    const { wasm } = env.backends.onnx;
    wasm.wasmPaths = { mjs: "/tjs-ort/ort-wasm-simd-threaded.asyncify.mjs", wasm: "/tjs-ort/ort-wasm-simd-threaded.asyncify.wasm" };
    wasm.numThreads = 1;
    const model = await AutoModel.from_pretrained(`${folder}/tjs-${precision}-${form}`, { dtype: "fp32", device: device === "webgpu" ? "webgpu" : "wasm" });
    const pixels = new Float32Array(await (await fetch(`/models/${folder}/input.f32`)).arrayBuffer());
    const side = Math.round(Math.sqrt(pixels.length / 3));
    window.embed = async () => {
      const outputs = await model({ pixel_values: new Tensor("float32", pixels, [1, 3, side, side]) });
      return Object.values(outputs)[0].ort_tensor.getData();
    };
    return performance.now() - start;
  },
  run: ort.run,
};
