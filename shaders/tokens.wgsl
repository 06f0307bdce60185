// The tokens of a transformer: the class token, which holds its position, then patches plus positions.
//
// patches [tokens - 1, W], class_token [W], positions [tokens - 1, W], y [tokens, W]. The CPU twin is `reference::tokens`.

struct Dims {
    tokens: u32,
    w4: u32,        // fours of a row
    spare: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> patches: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> class_token: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> positions: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

@compute @workgroup_size(16, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let c = group.x * 16u + local.x;
    let token = group.y;
    if (c >= dims.w4) {
        return;
    }
    if (token == 0u) {
        y[c] = class_token[c];
    } else {
        let at = (token - 1u) * dims.w4 + c;
        y[at + dims.w4] = patches[at] + positions[at];
    }
}
