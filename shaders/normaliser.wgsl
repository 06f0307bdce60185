// Sum of the calibrator's unnormalised influences over all scores; the CPU twin is `calibrator::normaliser`.
//
// `partial`: 1024 invocations each sum every 1024th score of a buffer and count them, on top of the buffers
// before; `combine` adds those in groups of 32: no sum has more than a thousand terms at a million scores,
// which keeps f32 rounding small.

struct Params {
    count: u32,
    inv_tau: f32,
    bias: f32,      // effective: a thousandth of the stored one
    best: f32,      // the largest score
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32, 1024>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32, 1024>;

@compute @workgroup_size(64)
fn partial(@builtin(global_invocation_id) id: vec3<u32>) {
    var sum = 0.0;
    var count = 0u;
    for (var i = id.x; i < params.count; i += 1024u) {
        sum += max(exp(params.inv_tau * (scores[i] - params.best)) + params.bias, 0.0);
        count++;
    }
    sums[id.x] += sum;
    counts[id.x] += count;
}

@compute @workgroup_size(1)
fn combine() {
    var sum = 0.0;
    var count = 0u;
    for (var i = 0u; i < 1024u; i += 32u) {
        var part = 0.0;
        for (var j = 0u; j < 32u; j++) {
            part += sums[i + j];
            count += counts[i + j];
        }
        sum += part;
    }
    sums[0] = sum;
    counts[0] = count;
}
