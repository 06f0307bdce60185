// W as [K, N] f32, four columns to a vector.

@group(0) @binding(1) var<storage, read> values: array<vec4<f32>>;

const UNIT = 1u;

// Four columns at UNIT inputs, as they lie in memory. Beyond the last input x is 0, so any finite weight will do.
fn load(quad: u32, k4: u32, unit: u32) -> vec4<f32> {
    let k = min(4u * k4 + unit, 4u * taps() * dims.c4 - 1u);
    return values[k * dims.n4 + min(quad, dims.n4 - 1u)];
}

// Puts them into `ws` as they are multiplied.
fn stage(line: u32, k: u32, loaded: vec4<f32>) {
    ws[line][k] = loaded;
}

fn scale(quad: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}
