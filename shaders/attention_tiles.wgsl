// softmax(q k^T * SCALE) v for each head, 32 keys at a time, with a running maximum and sum; for GPUs.
//
// qkv [tokens, 3, heads, HEAD4] and mixed [queries, heads, HEAD4], both vec4<f32>; only the first `queries`
// tokens are queries. A workgroup of 64 invocations computes 16 queries of one head. Of 32 keys each of them computes
// the scores of two queries with every eighth key, then eight weights of one query, then one four of four
// queries' values. Keys and values take turns in one tile, and are on their way from memory while others are computed
// with. Arrays of arrays and loops are as in `linear_tiles.wgsl`. Follows sums_memory.wgsl or sums_subgroups.wgsl. The CPU
// twin is `reference::attention`.

struct Dims {
    tokens: u32,
    queries: u32,
    heads: u32,
    spare: u32,
}

const HEAD4: u32 = {{ head4 }}u;
const LEAST: f32 = -3.0e38;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> mixed: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> dims: Dims;

var<workgroup> queries: array<array<vec4<f32>, HEAD4 + 1u>, 16>;
var<workgroup> tile: array<array<vec4<f32>, HEAD4 + 1u>, 32>;
// The scores of a query with keys k, k + 8, k + 16 and k + 24 lie in its vector k, as do their weights later.
var<workgroup> scores: array<array<vec4<f32>, 9>, 16>;
// Of each query: by how much what is summed shrinks, in the end its sum.
var<workgroup> shrinks: array<f32, 16>;

// The token's four `at` of the keys (part 1) or values (part 2) of a head.
fn of_token(token: u32, part: u32, head: u32, at: u32) -> vec4<f32> {
    let row = (3u * min(token, dims.tokens - 1u) + part) * dims.heads + head;
    return qkv[row * HEAD4 + at];
}

fn greatest(v: vec4<f32>) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn sum_of(v: vec4<f32>) -> f32 {
    return v.x + v.y + v.z + v.w;
}

@compute @workgroup_size(64, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) place: u32) {
    let head = group.y;
    let first_query = group.x * 16u;
    for (var i = place; i < 16u * HEAD4; i += 64u) {
        let token = min(first_query + i / HEAD4, dims.queries - 1u);
        queries[i / HEAD4][i % HEAD4] = of_token(token, 0u, head, i % HEAD4) * {{ scale }};
    }
    // For the scores, the weights, and the values.
    let line = place / 8u;
    let key = place % 8u;
    let row = place / 4u;
    let quarter = place % 4u;
    let band = place / 16u;
    let four = min(place % 16u, HEAD4 - 1u);
    var best = LEAST;
    var sum = 0.0;
    var v$i = vec4<f32>(); //% i quads
    var n$l = of_token((place + $lu * 64u) / HEAD4, 1u, head, (place + $lu * 64u) % HEAD4); //% l loads
    for (var first = 0u; first < dims.tokens; first += 32u) {
        workgroupBarrier();
        //% repeat l loads
        if (place + $lu * 64u < 32u * HEAD4) {
            tile[(place + $lu * 64u) / HEAD4][(place + $lu * 64u) % HEAD4] = n$l;
        }
        //% end
        workgroupBarrier();
        n$l = of_token(first + (place + $lu * 64u) / HEAD4, 2u, head, (place + $lu * 64u) % HEAD4); //% l loads
        var s$i$j = vec4<f32>(); //% i two j quads
        //% repeat d head4
        {
            let q$i = queries[line + $iu * 8u][$d]; //% i two
            let k$j = tile[key + $ju * 8u][$d]; //% j quads
            s$i$j = fma(q$i, k$j, s$i$j); //% i two j quads
        }
        //% end
        let seen = first + vec4<u32>(key, key + 8u, key + 16u, key + 24u) < vec4<u32>(dims.tokens);
        scores[line + $iu * 8u][key] = select(vec4<f32>(LEAST), vec4<f32>(sum_of(s$i0), sum_of(s$i1), sum_of(s$i2), sum_of(s$i3)), seen); //% i two
        workgroupBarrier();
        //% repeat l loads
        if (place + $lu * 64u < 32u * HEAD4) {
            tile[(place + $lu * 64u) / HEAD4][(place + $lu * 64u) % HEAD4] = n$l;
        }
        //% end
        n$l = of_token(first + 32u + (place + $lu * 64u) / HEAD4, 1u, head, (place + $lu * 64u) % HEAD4); //% l loads
        let a = scores[row][quarter];
        let b = scores[row][quarter + 4u];
        let most = max(best, greatest_of_four(greatest(max(a, b)), place));
        let shrink = exp(best - most);
        best = most;
        let x = exp(a - most);
        let z = exp(b - most);
        sum = fma(sum, shrink, sum_of(x + z));
        scores[row][quarter] = x;
        scores[row][quarter + 4u] = z;
        if (quarter == 0u) {
            shrinks[row] = shrink;
        }
        workgroupBarrier();
        v$i *= shrinks[band + $iu * 4u]; //% i quads
        //% repeat k eight
        {
            let t$j = tile[$ku + $ju * 8u][four]; //% j quads
            let w$i = scores[band + $iu * 4u][$k]; //% i quads
            v$i = fma(t0, w$i.xxxx, v$i); //% i quads
            v$i = fma(t1, w$i.yyyy, v$i); //% i quads
            v$i = fma(t2, w$i.zzzz, v$i); //% i quads
            v$i = fma(t3, w$i.wwww, v$i); //% i quads
        }
        //% end
    }
    // The loop's last barrier lies between this and what neighbours told each other before.
    let whole = sum_of_four(sum, place);
    workgroupBarrier();
    if (quarter == 0u) {
        shrinks[row] = whole;
    }
    workgroupBarrier();
    //% repeat i quads
    {
        let r = band + $iu * 4u;
        if (first_query + r < dims.queries && place % 16u < HEAD4) {
            mixed[((first_query + r) * dims.heads + head) * HEAD4 + four] = v$i / shrinks[r];
        }
    }
    //% end
}
