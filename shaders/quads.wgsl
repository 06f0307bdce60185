// What four neighbouring invocations tell each other, by the instructions of subgroups. Loads are what software adapters are
// slowest at, whatever they load: so each invocation of a quad loads one of four neighbouring values, and these are handed around.
// Invariant: invocation i of a workgroup is number i % 4 of its quad. `choose` sees it in turns.wgsl, and `parity` checks what a
// backbone makes of it.

// Component r is what invocation `mine ^ r` of the quad has given. Every invocation calls it.
fn turned(value: f32) -> vec4<f32> {
    return vec4<f32>(value, quadSwapX(value), quadSwapY(value), quadSwapDiagonal(value));
}
