// y = activate(residual + gamma * (x W^T + bias)) in registers: no workgroup memory and no barrier, which software
// adapters are slowest at.
//
// One invocation keeps {{ rows }} rows by {{ columns }} columns; the rows depend on the workgroup alone, and W lies as
// [K, N]. In the QUADS family, which follows quads.wgsl, x comes turned within a quad, and so lies W: component r of four
// inputs is input (column % 4) ^ r. Follows a columns, an inputs and an epilogue part; the CPU twin is `reference::linear`.

@compute @workgroup_size({{ lanes }}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let column = group.x * {{ lanes }}u * {{ columns }}u + local.x;
    let row = group.y * {{ rows }}u;
    // What lies beyond the last column is computed and not stored: no invocation is idle in the loop. All columns of an
    // invocation leave the same rest by 4, the last ones too.
    let last = 4u * dims.n4 - 4u + local.x % 4u;
    let n$j = min(column + $ju * {{ lanes }}u, last); //% j columns
    var s$i_$j = 0.0; //% i rows j columns
    let r$i = corner(min(row + $iu, dims.m - 1u)); //% i rows
    for (var tap = 0u; tap < taps(); tap++) {
        let way = offset(tap);
        let x$i = start(r$i, way); //% i rows
        let f$i = seen(r$i, way); //% i masked
        let first = tap * dims.c4;
        for (var c = 0u; c < dims.c4; c += {{ fours }}u) {
            let v$i_$u = {{ load }}; //% i rows u fours
            //% repeat j columns
            let h$j = held(n$j, first + c);
            let t$j_$u = widened$u(h$j); //% u fours
            s$i_$j += dot(t$j_$u, v$i_$u); //% u fours i rows
            //% end
        }
    }
    let e$j = ends(column + $ju * {{ lanes }}u); //% j columns
    store(row + $iu, column + $ju * {{ lanes }}u, s$i_$j, e$j); //% i rows j columns
}
