// W[n][k] = scales[n] * codes[n][k], codes int8, four inputs to a word, the first in the lowest bits.

@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;

// Four outputs at one input. Without the scales.
fn weight(quad: u32, k: u32) -> vec4<f32> {
    let row = taps() * dims.c4;
    let at = quad * 4u * row + k / 4u;
    let words = vec4<u32>(codes[at], codes[at + row], codes[at + 2u * row], codes[at + 3u * row]);
    return vec4<f32>(bitcast<vec4<i32>>(words << vec4<u32>(24u - 8u * (k % 4u))) >> vec4<u32>(24u));
}

fn rescaled(sum: vec4<f32>, quad: u32) -> vec4<f32> {
    return sum * scales[quad];
}
