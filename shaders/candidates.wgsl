// What becomes of a score: it is kept for the calibrator, and the row becomes a candidate for the best k
// if it is not below the k-th best of an earlier moment. Stands before score_rows.wgsl and score_codes.wgsl.

struct State {
    count: atomic<u32>,         // candidates in `pairs`
    gathered: atomic<u32>,      // of the last selection
    threshold: vec2<u32>,       // (ordered score, inverted id); zeros let every row through
}

@group(0) @binding(1) var<storage, read_write> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> pairs: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> state: State;

// Order of the result is the order of scores; see `top_k::ordered`.
fn ordered(score: f32) -> u32 {
    let bits = bitcast<u32>(select(score, 0.0, score == 0.0));
    return select(~bits, bits | 0x80000000u, (bits >> 31u) == 0u);
}

fn offer(place: u32, id: u32, score: f32) {
    scores[place] = score;
    let key = ordered(score);
    let threshold = state.threshold;
    if (key > threshold.x || (key == threshold.x && ~id >= threshold.y)) {
        let at = atomicAdd(&state.count, 1u);
        if (at < arrayLength(&pairs)) {
            pairs[at] = vec2<u32>(key, id);
        }
    }
}
