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

// The pixel that a row sees first, and how far from it a tap's is. What lies outside of the image wraps to a large number
// to the side and above.
fn corner(row: u32) -> vec2<u32> {
    let out = dims.side / dims.stride;
    return vec2<u32>(row % out, row / out) * dims.stride - vec2<u32>(dims.kernel / 2u);
}

fn offset(tap: u32) -> vec2<u32> {
    return vec2<u32>(tap % dims.kernel, tap / dims.kernel);
}

fn start(corner: vec2<u32>, offset: vec2<u32>) -> u32 {
    let p = min(corner + offset, vec2<u32>(dims.side - 1u));
    return (p.y * dims.side + p.x) * dims.c4;
}

// 1, or 0 outside of the image.
fn seen(corner: vec2<u32>, offset: vec2<u32>) -> f32 {
    let p = corner + offset;
    return select(0.0, 1.0, p.x < dims.side && p.y < dims.side);
}

//% repeat i fetched
fn fetch(row: u32, k4: u32) -> vec4<f32> {
    let first = corner(row);
    let way = offset(k4 / dims.c4);
    return x[start(first, way) + k4 % dims.c4] * seen(first, way);
}
//% end
