// What places_atomics.wgsl does with one atomic addition for all invocations of a subgroup: where rows come in rising order every
// one of them becomes a candidate, and all would wait for one counter. To be called by all of them; in what
// order they lie does not matter.
fn places(wanted: u32, lane: u32) -> u32 {
    let before = subgroupExclusiveAdd(wanted);
    let all = subgroupAdd(wanted);
    var first = 0u;
    // One of them, whichever run together.
    if (lane == subgroupBroadcastFirst(lane) && all > 0u) {
        first = atomicAdd(&state.count, all);
    }
    return subgroupBroadcastFirst(first) + before;
}
