// Selects the k largest of n distinct 64-bit keys (ordered score, inverted id) by radix selection, in one dispatch of one workgroup.
//
// Up to eight rounds fix the k-th largest key byte by byte from the top, until all keys of the chosen byte are wanted; then
// every key not below it is kept, unordered. Workgroup memory, as much as suits the adapter, holds the first candidates' keys, which each
// round reads, and several histograms, so that fewer invocations add to the same counter at once. Of more candidates the rest is read again in
// each round, four at a time. An invocation holds and reads the same candidates throughout.

struct State {
    count: u32,                     // n
    gathered: u32,
    threshold: vec2<u32>,
}

const COPIES = {{ copies }}u;       // a power of two
const HELD = {{ held }}u;           // a multiple of the workgroup's invocations

@group(0) @binding(0) var<uniform> k: u32;
@group(0) @binding(1) var<storage, read_write> state: State;
@group(0) @binding(2) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> best: array<vec2<u32>>;

var<workgroup> held: array<vec2<u32>, HELD + 1u>;
var<workgroup> histograms: array<atomic<u32>, 256u * COPIES>;
var<workgroup> chosen: vec4<u32>;   // the bytes fixed so far, high word first; how many are wanted; 0 once all of them are
var<workgroup> gathered: atomic<u32>;

fn key(i: u32) -> vec2<u32> {
    if (i < HELD) {
        return held[i];
    }
    return vec2<u32>(pairs[i].x, ~pairs[i].y);
}

// The byte of round `round`, if all above it are those of `prefix`; else 256.
fn digit(key: vec2<u32>, prefix: vec2<u32>, round: u32) -> u32 {
    let low_word = round >= 4u;
    let shift = 24u - 8u * (round & 3u);
    let above = select(0xffffffffu << ((shift + 8u) & 31u), 0u, shift == 24u);
    let word = select(key.x, key.y, low_word);
    let fixed = select(prefix.x, prefix.y, low_word);
    let matches = (word & above) == (fixed & above) && (!low_word || key.x == prefix.x);
    return select(256u, (word >> shift) & 255u, matches);
}

fn count_one(digit: u32, place: u32) {
    if (digit < 256u) {
        atomicAdd(&histograms[COPIES * digit + (place & (COPIES - 1u))], 1u);
    }
}

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) place: u32) {
    let count = min(state.count, arrayLength(&pairs));
    for (var i = place; i < min(count, HELD); i += 256u) {
        held[i] = vec2<u32>(pairs[i].x, ~pairs[i].y);
    }
    var prefix = vec2<u32>();
    var wanted = min(count, k);
    var open = count > k;
    for (var round = 0u; round < 8u; round++) {
        for (var copy = 0u; copy < COPIES; copy++) {
            atomicStore(&histograms[256u * copy + place], 0u);
        }
        workgroupBarrier();
        let end = select(0u, count, open);
        var i = place;
        for (; i + 768u < end; i += 1024u) {
            let keys = array<vec2<u32>, 4>(key(i), key(i + 256u), key(i + 512u), key(i + 768u));
            count_one(digit(keys[0], prefix, round), place);
            count_one(digit(keys[1], prefix, round), place);
            count_one(digit(keys[2], prefix, round), place);
            count_one(digit(keys[3], prefix, round), place);
        }
        for (; i < end; i += 256u) {
            count_one(digit(key(i), prefix, round), place);
        }
        workgroupBarrier();
        var here = 0u;
        for (var copy = 0u; copy < COPIES; copy++) {
            here += atomicLoad(&histograms[COPIES * place + ((copy + place) & (COPIES - 1u))]);
        }
        workgroupBarrier();
        atomicStore(&histograms[place], here);
        workgroupBarrier();
        // Each invocation asks whether its byte is the one.
        var larger = 0u;
        for (var byte = 255u; byte > place; byte--) {
            larger += atomicLoad(&histograms[byte]);
        }
        if (open && larger < wanted && larger + here >= wanted) {
            let bits = place << (24u - 8u * (round & 3u));
            let left = wanted - larger;
            chosen = vec4<u32>(prefix | select(vec2<u32>(bits, 0u), vec2<u32>(0u, bits), round >= 4u), left, u32(here > left));
        }
        workgroupBarrier();
        if (open) {
            prefix = chosen.xy;
            wanted = chosen.z;
            open = chosen.w > 0u;
        }
    }
    for (var i = place; i < count; i += 256u) {
        let own = key(i);
        if (own.x > prefix.x || (own.x == prefix.x && own.y >= prefix.y)) {
            let at = atomicAdd(&gathered, 1u);
            if (at < arrayLength(&best)) {
                best[at] = vec2<u32>(own.x, ~own.y);
            }
        }
    }
    workgroupBarrier();
    // The best become the first candidates of what follows.
    if (place == 0u) {
        let found = atomicLoad(&gathered);
        state.count = min(found, arrayLength(&best));
        state.gathered = found;
        state.threshold = select(vec2<u32>(), prefix, found >= k);
    }
}
