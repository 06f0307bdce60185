// Products of linear_tiles.wgsl in bytes, four at once: inputs as round_rows.wgsl makes them, x = step * (code + offset).

//% repeat i tiles
fn held(v: vec4<u32>) -> vec4<u32> {
    return v;
}
//% end

// Four columns' sums and four inputs times their weights.
fn product(t: vec4<u32>, v: u32, s: vec4<i32>) -> vec4<i32> {
    return s + vec4<i32>(dot4I8Packed(t.x, v), dot4I8Packed(t.y, v), dot4I8Packed(t.z, v), dot4I8Packed(t.w, v));
}

//% repeat i tiles
// A row's step and offset.
fn end_of_row(row: u32) -> vec2<f32> {
    let at = min(row, dims.m - 1u);
    let two = x[(dims.m + 1u) * dims.c4 + at / 2u];
    return bitcast<vec2<f32>>(select(two.xy, two.zw, at % 2u == 1u));
}

// The sums of a row's products; the `first` of those that share its inputs adds what the offset makes of all weights.
fn whole(sum: vec4<i32>, row: u32, quad: u32, first: bool) -> vec4<f32> {
    let end = end_of_row(row);
    return end.x * (vec4<f32>(sum) + select(0.0, end.y, first) * weight_sums[min(quad, dims.n4 - 1u)]);
}

// The products of what the rounding of the first row has left, in steps of as many parts.
fn rest(sum: vec4<i32>) -> vec4<f32> {
    return end_of_row(0u).x / {{ steps }}f * vec4<f32>(sum);
}

// What one slice tells another lies where the weights lay.
fn keep(place: u32, sum: vec4<f32>) {
    ws[place / WIDTH][place % WIDTH] = bitcast<vec4<u32>>(sum);
}

fn kept(place: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(ws[place / WIDTH][place % WIDTH]);
}
//% end
