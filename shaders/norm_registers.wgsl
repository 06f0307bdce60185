// LayerNorm over rows, one row per invocation: no barrier, for software adapters.
//
// x [.., W] of which row r is step * r, y [rows, W]. The CPU twin is `reference::layer_norm`.

struct Dims {
    rows: u32,
    w4: u32,        // fours of a row
    step: u32,      // between the rows of x
    spare: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

@compute @workgroup_size(16, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let row = id.x;
    if (row >= dims.rows) {
        return;
    }
    let at = row * dims.step * dims.w4;
    var sum = vec4<f32>();
    for (var c = 0u; c < dims.w4; c++) {
        sum += x[at + c];
    }
    let mean = (sum.x + sum.y + sum.z + sum.w) / f32(4u * dims.w4);
    var squares = vec4<f32>();
    for (var c = 0u; c < dims.w4; c++) {
        let d = x[at + c] - mean;
        squares += d * d;
    }
    let variance = (squares.x + squares.y + squares.z + squares.w) / f32(4u * dims.w4);
    let factor = inverseSqrt(variance + {{ epsilon }});
    for (var c = 0u; c < dims.w4; c++) {
        y[row * dims.w4 + c] = (x[at + c] - mean) * factor * weight[c] + bias[c];
    }
}
