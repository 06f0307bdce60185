// Scores int8 rows against an integer query: score = f32(sum_j code_j * query_j) * (row scale * query scale).
//
// Only the two roundings after the sum could differ from the CPU twin's (`QuantizedQuery::score`); the check
// at start-up refuses an adapter on which they do.

struct Params {
    start: u32,          // first row of this dispatch
    end: u32,
    stride: u32,         // fours of rows of a plane
    first_id: u32,       // id of row 0
    first_place: u32,    // place of row `start` among the scores
    query_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read> scales: array<f32>;

fn score(row: u32, dot: i32) -> f32 {
    return f32(dot) * (scales[row] * params.query_scale);
}
