// Joins the partial sums of a linear layer whose inputs were divided among workgroups: x [SPLIT, M, N], and then does what
// follows a product. Stands between an inputs and an epilogue part; the CPU twin of all of it is `reference::linear`.

@group(0) @binding(2) var<storage, read> scales: array<vec4<f32>>; //% i scaled

fn scale(quad: u32) -> vec4<f32> {
    return {{ scale }};
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let values = dims.m * dims.n4;
    if (id.x >= values) {
        return;
    }
    var sum = x[id.x];
    for (var part = 1u; part < {{ split }}u; part++) {
        sum += x[part * values + id.x];
    }
    store(id.x / dims.n4, id.x % dims.n4, sum, ends(id.x % dims.n4));
}
