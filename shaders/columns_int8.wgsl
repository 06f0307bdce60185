// W[n][k] = scales[n] * code, as words [K / 4, N] of four int8 codes, the first input's in the lowest bits.

@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;

fn held(n: u32, k4: u32) -> i32 {
    return bitcast<i32>(codes[k4 * 4u * dims.n4 + n]);
}

// One output at four inputs, times 2^24 and without the scale: each code is left in the highest byte, since shifts
// are what some software adapters do lane by lane. All factors are powers of two, so nothing is rounded.
fn widened0(w: i32) -> vec4<f32> {
    let high = bitcast<i32>(0xff000000u);
    return vec4<f32>(vec4<i32>(w * 0x1000000, (w * 0x10000) & high, (w * 0x100) & high, w & high));
}

fn scale(n: u32) -> f32 {
    return scales[n] * 0x1p-24f;
}
