// y = activate(residual + gamma * (x W^T + bias)) by tiles in workgroup memory, for GPUs.
//
// 64 invocations compute a tile of 8 * ROWS rows by 8 * QUADS fours of columns, each one every 8th row and every
// 8th four. They stage FOURS fours of inputs at a time, weights as they are multiplied, while the next ones are on their
// way from memory. With more SLICES as many such groups share a tile: each takes every SLICES-th stretch of the inputs,
// and their sums are joined in the end. With a larger SPLIT the inputs are divided among workgroups likewise, whose
// sums are joined by `linear_join.wgsl`. Indices that are known beforehand need no check when the kernel runs, so
// tiles are arrays of arrays and loops are written out; the inner arrays have one four to spare, so that neighbours
// lie in different banks. Stands between an inputs part and a multiply, a weights and an epilogue part; the CPU twin is
// `reference::linear`. In bytes a four is sixteen inputs, and the first row is also there by what its rounding has left.

const FOURS = {{ fours }}u;
const SLICES = {{ slices }}u;
const SPLIT = {{ split }}u;
const ROWS = 8u * {{ rows }}u;
const QUADS = 8u * {{ quads }}u;
const WIDTH = 4u * FOURS + 1u;

var<workgroup> xs: array<array<{{ held }}, FOURS + 1u>, ROWS * SLICES>;
var<workgroup> ws: array<array<{{ held }}, WIDTH>, {{ lines }}>;
var<workgroup> lows: array<{{ held }}, FOURS * SLICES>; //% i low

fn four_of(row: u32, k4: u32) -> {{ came }} {
    var value = {{ came }}();
    if (k4 < taps() * dims.c4) {
        value = fetch(row, k4);
    }
    return value;
}

@compute @workgroup_size(64u * SLICES, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let place = index % 64u;
    let slice = index / 64u;
    let line = place / 8u;
    let column = place % 8u;
    let first_row = group.y * ROWS;
    let first_quad = group.x * QUADS;
    let x_line = slice * ROWS;
    let w_line = slice * QUADS;
    // What is staged by this invocation.
    let row = place / FOURS;
    let four = place % FOURS;
    let quad = place % QUADS;
    let unit = place / QUADS;
    let fours = taps() * dims.c4;
    var s$i_$q = {{ total }}(); //% i rows q quads
    var r$q = {{ total }}(); //% q lowered
    var k = (group.z * SLICES + slice) * FOURS;
    var x$l = four_of(min(first_row + row + $lu * (64u / FOURS), dims.m - 1u), k + four); //% l x_loads
    var w$l = load(first_quad + quad, k, unit + $lu * (64u / QUADS)); //% l w_loads
    var m = {{ came }}(); //% i low
    if (group.y == 0u) { m = four_of(dims.m, k + four); } //% i low
    for (var start = 0u; start < fours; start += FOURS * SLICES * SPLIT) {
        workgroupBarrier();
        //% repeat l x_loads
        if (row + $lu * (64u / FOURS) < ROWS) {
            xs[x_line + row + $lu * (64u / FOURS)][four] = held(x$l);
        }
        //% end
        if (group.y == 0u && place < FOURS) { lows[slice * FOURS + place] = m; } //% i low
        //% repeat l w_loads
        if ((unit + $lu * (64u / QUADS)) * UNIT < 4u * FOURS) {
            stage(w_line + quad, (unit + $lu * (64u / QUADS)) * UNIT, w$l);
        }
        //% end
        workgroupBarrier();
        k += FOURS * SLICES * SPLIT;
        x$l = four_of(min(first_row + row + $lu * (64u / FOURS), dims.m - 1u), k + four); //% l x_loads
        w$l = load(first_quad + quad, k, unit + $lu * (64u / QUADS)); //% l w_loads
        if (group.y == 0u) { m = four_of(dims.m, k + four); } //% i low
        var p$i_$q = {{ held }}(); //% i halved q quads
        //% repeat j fours
        {
            let t$c_$q = ws[w_line + column + $qu * 8u][4 * $j + $c]; //% c four q quads
            let v$i = xs[x_line + line + $iu * 8u][$j]; //% i rows
            {{ into }}$i_$q = product(t0_$q, v$i.x, {{ into }}$i_$q); //% i rows q quads
            {{ into }}$i_$q = product(t1_$q, v$i.y, {{ into }}$i_$q); //% i rows q quads
            {{ into }}$i_$q = product(t2_$q, v$i.z, {{ into }}$i_$q); //% i rows q quads
            {{ into }}$i_$q = product(t3_$q, v$i.w, {{ into }}$i_$q); //% i rows q quads
            if (group.y == 0u) { //% i low
            let n = lows[slice * FOURS + $ju]; //% i low
            r$q = product(t0_$q, n.x, r$q); //% q lowered
            r$q = product(t1_$q, n.y, r$q); //% q lowered
            r$q = product(t2_$q, n.z, r$q); //% q lowered
            r$q = product(t3_$q, n.w, r$q); //% q lowered
            } //% i low
        }
        //% end
        s$i_$q += vec4<f32>(p$i_$q); //% i halved q quads
    }
    let first = slice == 0u && group.z == 0u; //% i low
    var f$i_$q = {{ whole }}; //% i rows q quads
    if (group.y == 0u && line == 0u) { f0_$q += rest(r$q); } //% q lowered
    //% repeat s joined
    workgroupBarrier();
    if (slice == $su + 1u) {
        keep($iu * QUADS * 8u + $qu * 64u + place, f$i_$q); //% i rows q quads
    }
    workgroupBarrier();
    if (slice == 0u) {
        f$i_$q += kept($iu * QUADS * 8u + $qu * 64u + place); //% i rows q quads
    }
    //% end
    if (slice == 0u) {
        let e$q = ends(first_quad + column + $qu * 8u); //% q ended
        store({{ part }}first_row + line + $iu * 8u, first_quad + column + $qu * 8u, f$i_$q{{ of }}); //% i rows q quads
    }
}
