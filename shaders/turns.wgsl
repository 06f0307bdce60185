// What choosing between loads of four values and one load with quads.wgsl measures: as many steps with either, of numbers that
// both come to alike. Behind the results lie zeros, which nobody writes. Workgroups are those of the QUADS kernels. May follow quads.wgsl.

@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(8, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) place: u32) {
    var sum = group.x;
    for (var i = 0u; i < 64u; i++) {
        let at = {{ results }}u + 4u * i;
        let four = {{ four }};
        sum = (sum + u32(dot(four, vec4<f32>(1.0, 2.0, 3.0, 5.0)))) & 1023u;
    }
    y[group.x * 8u + place] = f32(sum);
}
