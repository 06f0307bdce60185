// Rounds rows to bytes for products of four at once, one row per workgroup: steps from a row's least value or 0 to its
// largest or 0, x = step * (code + offset).
//
// y: codes [rows + 1, W] of i8, four to a word; the last row has what rounding leaves of the first one, in steps of a 254th.
// Then a step and an offset for each row, as f32. Follows sums_memory.wgsl or sums_subgroups.wgsl and precedes what has
// `entering`, four values of the row; the CPU twin is `reference::round_rows`.

@group(0) @binding(4) var<storage, read_write> y: array<u32>;

const STEPS = {{ steps }}f;
const LEAST = 1e-30;
const MOST = 3e38;

fn most(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn packed(codes: vec4<f32>) -> u32 {
    let bytes = vec4<u32>(clamp(vec4<i32>(codes), vec4<i32>(-127), vec4<i32>(127))) & vec4<u32>(255u);
    return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}

fn round_row(row: u32, place: u32{{ taken }}) {
    var lower = vec4<f32>();
    var upper = vec4<f32>();
    for (var c = place; c < dims.w4; c += 64u) {
        let value = entering(row, c);
        lower = max(lower, -value);
        upper = max(upper, select(value, vec4<f32>(MOST), (bitcast<vec4<u32>>(value) & vec4<u32>(0x7f800000u)) == vec4<u32>(0x7f800000u)));
    }
    let below = greatest_of_all(most(lower), place{{ size }});
    let span = below + greatest_of_all(most(upper), place{{ size }});
    var inverse = 0.0;
    if (span > LEAST) {
        inverse = STEPS / span;
    }
    let zero = round(below * inverse) - 127.0;
    for (var c = place; c < dims.w4; c += 64u) {
        let value = entering(row, c) * inverse;
        let code = round(value);
        y[row * dims.w4 + c] = packed(code + zero);
        if (row == 0u) {
            y[dims.rows * dims.w4 + c] = packed(round((value - code) * STEPS));
        }
    }
    if (place == 0u) {
        let at = (dims.rows + 1u) * dims.w4 + 2u * row;
        // Of what is not finite, or not any more, nothing finite comes.
        y[at] = select(bitcast<u32>(span / STEPS), 0x7fc00000u, span >= MOST);
        y[at + 1u] = bitcast<u32>(-zero);
    }
}
