// LayerNorm over rows, one row per workgroup, for GPUs.
//
// x [.., W] of which row r is step * r, y [rows, W]. Follows sums_memory.wgsl or sums_subgroups.wgsl, which have
// `total`, and where its rows become bytes at once round_rows.wgsl. The CPU twin is `reference::layer_norm`.

struct Dims {
    rows: u32,
    w4: u32,        // fours of a row
    step: u32,      // between the rows of x
    spare: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; //% i plain
@group(0) @binding(7) var<uniform> dims: Dims;

// Of the row.
var<private> mean: f32;
var<private> factor: f32;

fn entering(row: u32, c: u32) -> vec4<f32> {
    return (x[row * dims.step * dims.w4 + c] - mean) * factor * weight[c] + bias[c];
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) place: u32{{ lanes }}) {
    let row = group.x;
    let at = row * dims.step * dims.w4;
    var sum = vec4<f32>();
    for (var c = place; c < dims.w4; c += 64u) {
        sum += x[at + c];
    }
    mean = total(sum.x + sum.y + sum.z + sum.w, place{{ size }}) / f32(4u * dims.w4);
    var squares = vec4<f32>();
    for (var c = place; c < dims.w4; c += 64u) {
        let d = x[at + c] - mean;
        squares += d * d;
    }
    let variance = total(squares.x + squares.y + squares.z + squares.w, place{{ size }}) / f32(4u * dims.w4);
    factor = inverseSqrt(variance + {{ epsilon }});
    //% repeat i plain
    for (var c = place; c < dims.w4; c += 64u) {
        y[row * dims.w4 + c] = entering(row, c);
    }
    //% end
    round_row(row, place{{ size }}); //% i rounded
}
