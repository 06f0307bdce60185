// Scores rows and offers them as candidates: the entry point of both scans. Stands last, after candidates.wgsl, one of places_atomics.wgsl and
// places_subgroups.wgsl, one of score_words.wgsl and score_dots.wgsl with `products`, and one of score_rows.wgsl and score_codes.wgsl
// with `params` and `score`. The loop is the same for all invocations of a workgroup, as subgroups want it: the last ones score what is no row.

// The order of a row that may become a candidate; 0 for others.
fn finish(row: u32, dot: i32) -> u32 {
    if (row < params.start || row >= params.end) {
        return 0u;
    }
    return kept(params.first_place + (row - params.start), params.first_id + row, score(row, dot));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) place: u32{{ lanes }}) {
    for (var first = params.start / 4u + 64u * group.x; 4u * first < params.end; first += 64u * groups.x) {
        let row = 4u * (first + place);
        let dot = products(first + place, params.stride);
        let keys = vec4<u32>(finish(row, dot.x), finish(row + 1u, dot.y), finish(row + 2u, dot.z), finish(row + 3u, dot.w));
        let passing = min(keys, vec4<u32>(1u));
        var at = places(passing.x + passing.y + passing.z + passing.w{{ lane }});
        let id = params.first_id + row;
        at = append(at, keys.x, id);
        at = append(at, keys.y, id + 1u);
        at = append(at, keys.z, id + 2u);
        append(at, keys.w, id + 3u);
    }
}
