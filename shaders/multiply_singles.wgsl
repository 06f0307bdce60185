// Products of linear_tiles.wgsl in f32. What only `tiles` have is left out where rates.wgsl measures `product`.

//% repeat i tiles
fn held(v: vec4<f32>) -> vec4<f32> {
    return v;
}
//% end

// Four columns' sums and an input times their weights.
fn product(t: vec4<f32>, v: f32, s: vec4<f32>) -> vec4<f32> {
    return fma(t, vec4<f32>(v), s);
}

//% repeat i tiles
// What one slice tells another lies where the weights lay.
fn keep(place: u32, sum: vec4<f32>) {
    ws[place / WIDTH][place % WIDTH] = sum;
}

fn kept(place: u32) -> vec4<f32> {
    return ws[place / WIDTH][place % WIDTH];
}
//% end
