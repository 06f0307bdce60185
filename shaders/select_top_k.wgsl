// Selects the k largest of n distinct 64-bit keys (ordered score, inverted id) by radix selection.
//
// Up to eight rounds of (histogram, choose) fix the k-th largest key byte by byte from the top, until all keys
// of the chosen byte are wanted; gather then keeps every key not below it. Unordered output; no
// workgroup memory, one counter per byte value. A round reads what the one before has written beside its own
// place, so that no invocation reads what another one of the same dispatch writes.

struct State {
    count: atomic<u32>,             // n
    gathered: atomic<u32>,
    threshold: vec2<u32>,
}

struct Round {
    wanted: u32,                    // how many of the keys that match the prefix are still wanted
    open: u32,                      // 0 once all of them are
    prefix: vec2<u32>,              // the bytes fixed so far, high word first
}

struct Params {
    round: u32,
    k: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: State;
@group(0) @binding(2) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> best: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> rounds: array<Round, 9>;
@group(0) @binding(5) var<storage, read_write> histograms: array<atomic<u32>, 2048>;
@group(0) @binding(6) var<storage, read> counts: array<vec4<u32>, 512>;     // the histograms, once counted

@compute @workgroup_size(1)
fn begin() {
    let count = min(atomicLoad(&state.count), arrayLength(&pairs));
    atomicStore(&state.count, count);
    atomicStore(&state.gathered, 0u);
    rounds[0] = Round(min(count, params.k), u32(count > params.k), vec2<u32>());
}

fn key(i: u32) -> vec2<u32> {
    return vec2<u32>(pairs[i].x, ~pairs[i].y);
}

@compute @workgroup_size(64)
fn histogram(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let round = rounds[params.round];
    if (round.open == 0u) {
        return;
    }
    let low_word = params.round >= 4u;
    let shift = 24u - 8u * (params.round & 3u);
    // Bytes above the current one, in the word it lies in.
    let above = select(0xffffffffu << ((shift + 8u) & 31u), 0u, shift == 24u);
    let count = atomicLoad(&state.count);
    for (var i = id.x; i < count; i += groups.x * 64u) {
        let k = key(i);
        let word = select(k.x, k.y, low_word);
        let fixed = select(round.prefix.x, round.prefix.y, low_word);
        if ((word & above) == (fixed & above) && (!low_word || k.x == round.prefix.x)) {
            atomicAdd(&histograms[256u * params.round + ((word >> shift) & 255u)], 1u);
        }
    }
}

// Each invocation asks whether its byte is the one.
@compute @workgroup_size(256)
fn choose(@builtin(local_invocation_index) byte: u32) {
    let round = rounds[params.round];
    if (round.open == 0u) {
        if (byte == 0u) {
            rounds[params.round + 1u] = round;
        }
        return;
    }
    var above = 0u;
    var here = 0u;
    for (var i = 0u; i < 64u; i++) {
        let four = counts[64u * params.round + i];
        for (var j = 0u; j < 4u; j++) {
            let value = 4u * i + j;
            above += select(0u, four[j], value > byte);
            here = select(here, four[j], value == byte);
        }
    }
    if (above < round.wanted && above + here >= round.wanted) {
        let bits = byte << (24u - 8u * (params.round & 3u));
        let wanted = round.wanted - above;
        var prefix = round.prefix;
        if (params.round < 4u) {
            prefix.x |= bits;
        } else {
            prefix.y |= bits;
        }
        rounds[params.round + 1u] = Round(wanted, u32(here > wanted), prefix);
    }
}

@compute @workgroup_size(64)
fn gather(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let prefix = rounds[8].prefix;
    let count = atomicLoad(&state.count);
    for (var i = id.x; i < count; i += groups.x * 64u) {
        let k = key(i);
        if (k.x > prefix.x || (k.x == prefix.x && k.y >= prefix.y)) {
            let at = atomicAdd(&state.gathered, 1u);
            if (at < arrayLength(&best)) {
                best[at] = pairs[i];
            }
        }
    }
}

// The best become the first candidates of what follows.
@compute @workgroup_size(1)
fn finish() {
    let gathered = min(atomicLoad(&state.gathered), arrayLength(&best));
    atomicStore(&state.count, gathered);
    state.threshold = select(vec2<u32>(), rounds[8].prefix, gathered >= params.k);
}
