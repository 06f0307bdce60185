// What the 64 invocations of a workgroup tell each other, by the instructions of its subgroups. Every invocation calls
// these functions. Stands before norm_tiles.wgsl, round_rows.wgsl, attention_tiles.wgsl and neighbours.wgsl; sums_memory.wgsl does the same.
// Invariant: invocation i is number i % size of its subgroup, and a subgroup has four at least. `choose` sees it in
// neighbours.wgsl, and `parity` checks what a backbone makes of it.

var<workgroup> parts: array<f32, 16>;

// The sum over the workgroup; `size` is a subgroup's.
fn total(part: f32, place: u32, size: u32) -> f32 {
    let sum = subgroupAdd(part);
    // What an earlier call has left is read by then.
    workgroupBarrier();
    if (place % size == 0u) {
        parts[place / size] = sum;
    }
    workgroupBarrier();
    var all = parts[0];
    for (var other = 1u; other * size < 64u; other++) {
        all += parts[other];
    }
    return all;
}

// The greatest value of the workgroup.
fn greatest_of_all(part: f32, place: u32, size: u32) -> f32 {
    let most = subgroupMax(part);
    workgroupBarrier();
    if (place % size == 0u) {
        parts[place / size] = most;
    }
    workgroupBarrier();
    var all = parts[0];
    for (var other = 1u; other * size < 64u; other++) {
        all = max(all, parts[other]);
    }
    return all;
}

fn greatest_of_four(value: f32, place: u32) -> f32 {
    let two = max(value, subgroupShuffleXor(value, 1u));
    return max(two, subgroupShuffleXor(two, 2u));
}

fn sum_of_four(value: f32, place: u32) -> f32 {
    let two = value + subgroupShuffleXor(value, 1u);
    return two + subgroupShuffleXor(two, 2u);
}
