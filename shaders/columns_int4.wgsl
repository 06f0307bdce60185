// W[n][k] = scales[k / 32][n] * (code - 8), as words [K / 8, N] of eight 4-bit codes, the first input's in the
// lowest bits.

@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;

// One output at eight inputs, the first of which is an even four.
struct Held {
    word: vec4<i32>,
    scale: f32,
}

// Codes are converted where they lie in the word, since shifts are what some software adapters do lane by lane; the
// highest one becomes a signed number with its top bit flipped, 8 less.
fn held(n: u32, k4: u32) -> Held {
    let all = 4u * dims.n4;
    let word = bitcast<i32>(codes[k4 / 2u * all + n] ^ 0x80000000u);
    return Held(vec4<i32>(word), scales[k4 / 8u * all + n]);
}

fn widened0(h: Held) -> vec4<f32> {
    let w = vec4<f32>(h.word & vec4<i32>(0xf, 0xf0, 0xf00, 0xf000));
    return w * (vec4<f32>(1.0, 0x1p-4f, 0x1p-8f, 0x1p-12f) * h.scale) - 8.0 * h.scale;
}

fn widened1(h: Held) -> vec4<f32> {
    let w = vec4<f32>(h.word & vec4<i32>(0xf0000, 0xf00000, 0xf000000, bitcast<i32>(0xf0000000u)));
    return w * (vec4<f32>(0x1p-16f, 0x1p-20f, 0x1p-24f, 0x1p-28f) * h.scale)
        - vec4<f32>(8.0, 8.0, 8.0, 0.0) * h.scale;
}

fn scale(n: u32) -> f32 {
    return 1.0;
}
