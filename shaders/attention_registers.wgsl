// softmax(q k^T * SCALE) v for each head in one pass over the keys, with a running maximum and sum, in registers.
//
// qkv [tokens, 3, heads, HEAD4] and mixed [queries, heads, HEAD4], both vec4<f32>; only the first `queries`
// tokens are queries. One invocation computes {{ each }} queries of one head. The head depends on the
// workgroup alone, so that software adapters load keys and values once for neighbouring invocations.
// The CPU twin is `reference::attention`.

struct Dims {
    tokens: u32,
    queries: u32,
    heads: u32,
    spare: u32,
}

const HEAD4: u32 = {{ head4 }}u;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> mixed: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

@compute @workgroup_size(16, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let part = dims.heads * HEAD4;
    let stride = 3u * part;
    let first = (group.x * 16u + local.x) * {{ each }}u;
    let base = group.y * HEAD4;
    // What lies beyond the last query is computed and not stored.
    let at$i = base + min(first + $iu, dims.queries - 1u) * stride; //% i each
    let q$i_$d = qkv[at$i + $du] * {{ scale }}; //% i each d head4
    var v$i_$d = vec4<f32>(); //% i each d head4
    var best$i = -3.0e38; //% i each
    var sum$i = 0.0; //% i each
    for (var token = 0u; token < dims.tokens; token++) {
        let k = base + token * stride + part;
        var p$i = vec4<f32>(); //% i each
        //% repeat d head4
        let k$d = qkv[k + $du];
        p$i += q$i_$d * k$d; //% i each
        //% end
        //% repeat i each
        let score$i = p$i.x + p$i.y + p$i.z + p$i.w;
        if (score$i > best$i) {
            // What was summed so far was relative to the old maximum.
            let shrink = exp(best$i - score$i);
            sum$i *= shrink;
            v$i_$d *= shrink; //% d head4
            best$i = score$i;
        }
        let weight$i = exp(score$i - best$i);
        sum$i += weight$i;
        //% end
        //% repeat d head4
        let x$d = qkv[k + part + $du];
        v$i_$d += weight$i * x$d; //% i each
        //% end
    }
    //% repeat i each
    if (first + $iu < dims.queries) {
        let to = (first + $iu) * part + group.y * HEAD4;
        let factor = 1.0 / sum$i;
        mixed[to + $du] = v$i_$d * factor; //% d head4
    }
    //% end
}
