// A row scaled to unit length: x [W] -> y [W]. The CPU twin is `reference::unit`.
//
// Each invocation sums the whole row again: it is short, and no barrier is needed.

struct Dims {
    w4: u32,        // fours of the row
    spare: vec3<u32>,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

@compute @workgroup_size(16, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x;
    if (c >= dims.w4) {
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < dims.w4; i++) {
        sum += dot(x[i], x[i]);
    }
    y[c] = x[c] / max(sqrt(sum), 1e-12);
}
