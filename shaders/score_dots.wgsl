// The products of rows with an integer query as those of score_words.wgsl, whose place it takes on GPUs: four of a word at
// once by packed dot products, so that memory and not arithmetic bounds the scan.
//
// A value of the query is 64 * high + low, both of 8 bits, so that the sum is exact as well. With 2048 fields of 8 bits the
// sum of the high pieces is below 2048 * 127 * 64 < 2^25.

struct Sums {
    low: vec4<i32>,
    high: vec4<i32>,
}

@group(0) @binding(4) var<storage, read> planes: array<vec4<u32>>;
// Of four values that follow each other the low pieces, and the high ones.
@group(0) @binding(5) var<uniform> query: array<vec4<u32>, 512>;

fn add(sums: ptr<function, Sums>, w: vec4<u32>, q: u32) {
    let low = query[q].x;
    let high = query[q].y;
    (*sums).low += vec4<i32>(dot4I8Packed(w.x, low), dot4I8Packed(w.y, low), dot4I8Packed(w.z, low), dot4I8Packed(w.w, low));
    (*sums).high += vec4<i32>(dot4I8Packed(w.x, high), dot4I8Packed(w.y, high), dot4I8Packed(w.z, high), dot4I8Packed(w.w, high));
}

fn eight(sums: ptr<function, Sums>, w: vec4<u32>, q: u32) {
    add(sums, w, q);
}

fn four(sums: ptr<function, Sums>, w: vec4<u32>, q: u32) {
    let m = vec4<u32>(0x0f0f0f0fu);
    add(sums, w & m, q);
    add(sums, (w >> vec4<u32>(4u)) & m, q + 1u);
}

fn two(sums: ptr<function, Sums>, w: vec4<u32>, q: u32) {
    let m = vec4<u32>(0x03030303u);
    add(sums, w & m, q);
    add(sums, (w >> vec4<u32>(2u)) & m, q + 1u);
    add(sums, (w >> vec4<u32>(4u)) & m, q + 2u);
    add(sums, (w >> vec4<u32>(6u)) & m, q + 3u);
}

fn whole(sums: Sums) -> vec4<i32> {
    return sums.low + 64 * sums.high;
}
