//! A reader written after FORMAT.md's text alone, without a thought for damaged files or speed.

pub fn u16(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8
}

pub fn u32(bytes: &[u8], at: usize) -> usize {
    u16(bytes, at) | u16(bytes, at + 2) << 16
}

/// The rows [n, P] of a coarse file, each after its leaf [1 + V], which is empty where V is 0.
pub fn rows(head: &[u8], coarse: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let plan = &head[48..48 + u32(head, 24)];
    let [d, k, n8, n4, n2, e, v] = [12, 16, 20, 24, 28, 32, 56].map(|at| u32(plan, at));
    let (m, s, p) = (
        n8 + n4 + n2,
        d.div_ceil(4) * 4,
        2 + 4 * (n8 / 4 + n4 / 8 + n2 / 16),
    );
    let mut at = 64 + 12 * m + 4 * v + 2 * m.max(v) * d + 8 * k + k * s;
    let leaf_tables = if v > 0 { 1 + v } else { 0 };
    let mut tables = vec![[0; 256]; e * p + leaf_tables];
    for table in &mut tables {
        let symbols = u16(plan, at);
        for entry in 0..symbols {
            let entry = at + 2 + 3 * entry;
            table[usize::from(plan[entry])] = u16(plan, entry + 1);
        }
        at += 2 + 3 * symbols;
    }
    assert_eq!(at, plan.len());
    let (tables, of_leaves) = tables.split_at(e * p);
    let clusters = 48 + plan.len().div_ceil(4) * 4;
    let (first, n) = (u32(coarse, 12), u32(coarse, 16));
    let blocks = 48 + 4 * (n + 1);
    let mut rows = Vec::new();
    for cluster in 0..n {
        let block =
            &coarse[blocks + u32(coarse, 48 + 4 * cluster)..blocks + u32(coarse, 52 + 4 * cluster)];
        let entry = clusters + 8 * (first + cluster);
        let count = u32(head, entry + 4);
        let (class, leaves, leaf_bytes) = (u16(block, 0), u16(block, 2), u32(block, 4));
        let (coded, block) = block[8..].split_at(leaf_bytes);
        let leaves = match v {
            0 => vec![Vec::new(); count],
            _ => coded_rows(of_leaves, coded, leaves)
                .into_iter()
                .flat_map(|leaf| vec![leaf.clone(); 1 + usize::from(leaf[0])])
                .collect(),
        };
        assert_eq!(leaves.len(), count);
        let codes: Vec<Vec<u8>> = match e {
            0 => block.chunks(p).take(count).map(<[u8]>::to_vec).collect(),
            _ => coded_rows(&tables[class * p..(class + 1) * p], block, count),
        };
        rows.extend(leaves.into_iter().zip(codes));
    }
    rows
}

fn coded_rows(tables: &[[usize; 256]], block: &[u8], count: usize) -> Vec<Vec<u8>> {
    let mut states = [0, 4, 8, 12].map(|at| u32(block, at));
    let (mut at, mut rows) = (16, vec![vec![0; tables.len()]; count]);
    for group in rows.chunks_mut(4) {
        for (p, table) in tables.iter().enumerate() {
            for (row, state) in group.iter_mut().zip(&mut states) {
                let (slot, mut symbol, mut start) = (*state & 4095, 0, 0);
                while start + table[symbol] <= slot {
                    start += table[symbol];
                    symbol += 1;
                }
                row[p] = symbol as u8;
                *state = table[symbol] * (*state >> 12) + slot - start;
                if *state < 1 << 16 {
                    *state = *state << 16 | u16(block, at);
                    at += 2;
                }
            }
        }
    }
    assert_eq!((states, at.div_ceil(4) * 4), ([1 << 16; 4], block.len()));
    rows
}
