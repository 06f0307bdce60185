// How linear_registers.wgsl reads x in the QUADS family: one of four inputs of a row an invocation, which are then turned. Follows
// quads.wgsl.

fn loaded(at: u32, lane: u32) -> f32 {
    return x[4u * at + lane];
}

fn spread(one: f32) -> vec4<f32> {
    return turned(one);
}
