// softmax(q k^T * SCALE) v for each head, 16 keys at a time, with a running maximum and sum; for GPUs.
//
// qkv [tokens, 3, heads, HEAD4] and mixed [queries, heads, HEAD4], both vec4<f32>; only the first `queries`
// tokens are queries. A workgroup of 16 x 16 invocations computes 16 queries of one head: first each
// invocation one score, then every 16th four of one query's values. The CPU twin is `reference::attention`.

struct Dims {
    tokens: u32,
    queries: u32,
    heads: u32,
    spare: u32,
}

const HEAD4: u32 = {{ head4 }}u;
// Odd, so that neighbouring keys lie in different banks.
const ROW: u32 = HEAD4 | 1u;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> mixed: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

var<workgroup> queries: array<vec4<f32>, 16u * ROW>;
var<workgroup> keys: array<vec4<f32>, 16u * ROW>;
var<workgroup> scores: array<f32, 256>;

@compute @workgroup_size(16, 16, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let part = dims.heads * HEAD4;
    let stride = 3u * part;
    let base = group.y * HEAD4;
    let query = group.x * 16u + local.y;
    let from_query = base + min(query, dims.queries - 1u) * stride;
    for (var d = local.x; d < HEAD4; d += 16u) {
        queries[local.y * ROW + d] = qkv[from_query + d] * {{ scale }};
    }
    var best = -3.0e38;
    var sum = 0.0;
    var v$i = vec4<f32>(); //% i values
    for (var first = 0u; first < dims.tokens; first += 16u) {
        let from_key = base + min(first + local.y, dims.tokens - 1u) * stride + part;
        for (var d = local.x; d < HEAD4; d += 16u) {
            keys[local.y * ROW + d] = qkv[from_key + d];
        }
        workgroupBarrier();
        var p = vec4<f32>();
        for (var d = 0u; d < HEAD4; d++) {
            p += queries[local.y * ROW + d] * keys[local.x * ROW + d];
        }
        let score = select(-3.0e38, p.x + p.y + p.z + p.w, first + local.x < dims.tokens);
        scores[local.y * 16u + local.x] = score;
        workgroupBarrier();
        // From here each invocation knows all 16 scores of its query.
        let r = local.y * 16u;
        let s$i = vec4<f32>(scores[r + $iu * 4u], scores[r + $iu * 4u + 1u], scores[r + $iu * 4u + 2u], scores[r + $iu * 4u + 3u]); //% i four
        let m = max(max(s0, s1), max(s2, s3));
        let most = max(best, max(max(m.x, m.y), max(m.z, m.w)));
        let shrink = exp(best - most);
        best = most;
        let w$i = exp(s$i - most); //% i four
        let w = w0 + w1 + w2 + w3;
        sum = sum * shrink + w.x + w.y + w.z + w.w;
        //% repeat i values
        let d$i = min(local.x + $iu * 16u, HEAD4 - 1u);
        v$i *= shrink;
        v$i += w$j[$k] * qkv[base + 2u * part + d$i + min(first + $ju * 4u + $ku, dims.tokens - 1u) * stride]; //% j four k four
        //% end
    }
    let to = query * part + group.y * HEAD4 + local.x;
    //% repeat i values
    if (query < dims.queries && local.x + $iu * 16u < HEAD4) {
        mixed[to + $iu * 16u] = v$i / sum;
    }
    //% end
}
