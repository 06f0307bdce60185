// Asks every GPU device for subgroups, where the adapter has them: wgpu, through which the program asks, has no name for
// them in browsers yet. `gpuHasSubgroups` tells the program whether the last device came with them.

if (globalThis.GPUAdapter) {
  const { requestDevice } = GPUAdapter.prototype;
  GPUAdapter.prototype.requestDevice = async function (descriptor = {}) {
    const wanted = this.features.has("subgroups") ? ["subgroups"] : [];
    const requiredFeatures = [...(descriptor.requiredFeatures ?? []), ...wanted];
    const device = await requestDevice.call(this, { ...descriptor, requiredFeatures });
    globalThis.gpuHasSubgroups = device.features.has("subgroups");
    return device;
  };
}
