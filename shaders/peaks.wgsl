// What a device can do at best: fused products in registers, and a plain copy. Measured beside what the kernels reach.

@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> target_: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>;

// Four chains of four, 64 products an invocation in each of 1024 rounds.
@compute @workgroup_size(256)
fn fused(@builtin(global_invocation_id) id: vec3<u32>) {
    let start = vec4<f32>(f32(id.x & 255u));
    let factor = vec4<f32>(0.999);
    var a = start;
    var b = start + 1.0;
    var c = start + 2.0;
    var d = start + 3.0;
    for (var i = 0u; i < 1024u; i++) {
        a = fma(a, factor, start);
        b = fma(b, factor, start);
        c = fma(c, factor, start);
        d = fma(d, factor, start);
        a = fma(a, factor, start);
        b = fma(b, factor, start);
        c = fma(c, factor, start);
        d = fma(d, factor, start);
        a = fma(a, factor, start);
        b = fma(b, factor, start);
        c = fma(c, factor, start);
        d = fma(d, factor, start);
        a = fma(a, factor, start);
        b = fma(b, factor, start);
        c = fma(c, factor, start);
        d = fma(d, factor, start);
    }
    sums[id.x & 255u] = a + b + c + d;
}

@compute @workgroup_size(256)
fn copied(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < arrayLength(&source); i += groups.x * 256u) {
        target_[i] = source[i];
    }
}

// Next to nothing, after what came before.
@compute @workgroup_size(64)
fn nothing(@builtin(local_invocation_index) place: u32) {
    sums[place] += 1.0;
}
