// Generalised mean over pixels, (mean max(x, least)^power)^(1 / power): x [pixels, C] -> y [C].
//
// The CPU twin is `reference::mean_pool`.

struct Dims {
    pixels: u32,
    c4: u32,        // fours of channels
    spare: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

@compute @workgroup_size(16, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let c = id.x;
    if (c >= dims.c4) {
        return;
    }
    var sum = vec4<f32>();
    for (var p = 0u; p < dims.pixels; p++) {
        let value = max(x[p * dims.c4 + c], vec4<f32>({{ least }}));
        sum += pow(value, vec4<f32>({{ power }}));
    }
    y[c] = pow(sum / f32(dims.pixels), vec4<f32>(1.0 / {{ power }}));
}
