// W[n][k] = scales[k / 32][n] * (codes[n][k] - 8), codes of 4 bits, eight inputs to a word, the first in the
// lowest bits. K is a multiple of 32.

@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;

// Four outputs at one input.
fn weight(quad: u32, k: u32) -> vec4<f32> {
    let row = taps() * dims.c4 / 2u;
    let at = quad * 4u * row + k / 8u;
    let words = vec4<u32>(codes[at], codes[at + row], codes[at + 2u * row], codes[at + 3u * row]);
    let w = vec4<f32>((words >> vec4<u32>(4u * (k % 8u))) & vec4<u32>(15u));
    return (w - 8.0) * scales[k / 32u * dims.n4 + quad];
}

fn rescaled(sum: vec4<f32>, quad: u32) -> vec4<f32> {
    return sum;
}
