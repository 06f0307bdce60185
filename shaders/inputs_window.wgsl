// Inputs of a convolution: x [side, side, C], a row being one output pixel's window in the order (y, x, c), with zeros
// around the image. The side is a multiple of the stride, the kernel odd.

struct Dims {
    m: u32,         // rows: output pixels
    n4: u32,        // fours of outputs
    c4: u32,        // fours of channels
    step: u32,      // between rows of the residual
    kernel: u32,
    side: u32,
    stride: u32,
    spare: u32,
}

@group(0) @binding(0) var<storage, read> x: array<{{ x }}>;
@group(0) @binding(7) var<uniform> dims: Dims;

fn taps() -> u32 {
    return dims.kernel * dims.kernel;
}

// The pixel that a tap sees; outside of the image it wraps to a large number or to the side and above.
fn pixel(row: u32, tap: u32) -> vec2<u32> {
    let out = dims.side / dims.stride;
    return vec2<u32>(row % out, row / out) * dims.stride
        + vec2<u32>(tap % dims.kernel, tap / dims.kernel) - vec2<u32>(dims.kernel / 2u);
}

fn start(row: u32, tap: u32) -> u32 {
    let p = min(pixel(row, tap), vec2<u32>(dims.side - 1u));
    return (p.y * dims.side + p.x) * dims.c4;
}

// 1, or 0 outside of the image.
fn seen(row: u32, tap: u32) -> f32 {
    let p = pixel(row, tap);
    return select(0.0, 1.0, p.x < dims.side && p.y < dims.side);
}

//% repeat i fetched
fn fetch(row: u32, k4: u32) -> vec4<f32> {
    return x[start(row, k4 / dims.c4) + k4 % dims.c4] * seen(row, k4 / dims.c4);
}
//% end
