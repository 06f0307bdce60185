// softmax(q k^T * SCALE) v for each head in one pass over the keys, with a running maximum and sum, in registers, one query of
// one head an invocation. Each invocation of a quad loads a quarter of a key and of a value, and they come turned: component
// r of every four is dimension (invocation % 4) ^ r. Follows quads.wgsl; the CPU twin is `reference::attention`.
//
// qkv [tokens, 3, heads, 4 * HEAD4] and mixed [queries, heads, 4 * HEAD4]; only the first `queries` tokens are queries.

struct Dims {
    tokens: u32,
    queries: u32,
    heads: u32,
    spare: u32,
}

const HEAD: u32 = 4u * {{ head4 }}u;

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(4) var<storage, read_write> mixed: array<f32>;
@group(0) @binding(7) var<uniform> dims: Dims;

@compute @workgroup_size(8, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let part = dims.heads * HEAD;
    let stride = 3u * part;
    let query = group.x * 8u + local.x;
    let lane = local.x % 4u;
    let base = group.y * HEAD;
    // What lies beyond the last query is computed and not stored.
    let at = base + min(query, dims.queries - 1u) * stride;
    //% repeat d head4
    let q$d = vec4<f32>(qkv[at + 4u * $du + lane], qkv[at + 4u * $du + (lane ^ 1u)],
        qkv[at + 4u * $du + (lane ^ 2u)], qkv[at + 4u * $du + (lane ^ 3u)]) * {{ scale }};
    var v$d = vec4<f32>();
    //% end
    var best = -3.0e38;
    var sum = 0.0;
    for (var token = 0u; token < dims.tokens; token++) {
        let k = base + token * stride + part + lane;
        var score = 0.0;
        score += dot(q$d, turned(qkv[k + 4u * $du])); //% d head4
        let top = max(best, score);
        // What was summed so far is relative to the old maximum.
        let shrink = exp(best - top);
        let weight = exp(score - top);
        best = top;
        sum = sum * shrink + weight;
        v$d = v$d * shrink + weight * turned(qkv[k + part + 4u * $du]); //% d head4
    }
    if (query < dims.queries) {
        let to = query * part + base;
        let factor = 1.0 / sum;
        //% repeat d head4
        mixed[to + 4u * $du + lane] = v$d.x * factor;
        mixed[to + 4u * $du + (lane ^ 1u)] = v$d.y * factor;
        mixed[to + 4u * $du + (lane ^ 2u)] = v$d.z * factor;
        mixed[to + 4u * $du + (lane ^ 3u)] = v$d.w * factor;
        //% end
    }
}
