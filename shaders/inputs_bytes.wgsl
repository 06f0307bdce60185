// Inputs of a linear layer as round_rows.wgsl makes them: codes [M + 1, K], the last row what rounding has left of the first,
// then a step and an offset for each row.

struct Dims {
    m: u32,         // rows
    n4: u32,        // fours of outputs
    c4: u32,        // sixteens of inputs
    step: u32,      // between rows of the residual
    kernel: u32,
    side: u32,
    stride: u32,
    spare: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

fn taps() -> u32 {
    return 1u;
}

// Sixteen inputs.
fn fetch(row: u32, k16: u32) -> vec4<u32> {
    return x[row * dims.c4 + k16];
}

fn end_of_row(row: u32) -> vec2<f32> {
    let at = min(row, dims.m - 1u);
    let two = x[(dims.m + 1u) * dims.c4 + at / 2u];
    return bitcast<vec2<f32>>(select(two.xy, two.zw, at % 2u == 1u));
}
