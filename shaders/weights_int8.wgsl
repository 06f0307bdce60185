// W[n][k] = scales[n] * code, as words [K / 4, N] of four int8 codes, the first input's in the lowest bits.

@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;

const UNIT = 4u;

// Four columns at UNIT inputs, as they lie in memory. Beyond the last input x is 0, so any finite weight will do.
fn load(quad: u32, k4: u32, unit: u32) -> vec4<u32> {
    let word = min(k4 + unit, taps() * dims.c4 - 1u);
    return codes[word * dims.n4 + min(quad, dims.n4 - 1u)];
}

// Puts them into `ws` as they are multiplied, without the scale. A code and 128 become the lowest bits of a float
// from 2^23 on, since conversions are slow on many GPUs.
fn stage(line: u32, k: u32, loaded: vec4<u32>) {
    let word = loaded ^ vec4<u32>(0x80808080u);
    ws[line][k + $ju] = held((bitcast<vec4<f32>>(((word >> vec4<u32>(8u * $ju)) & vec4<u32>(255u)) | vec4<u32>(0x4b000000u)) - 8388736.0){{ less }}); //% j four
}

fn scale(quad: u32) -> vec4<f32> {
    return scales[quad]{{ more }};
}
