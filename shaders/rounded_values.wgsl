// Rounds x [rows, W] as it is; follows round_rows.wgsl.

struct Dims {
    rows: u32,
    w4: u32,        // fours of a row
    spare: vec2<u32>,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

fn entering(row: u32, c: u32) -> vec4<f32> {
    return x[row * dims.w4 + c];
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) place: u32{{ lanes }}) {
    round_row(group.x, place{{ size }});
}
