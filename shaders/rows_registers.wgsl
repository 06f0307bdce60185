// How linear_registers.wgsl reads x: four inputs of a row, the same for all invocations.

fn loaded(at: u32, lane: u32) -> vec4<f32> {
    return x[at];
}

fn spread(four: vec4<f32>) -> vec4<f32> {
    return four;
}
