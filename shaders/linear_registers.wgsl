// y = activate(residual + gamma * (x W^T + bias)) in registers: no workgroup memory and no barrier, which software
// adapters are slowest at.
//
// One invocation keeps {{ rows }} rows by {{ columns }} columns. What software adapters load fast is one value for
// all neighbouring invocations, or neighbouring values: so the rows depend on the workgroup alone, the columns of
// neighbours are neighbours, and W lies as [K, N]. Follows a columns, an inputs and an epilogue part; the CPU
// twin is `reference::linear`.

@compute @workgroup_size({{ lanes }}, 1, 1)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let column = group.x * {{ lanes }}u * {{ columns }}u + local.x;
    let row = group.y * {{ rows }}u;
    // What lies beyond the last column is computed and not stored: no invocation is idle in the loop.
    let n$j = min(column + $ju * {{ lanes }}u, 4u * dims.n4 - 1u); //% j columns
    var s$i_$j = 0.0; //% i rows j columns
    for (var tap = 0u; tap < taps(); tap++) {
        let x$i = start(min(row + $iu, dims.m - 1u), tap); //% i rows
        let f$i = seen(min(row + $iu, dims.m - 1u), tap); //% i masked
        let first = tap * dims.c4;
        for (var c = 0u; c < dims.c4; c++) {
            let v$i = x[x$i + c]{{ mask }}; //% i rows
            //% repeat j columns
            let t$j = weights(n$j, first + c);
            s$i_$j += dot(t$j, v$i); //% i rows
            //% end
        }
    }
    store(row + $iu, column + $ju * {{ lanes }}u, s$i_$j); //% i rows j columns
}
