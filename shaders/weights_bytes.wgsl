// W[n][k] = scales[n] * code, as words [K / 4, N] of four int8 codes, the first input's in the lowest bits, multiplied as
// they are; and the sums of all codes of an output.

@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;
@group(0) @binding(8) var<storage, read> weight_sums: array<vec4<f32>>;

const UNIT = 1u;

// Four columns at four inputs, as they lie in memory. Beyond the last input x is 0, so any weight will do.
fn load(quad: u32, k4: u32, unit: u32) -> vec4<u32> {
    let word = min(4u * k4 + unit, 4u * dims.c4 - 1u);
    return codes[word * dims.n4 + min(quad, dims.n4 - 1u)];
}

// Puts them into `ws` as they are multiplied.
fn stage(line: u32, k: u32, loaded: vec4<u32>) {
    ws[line][k] = loaded;
}

fn scale(quad: u32) -> vec4<f32> {
    return scales[quad];
}
