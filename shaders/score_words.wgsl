// The products of rows with an integer query, word by word: `sum_j query_j code_j`, exact in 32 bits.
//
// Rows lie in planes of one word, four rows side by side: neighbouring invocations read neighbouring 16 bytes,
// and one invocation scores four rows, so that a value of the query is loaded once for them. Stands between
// one of places_atomics.wgsl and places_subgroups.wgsl and one of score_rows.wgsl and score_codes.wgsl, which scan.wgsl follows. `products` is written by
// `kernels::scan_source`: a call of `eight`, `four` or `two` for each word of a row.
//
// Fields are multiplied where they lie in their byte, which makes a product 4, 16 or 64 times as large; sums of
// each size are kept apart and shifted back at the end. With 2048 fields of 2 bits the largest is
// 64 * 3 * 4095 * 512 < 2^31, with 4 bits 16 * 15 * 4095 * 1024 < 2^31.

struct Sums {
    ones: vec4<i32>,
    fours: vec4<i32>,
    sixteens: vec4<i32>,
    sixty_fours: vec4<i32>,
}

@group(0) @binding(4) var<storage, read> planes: array<vec4<u32>>;
@group(0) @binding(5) var<uniform> query: array<vec4<i32>, 512>;

// The fields of `w` under `mask`, in each byte, times the four values of `query[q]`.
fn under(w: vec4<u32>, mask: u32, q: u32) -> vec4<i32> {
    let m = vec4<u32>(mask);
    let values = query[q];
    return vec4<i32>(w & m) * values.x
        + vec4<i32>((w >> vec4<u32>(8u)) & m) * values.y
        + vec4<i32>((w >> vec4<u32>(16u)) & m) * values.z
        + vec4<i32>((w >> vec4<u32>(24u)) & m) * values.w;
}

fn eight(sums: ptr<function, Sums>, word: vec4<u32>, q: u32) {
    let w = vec4<i32>(word);
    let values = query[q];
    let high = vec4<u32>(24u);
    (*sums).ones += ((w << high) >> high) * values.x
        + ((w << vec4<u32>(16u)) >> high) * values.y
        + ((w << vec4<u32>(8u)) >> high) * values.z
        + (w >> high) * values.w;
}

fn four(sums: ptr<function, Sums>, w: vec4<u32>, q: u32) {
    (*sums).ones += under(w, 15u, q);
    (*sums).sixteens += under(w, 240u, q + 1u);
}

fn two(sums: ptr<function, Sums>, w: vec4<u32>, q: u32) {
    (*sums).ones += under(w, 3u, q);
    (*sums).fours += under(w, 12u, q + 1u);
    (*sums).sixteens += under(w, 48u, q + 2u);
    (*sums).sixty_fours += under(w, 192u, q + 3u);
}

fn whole(sums: Sums) -> vec4<i32> {
    return sums.ones + (sums.fours >> vec4<u32>(2u)) + (sums.sixteens >> vec4<u32>(4u))
        + (sums.sixty_fours >> vec4<u32>(6u));
}
