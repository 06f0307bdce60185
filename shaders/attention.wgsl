// softmax(q k^T * SCALE) v for each head, without storing the scores: one pass over the keys with a running
// maximum and sum.
//
// qkv [BATCH, TOKENS, 3, HEADS, HEAD4] and mixed [BATCH, QUERIES, HEADS, HEAD4], both vec4<f32>; only the first QUERIES
// tokens are queries. One invocation computes one query of one head in registers. The CPU twin is
// `attention::reference`.

const BATCH: u32 = {{ batch }}u;
const TOKENS: u32 = {{ tokens }}u;
const QUERIES: u32 = {{ queries }}u;
const HEADS: u32 = {{ heads }}u;
const HEAD4: u32 = {{ head4 }}u;
const SCALE: f32 = {{ scale }};
// Elements of a token, and from q to k to v.
const TOKEN: u32 = 3u * HEADS * HEAD4;
const PART: u32 = HEADS * HEAD4;

@group(0) @binding(0) var<storage, read_write> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> mixed: array<vec4<f32>>;

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= BATCH * HEADS * QUERIES) {
        return;
    }
    let query = id.x % QUERIES;
    let head = id.x / QUERIES % HEADS;
    let batch = id.x / (QUERIES * HEADS);
    let base = batch * TOKENS * TOKEN + head * HEAD4;
    var q: array<vec4<f32>, HEAD4>;
    var sum_v: array<vec4<f32>, HEAD4>;
    for (var d = 0u; d < HEAD4; d++) {
        q[d] = qkv[base + query * TOKEN + d] * SCALE;
        sum_v[d] = vec4<f32>();
    }
    var best = -3.0e38;
    var sum = 0.0;
    for (var token = 0u; token < TOKENS; token++) {
        let k = base + token * TOKEN + PART;
        var products = vec4<f32>();
        for (var d = 0u; d < HEAD4; d++) {
            products += q[d] * qkv[k + d];
        }
        let score = products.x + products.y + products.z + products.w;
        if (score > best) {
            // What was summed so far was relative to the old maximum.
            let shrink = exp(best - score);
            sum *= shrink;
            for (var d = 0u; d < HEAD4; d++) {
                sum_v[d] *= shrink;
            }
            best = score;
        }
        let weight = exp(score - best);
        sum += weight;
        for (var d = 0u; d < HEAD4; d++) {
            sum_v[d] += weight * qkv[k + PART + d];
        }
    }
    let start = ((batch * QUERIES + query) * HEADS + head) * HEAD4;
    for (var d = 0u; d < HEAD4; d++) {
        mixed[start + d] = sum_v[d] / sum;
    }
}
