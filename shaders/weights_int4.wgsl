// W[n][k] = scales[k / 32][n] * (code - 8), as words [K / 8, N] of eight 4-bit codes, the first input's in the
// lowest bits. K is a multiple of 32.

@group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>;

const UNIT = 8u;

struct Loaded {
    words: vec4<u32>,
    scale: vec4<f32>,
}

// Four columns at UNIT inputs, as they lie in memory. Beyond the last input x is 0, so any finite weight will do.
fn load(quad: u32, k4: u32, unit: u32) -> Loaded {
    let word = min(k4 / 2u + unit, taps() * dims.c4 / 2u - 1u);
    let column = min(quad, dims.n4 - 1u);
    return Loaded(codes[word * dims.n4 + column], scales[word / 4u * dims.n4 + column]);
}

// Puts them into `ws` as they are multiplied. A code becomes the lowest bits of a float from 2^23 on, since
// conversions are slow on many GPUs.
fn stage(line: u32, k: u32, loaded: Loaded) {
    ws[line][k + $ju] = held((bitcast<vec4<f32>>(((loaded.words >> vec4<u32>(4u * $ju)) & vec4<u32>(15u)) | vec4<u32>(0x4b000000u)) - 8388616.0) * loaded.scale); //% j eight
}

fn scale(quad: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}
