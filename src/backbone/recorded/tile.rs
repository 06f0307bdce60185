//! How large the tiles of a linear layer on a real GPU are, by how many of them there would be.
//!
//! Invariant: what a tile stages fits the workgroup memory, and its invocations the workgroup, that every device has.

/// Inputs that a workgroup is given where there are few tiles.
const INPUTS_EACH: usize = 768;
/// Most workgroups that share a tile's inputs.
const SPLIT_MAX: usize = 8;
/// Tiles from which a large GPU has enough to do: the choices were measured on one with 132 units.
const MANY_TILES: usize = 512;
const SOME_TILES: usize = 150;

/// What a workgroup of the TILES family computes; see `linear_tiles.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub rows: usize,
    pub quads: usize,
    pub fours: usize,
    pub slices: usize,
    pub split: usize,
}

impl Tile {
    /// For so many rows, outputs and inputs. Large tiles reuse more of what is loaded; few of them leave a GPU idle.
    pub fn of(rows: usize, outputs: usize, inputs: usize) -> Self {
        let split = (inputs / INPUTS_EACH).clamp(1, SPLIT_MAX);
        if rows <= 8 {
            return Self {
                rows: 1,
                quads: 1,
                fours: 4,
                slices: 4,
                split,
            };
        }
        // As few rows in vain as can be, and as few loads of weights.
        let cost = |each: &usize| rows.next_multiple_of(8 * each) * (each + 2) / each;
        let each = [6, 5, 4].into_iter().min_by_key(cost).unwrap_or(4);
        let tiles = rows.div_ceil(8 * each) * outputs.div_ceil(64);
        let (quads, fours, slices, split) = match tiles {
            MANY_TILES.. => (2, 4, 1, 1),
            SOME_TILES.. => (2, 8, 1, 1),
            _ => (1, 4, 2, split),
        };
        Self {
            rows: each,
            quads,
            fours,
            slices,
            split,
        }
    }

    /// Rows and columns.
    pub fn sides(self) -> [usize; 2] {
        [8 * self.rows, 32 * self.quads]
    }

    /// Arrays of `4 * fours + 1` that hold the weights of all slices, and the sums of one of them to be joined.
    pub fn lines(self) -> usize {
        let staged = 8 * self.quads * self.slices;
        let joined = 64 * self.rows * self.quads * usize::from(self.slices > 1);
        staged.max(joined.div_ceil(4 * self.fours + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::Tile;

    /// Workgroup memory and invocations of a workgroup that every WebGPU device has.
    #[test]
    fn tiles_fit_every_device() {
        for rows in [1, 8, 9, 50, 197, 257, 577, 3136, 12544] {
            for outputs in [4, 64, 384, 768, 2304, 4096] {
                for inputs in [32, 768, 3072, 4608] {
                    let tile = Tile::of(rows, outputs, inputs);
                    let xs = 8 * tile.rows * tile.slices * (tile.fours + 1);
                    let ws = tile.lines() * (4 * tile.fours + 1);
                    // In bytes there are pieces of the first row, in f16 what slices tell each other lies by itself.
                    let lows = tile.fours * tile.slices;
                    let kept = 64 * tile.rows * tile.quads * usize::from(tile.slices > 1);
                    assert!(16 * (xs + ws + lows) <= 16384, "{tile:?}");
                    assert!(8 * (xs + ws) + 16 * kept <= 16384, "{tile:?}");
                    assert!(64 * tile.slices <= 256, "{tile:?}");
                }
            }
        }
    }
}
