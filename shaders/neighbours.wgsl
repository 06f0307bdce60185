// What choosing between sums_memory.wgsl and sums_subgroups.wgsl measures: their functions by turns, on small whole numbers,
// so that both come to the same values. Follows one of them.

@group(0) @binding(4) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) place: u32{{ lanes }}) {
    var value = f32((place * 37u + group.x) & 63u);
    for (var i = 0u; i < 64u; i++) {
        let all = u32(total(value, place{{ size }}));
        workgroupBarrier();
        let most = u32(greatest_of_all(value, place{{ size }}));
        workgroupBarrier();
        let best = u32(greatest_of_four(value, place));
        workgroupBarrier();
        let sum = u32(sum_of_four(value, place));
        value = f32((all + 5u * best + 3u * sum + 7u * most + place) & 63u);
    }
    y[group.x * 64u + place] = value;
}
