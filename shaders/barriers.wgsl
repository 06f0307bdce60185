// What choosing a family of kernels measures: as many steps between neighbours of a workgroup with a barrier in each as
// without any, on values that are made up. On a GPU both take about as long; where a workgroup's invocations run one
// after the other on a processor, each barrier is a change of all of them. One small workgroup with many steps tells: SwiftShader keeps
// a stack of a megabyte, of which some 32 KB were touched, for each four invocations that ever waited at once.

@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> shared_values: array<f32, 64>;

@compute @workgroup_size(64, 1, 1)
fn with_barriers(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) place: u32) {
    var value = f32(id.x);
    for (var i = 0u; i < 4096u; i++) {
        shared_values[place] = value;
        workgroupBarrier();
        value = value * 0.5 + shared_values[(place + 1u) & 63u];
        workgroupBarrier();
    }
    y[id.x] = value;
}

@compute @workgroup_size(64, 1, 1)
fn without(@builtin(global_invocation_id) id: vec3<u32>) {
    var value = f32(id.x);
    for (var i = 0u; i < 4096u; i++) {
        y[id.x] = value;
        value = value * 0.5 + y[id.x];
    }
    y[id.x] = value;
}
