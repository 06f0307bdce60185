// Selects the k largest of n distinct 64-bit keys (ordered score, inverted id) by radix selection.
//
// Eight rounds of (histogram, choose) fix the k-th largest key byte by byte from the top; gather then
// keeps every key not below it. Unordered output; no workgroup memory, one counter per byte value.

struct State {
    count: u32,                     // n
    wanted: u32,                    // how many of the keys that match the prefix are still wanted
    round: u32,
    gathered: atomic<u32>,
    prefix: vec2<u32>,              // the bytes fixed so far, high word first
    histogram: array<atomic<u32>, 256>,
}

@group(0) @binding(0) var<storage, read_write> state: State;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> best: array<vec2<u32>>;

fn key(i: u32) -> vec2<u32> {
    return vec2<u32>(pairs[i].x, ~pairs[i].y);
}

@compute @workgroup_size(64)
fn histogram(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    let round = state.round;
    let low_word = round >= 4u;
    let shift = 24u - 8u * (round & 3u);
    // Bytes above the current one, in the word it lies in.
    let above = select(0xffffffffu << ((shift + 8u) & 31u), 0u, shift == 24u);
    for (var i = id.x; i < state.count; i += groups.x * 64u) {
        let k = key(i);
        let word = select(k.x, k.y, low_word);
        let fixed = select(state.prefix.x, state.prefix.y, low_word);
        if ((word & above) == (fixed & above) && (!low_word || k.x == state.prefix.x)) {
            atomicAdd(&state.histogram[(word >> shift) & 255u], 1u);
        }
    }
}

@compute @workgroup_size(1)
fn choose() {
    var wanted = state.wanted;
    var byte = 255u;
    loop {
        let here = atomicLoad(&state.histogram[byte]);
        if (here >= wanted || byte == 0u) {
            break;
        }
        wanted -= here;
        byte--;
    }
    for (var i = 0u; i < 256u; i++) {
        atomicStore(&state.histogram[i], 0u);
    }
    let round = state.round;
    let bits = byte << (24u - 8u * (round & 3u));
    if (round < 4u) {
        state.prefix.x |= bits;
    } else {
        state.prefix.y |= bits;
    }
    state.wanted = wanted;
    state.round = round + 1u;
}

@compute @workgroup_size(64)
fn gather(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var i = id.x; i < state.count; i += groups.x * 64u) {
        let k = key(i);
        if (k.x > state.prefix.x || (k.x == state.prefix.x && k.y >= state.prefix.y)) {
            let at = atomicAdd(&state.gathered, 1u);
            if (at < arrayLength(&best)) {
                best[at] = pairs[i];
            }
        }
    }
}
