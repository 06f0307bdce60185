// Products of linear_tiles.wgsl in f16, of a stage at a time, whose sums are added up in f32. Weights of 8 bits are staged as
// multiples of 2^-7, so that sums stay far below the greatest f16.

//% repeat i tiles
var<workgroup> sums: array<vec4<f32>, {{ kept }}>;

fn held(v: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(v);
}
//% end

// Four columns' sums and an input times their weights.
fn product(t: vec4<f16>, v: f16, s: vec4<f16>) -> vec4<f16> {
    return fma(t, vec4<f16>(v), s);
}

//% repeat i tiles
fn keep(place: u32, sum: vec4<f32>) {
    sums[place] = sum;
}

fn kept(place: u32) -> vec4<f32> {
    return sums[place];
}
//% end
