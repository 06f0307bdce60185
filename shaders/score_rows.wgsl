// Scores int8 rows against an integer query: score = f32(sum_j code_j * query_j) * (row scale * query scale).
//
// The sum is exact in 32 bits, so only the two roundings after it could differ from the CPU twin's
// (`QuantizedQuery::score`); the check at start-up refuses an adapter on which they do.
// Each score goes to its place among all scores, and, as a sortable pair (ordered score, id), behind the
// best pairs so far. One invocation scores one row.

struct Params {
    rows: u32,
    words: u32,          // 32-bit words in a row
    first_row: u32,
    pair_offset: u32,    // where this shard's pairs start
    query_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> query: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> scores: array<f32>;
@group(0) @binding(5) var<storage, read_write> pairs: array<vec2<u32>>;

// Order of the result is the order of scores; see `top_k::ordered`.
fn ordered(score: f32) -> u32 {
    let bits = bitcast<u32>(select(score, 0.0, score == 0.0));
    return select(~bits, bits | 0x80000000u, (bits >> 31u) == 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var row = id.x; row < params.rows; row += groups.x * 64u) {
        let start = row * params.words;
        var sums = vec4<i32>();
        for (var j = 0u; j < params.words; j++) {
            let word = bitcast<i32>(codes[start + j]);
            let values = vec4<i32>(word << 24u, word << 16u, word << 8u, word) >> vec4<u32>(24u);
            sums += values * query[j];
        }
        let dot = sums.x + sums.y + sums.z + sums.w;
        let score = f32(dot) * (scales[row] * params.query_scale);
        let item = params.first_row + row;
        scores[item] = score;
        pairs[params.pair_offset + row] = vec2<u32>(ordered(score), item);
    }
}
