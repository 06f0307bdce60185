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

fn finish(row: u32, dot: i32) {
    if (row >= params.start && row < params.end) {
        let term = terms[row];
        let base = bases[term >> 16u];
        let constant = bitcast<i32>(term << 24u) >> 24u;
        let gain = i32((term >> 8u) & 255u);
        let sum = base.x + constant * base.y + gain * (dot - params.zero);
        let score = f32(sum) * params.unit;
        offer(params.first_place + (row - params.start), params.first_id + row, score);
    }
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = params.start / 4u + id.x; 4u * i < params.end; i += groups.x * 64u) {
        let dot = products(i, params.stride);
        finish(4u * i, dot.x);
        finish(4u * i + 1u, dot.y);
        finish(4u * i + 2u, dot.z);
        finish(4u * i + 3u, dot.w);
    }
}
