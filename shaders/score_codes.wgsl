// Scores coarse codes against an integer query; FORMAT.md, "What a row is approximated by":
//
//     score = f32(B + const * A + gain * (sum_j Q_j code_j - Z)) * unit
//
// All sums are exact in 32 bits (`CodeQuery` sees to that), so that only the last rounding could differ from
// the CPU twin's.

struct Params {
    start: u32,          // first row of this dispatch
    end: u32,
    stride: u32,         // fours of rows of a plane
    first_id: u32,       // id of row 0
    first_place: u32,    // place of row `start` among the scores
    zero: i32,           // Z
    unit: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read> terms: array<u32>;       // const | gain << 8 | leaf << 16
@group(0) @binding(7) var<storage, read> bases: array<vec2<i32>>; // B and A of each leaf

fn score(row: u32, dot: i32) -> f32 {
    let term = terms[row];
    let base = bases[term >> 16u];
    let constant = bitcast<i32>(term << 24u) >> 24u;
    let gain = i32((term >> 8u) & 255u);
    let sum = base.x + constant * base.y + gain * (dot - params.zero);
    return f32(sum) * params.unit;
}
