// What the 64 invocations of a workgroup tell each other, by workgroup memory and barriers. Every invocation calls these
// functions. Stands before norm_tiles.wgsl, round_rows.wgsl, attention_tiles.wgsl and neighbours.wgsl; sums_subgroups.wgsl does the
// same.

var<workgroup> parts: array<f32, 64>;

// The sum over the workgroup.
fn total(part: f32, place: u32) -> f32 {
    // What an earlier call has left is read by then.
    workgroupBarrier();
    parts[place] = part;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (place < half) {
            parts[place] += parts[place + half];
        }
        workgroupBarrier();
    }
    return parts[0];
}

// The greatest value of the workgroup.
fn greatest_of_all(part: f32, place: u32) -> f32 {
    workgroupBarrier();
    parts[place] = part;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if (place < half) {
            parts[place] = max(parts[place], parts[place + half]);
        }
        workgroupBarrier();
    }
    return parts[0];
}

// The values of each four neighbours. A barrier has to lie between two calls.
fn of_four(value: f32, place: u32) -> vec4<f32> {
    parts[place] = value;
    workgroupBarrier();
    let first = place & ~3u;
    return vec4<f32>(parts[first], parts[first + 1u], parts[first + 2u], parts[first + 3u]);
}

fn greatest_of_four(value: f32, place: u32) -> f32 {
    let all = of_four(value, place);
    return max(max(all.x, all.y), max(all.z, all.w));
}

fn sum_of_four(value: f32, place: u32) -> f32 {
    let all = of_four(value, place);
    return all.x + all.y + all.z + all.w;
}
