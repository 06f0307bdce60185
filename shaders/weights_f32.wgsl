// W [N, K] f32, four inputs to a vector.

@group(0) @binding(1) var<storage, read> values: array<vec4<f32>>;

// Four outputs at one input.
fn weight(quad: u32, k: u32) -> vec4<f32> {
    let row = taps() * dims.c4;
    let at = quad * 4u * row + k / 4u;
    let i = k % 4u;
    return vec4<f32>(values[at][i], values[at + row][i], values[at + 2u * row][i], values[at + 3u * row][i]);
}

fn rescaled(sum: vec4<f32>, quad: u32) -> vec4<f32> {
    return sum;
}
