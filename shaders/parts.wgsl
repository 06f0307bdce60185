// Partial sums of a linear layer whose inputs are divided among workgroups: y [SPLIT, M, N].

@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

fn store(part: u32, row: u32, quad: u32, sum: vec4<f32>) {
    if (row < dims.m && quad < dims.n4) {
        y[(part * dims.m + row) * dims.n4 + quad] = sum;
    }
}
