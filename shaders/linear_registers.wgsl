// y = activate(residual + gamma * (x W^T + bias)) in registers: no workgroup memory and no barrier, which software
// adapters are slowest at.
//
// One invocation keeps {{ tall }} times {{ columns }} rows by {{ columns }} columns; the rows depend on the workgroup alone, and W
// lies as [K, N]. In the QUADS family x comes turned within a quad, and so lies W: component r of four inputs is input
// (column % 4) ^ r. Stands between a rows and an inputs part and a columns and an epilogue part; the CPU twin is `reference::linear`.

@compute @workgroup_size({{ lanes }}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let column = group.x * {{ lanes }}u * {{ columns }}u + local.x;
    let row = group.y * {{ tall }}u * {{ columns }}u;
    let lane = local.x % 4u;
    // What lies beyond the last column is computed and not stored: no invocation is idle in the loop. All columns of an
    // invocation leave the same rest by 4, the last ones too.
    let last = 4u * dims.n4 - 4u + lane;
    let n$j = min(column + $ju * {{ lanes }}u, last); //% j columns
    var s$t_$q_$j = 0.0; //% t tall q columns j columns
    let r$t_$q = corner(min(row + $tu * {{ columns }}u + $qu, dims.m - 1u)); //% t tall q columns
    for (var tap = 0u; tap < taps(); tap++) {
        let way = offset(tap);
        let x$t_$q = start(r$t_$q, way); //% t tall q columns
        let f$t_$q = seen(r$t_$q, way); //% t masked q columns
        let first = tap * dims.c4;
        var l$t_$q_$u = loaded(x$t_$q + $uu, lane); //% t ahead q columns u fours
        for (var c = 0u; c < dims.c4; c += {{ fours }}u) {
            let l$t_$q_$u = loaded(x$t_$q + c + $uu, lane); //% t now q columns u fours
            let v$t_$q_$u = spread(l$t_$q_$u){{ mask }}; //% t tall q columns u fours
            //% repeat j columns
            let h$j = held(n$j, first + c);
            let t$j_$u = widened$u(h$j); //% u fours
            // What is read beyond the last row is of no use, and not used.
            l$t_$j_$u = loaded(x$t_$j + c + {{ fours }}u + $uu, lane); //% t ahead u fours
            s$t_$q_$j += dot(t$j_$u, v$t_$q_$u); //% u fours t tall q columns
            //% end
        }
    }
    let e$j = ends(column + $ju * {{ lanes }}u); //% j columns
    store(row + $tu * {{ columns }}u + $qu, column + $ju * {{ lanes }}u, s$t_$q_$j, e$j); //% t tall q columns j columns
}
