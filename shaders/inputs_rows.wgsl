// Inputs of a linear layer: x [M, K], one row after another, or in bytes as round_rows.wgsl says. Sizes come with each call, so that
// layers share a pipeline.

struct Dims {
    m: u32,         // rows
    n4: u32,        // fours of outputs
    c4: u32,        // fours of inputs, in bytes sixteens
    step: u32,      // between rows of the residual
    kernel: u32,
    side: u32,
    stride: u32,
    spare: u32,
}

@group(0) @binding(0) var<storage, read> x: array<{{ x }}>;
@group(0) @binding(7) var<uniform> dims: Dims;

fn taps() -> u32 {
    return 1u;
}

fn corner(row: u32) -> u32 {
    return row * dims.c4;
}

fn offset(tap: u32) -> u32 {
    return 0u;
}

fn start(corner: u32, offset: u32) -> u32 {
    return corner;
}

//% repeat i fetched
fn fetch(row: u32, k4: u32) -> {{ x }} {
    return x[row * dims.c4 + k4];
}
//% end
