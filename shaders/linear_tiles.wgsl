// y = activate(residual + gamma * (x W^T + bias)) by tiles in workgroup memory, for GPUs.
//
// A workgroup of 16 x 16 invocations computes 16 * ROWS rows by 64 columns; one invocation every 16th row and
// four columns. 16 inputs at a time are staged, weights expanded to f32: at most 12 KiB. Follows a weights, an
// inputs and an epilogue part; the CPU twin is `reference::linear`.


// [rows of the tile, 4 fours of inputs], and [16 inputs, 16 fours of columns].
var<workgroup> xs: array<vec4<f32>, {{ rows }} * 64>;
var<workgroup> ws: array<vec4<f32>, 256>;

@compute @workgroup_size(16, 16, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let quad = group.x * 16u + local.x;
    let first_row = group.y * 16u * {{ rows }}u;
    let place = local.y * 16u + local.x;
    let fours = taps() * dims.c4;
    var s$i = vec4<f32>(); //% i rows
    for (var k = 0u; k < fours; k += 4u) {
        let k4 = k + place % 4u;
        for (var i = place; i < {{ rows }}u * 64u; i += 256u) {
            let row = first_row + i / 4u;
            var value = vec4<f32>();
            if (row < dims.m && k4 < fours) {
                value = fetch(row, k4);
            }
            xs[i] = value;
        }
        // Beyond the last input x is 0, so any finite weight will do.
        ws[place] = weight(min(quad, dims.n4 - 1u), min(4u * k + local.y, 4u * fours - 1u));
        workgroupBarrier();
        for (var j = 0u; j < 4u; j++) {
            let w = j * 64u + local.x;
            let t = mat4x4<f32>(ws[w], ws[w + 16u], ws[w + 32u], ws[w + 48u]);
            s$i += t * xs[(local.y + $iu * 16u) * 4u + j]; //% i rows
        }
        workgroupBarrier();
    }
    store(first_row + local.y + $iu * 16u, quad, s$i); //% i rows
}
