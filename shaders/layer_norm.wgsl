// (x - mean) / sqrt(variance + EPSILON) * weight + bias for each row.
//
// x [M, W], weight [W], bias [W], y [M, W], all f32; W is a multiple of 4. One invocation takes one row, in two
// passes over it, so that the variance stays exact for rows far from zero. The CPU twin is `dense_ops::norm_reference`.

const M: u32 = {{ m }}u;
const W4: u32 = {{ w4 }}u;
const EPSILON: f32 = {{ epsilon }};

@group(0) @binding(0) var<storage, read_write> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> bias: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= M) {
        return;
    }
    let start = id.x * W4;
    let share = 1.0 / f32(4u * W4);
    var sum = vec4<f32>();
    for (var i = 0u; i < W4; i++) {
        sum += x[start + i];
    }
    let mean = (sum.x + sum.y + sum.z + sum.w) * share;
    var squares = vec4<f32>();
    for (var i = 0u; i < W4; i++) {
        let centred = x[start + i] - mean;
        squares += centred * centred;
    }
    let factor = inverseSqrt((squares.x + squares.y + squares.z + squares.w) * share + EPSILON);
    for (var i = 0u; i < W4; i++) {
        y[start + i] = (x[start + i] - mean) * factor * weight[i] + bias[i];
    }
}
