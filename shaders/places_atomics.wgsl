// Places among the candidates: the first of `wanted` that follow each other. Each invocation asks for its own; places_subgroups.wgsl
// does the same. Stands after candidates.wgsl.
fn places(wanted: u32) -> u32 {
    var first = 0u;
    if (wanted > 0u) {
        first = atomicAdd(&state.count, wanted);
    }
    return first;
}
