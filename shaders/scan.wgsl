// Scores rows and offers them as candidates: the entry point of both scans. Stands last, after candidates.wgsl, one of score_words.wgsl
// and score_dots.wgsl with `products`, and one of score_rows.wgsl and score_codes.wgsl with `params` and `score`.

fn finish(row: u32, dot: i32) {
    if (row >= params.start && row < params.end) {
        offer(params.first_place + (row - params.start), params.first_id + row, score(row, dot));
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
