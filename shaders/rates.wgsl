// What choosing how tiles multiply measures: the products of four rows, four columns and four inputs by turns, as in
// linear_tiles.wgsl, on values of 0 and 1, so that all ways come to the same sums. The rows are others at each step and depend
// on earlier sums, so that no compiler makes fewer products of them. Follows a multiply part's `product`.

@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Eight steps through a Gray code.
const MASKS = array<u32, 8>(1u, 2u, 1u, 4u, 1u, 2u, 1u, 8u);

// Four bits as numbers, and as bytes.
fn four(bits: u32) -> vec4<u32> {
    return (vec4<u32>(bits) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
}

fn word(bits: u32) -> u32 {
    return (bits & 1u) | ((bits & 2u) << 7u) | ((bits & 4u) << 14u) | ((bits & 8u) << 21u);
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let place = id.x % {{ results }}u;
    let bits = place * 2654435761u;
    let t$c = {{ held }}((vec4<u32>(bits, bits >> 4u, bits >> 8u, bits >> 12u) >> vec4<u32>($cu)) & vec4<u32>(1u)); //% c single
    var v$i = {{ held }}(four(bits >> (16u + 4u * $iu))); //% i singles
    let t$c = vec4<u32>(word(bits), word(bits >> 4u), word(bits >> 8u), word(bits >> 12u)); //% c byte
    var v$i = word(bits >> (16u + 4u * $iu)); //% i bytes
    var f$i = vec4<f32>(); //% i rows
    for (var round = 0u; round < 64u; round++) {
        var s$i = {{ sum }}(); //% i rows
        //% repeat k eight
        s$i = product(t$c, v$i[$c], s$i); //% c single i singles
        v$i = abs({{ held }}(four(MASKS[$k])) - v$i); //% i singles
        s$i = product(t$c, v$i, s$i); //% c byte i bytes
        v$i ^= word(MASKS[$k]); //% i bytes
        //% end
        v$i = abs({{ held }}(four(u32(s$i.x))) - v$i); //% i singles
        v$i ^= word(u32(s$i.x)); //% i bytes
        f$i += vec4<f32>(s$i); //% i rows
    }
    let all = f0 + 3.0 * f1 + 5.0 * f2 + 7.0 * f3;
    y[place] = all.x + 9.0 * all.y + 11.0 * all.z + 13.0 * all.w;
}
