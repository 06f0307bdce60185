// Maximum of 3x3 pixels with stride 2: x [side, side, C] -> y [side / 2, side / 2, C], the side even.
//
// A pixel outside of the image is taken as its nearest inside, which the window holds anyway. The CPU twin
// is `reference::max_pool`.

struct Dims {
    side: u32,
    c4: u32,        // fours of channels
    spare: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

@compute @workgroup_size(16, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let c = group.x * 16u + local.x;
    if (c >= dims.c4) {
        return;
    }
    let out = dims.side / 2u;
    let top = group.y / out * 2u;
    let left = group.y % out * 2u;
    var most = x[(top * dims.side + left) * dims.c4 + c];
    for (var i = 0u; i < 9u; i++) {
        let row = max(top + i / 3u, 1u) - 1u;
        let column = max(left + i % 3u, 1u) - 1u;
        most = max(most, x[(row * dims.side + column) * dims.c4 + c]);
    }
    y[group.y * dims.c4 + c] = most;
}
