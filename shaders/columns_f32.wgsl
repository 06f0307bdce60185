// W as [K, N] f32.

@group(0) @binding(1) var<storage, read> values: array<f32>;

// One output at four inputs.
fn held(n: u32, k4: u32) -> vec4<f32> {
    let all = 4u * dims.n4;
    let at = k4 * 4u * all + n;
    return vec4<f32>(values[at], values[at + all], values[at + 2u * all], values[at + 3u * all]);
}

fn widened0(w: vec4<f32>) -> vec4<f32> {
    return w;
}

fn scale(n: u32) -> f32 {
    return 1.0;
}
