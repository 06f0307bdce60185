// What becomes of a score: it is kept for the calibrator, and the row becomes a candidate for the best k
// if it is not below the k-th best of an earlier moment. Stands before places_atomics.wgsl and places_subgroups.wgsl.

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

// Keeps the score of a row; its order, or 0 where it is below the threshold. Finite scores have no order 0.
fn kept(place: u32, id: u32, score: f32) -> u32 {
    scores[place] = score;
    let key = ordered(score);
    let threshold = state.threshold;
    return select(0u, key, key > threshold.x || (key == threshold.x && ~id >= threshold.y));
}

// Makes the row `id` candidate number `at`, if `key` is an order; the number of the next one.
fn append(at: u32, key: u32, id: u32) -> u32 {
    if (key > 0u && at < arrayLength(&pairs)) {
        pairs[at] = vec2<u32>(key, id);
    }
    return at + u32(key > 0u);
}
