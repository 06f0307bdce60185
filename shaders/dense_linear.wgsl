// y = x W^T + bias with W in f32.
//
// x [M, K], W [N, K], bias [N], y [M, N], all f32; K and N are multiples of 4. One invocation keeps a tile of
// 8 rows by 4 columns in registers, as for int8. The CPU twin is `dense_ops::linear_reference`.

const M: u32 = {{ m }}u;
const N4: u32 = {{ n4 }}u;
const K4: u32 = {{ k4 }}u;

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weights: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

fn store(row: u32, column: u32, sum: vec4<f32>) {
    if (row < M) {
        y[row * N4 + column] = sum + bias[column];
    }
}

@compute @workgroup_size(8, 8, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x;
    let row = id.y * 8u;
    if (column >= N4 || row >= M) {
        return;
    }
    let last = M - 1u;
    let x0 = row * K4;
    let x1 = min(row + 1u, last) * K4;
    let x2 = min(row + 2u, last) * K4;
    let x3 = min(row + 3u, last) * K4;
    let x4 = min(row + 4u, last) * K4;
    let x5 = min(row + 5u, last) * K4;
    let x6 = min(row + 6u, last) * K4;
    let x7 = min(row + 7u, last) * K4;
    let w0 = column * 4u * K4;
    let w1 = w0 + K4;
    let w2 = w1 + K4;
    let w3 = w2 + K4;
    var s0 = vec4<f32>();
    var s1 = vec4<f32>();
    var s2 = vec4<f32>();
    var s3 = vec4<f32>();
    var s4 = vec4<f32>();
    var s5 = vec4<f32>();
    var s6 = vec4<f32>();
    var s7 = vec4<f32>();
    for (var k = 0u; k < K4; k++) {
        // Four columns of W at this k, transposed so that each row costs four multiply-adds of vectors.
        let t = transpose(mat4x4<f32>(weights[w0 + k], weights[w1 + k], weights[w2 + k], weights[w3 + k]));
        s0 += t * x[x0 + k];
        s1 += t * x[x1 + k];
        s2 += t * x[x2 + k];
        s3 += t * x[x3 + k];
        s4 += t * x[x4 + k];
        s5 += t * x[x5 + k];
        s6 += t * x[x6 + k];
        s7 += t * x[x7 + k];
    }
    store(row, column, s0);
    store(row + 1u, column, s1);
    store(row + 2u, column, s2);
    store(row + 3u, column, s3);
    store(row + 4u, column, s4);
    store(row + 5u, column, s5);
    store(row + 6u, column, s6);
    store(row + 7u, column, s7);
}
