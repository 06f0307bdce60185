//! What tiles multiply with beside f32, against twins that round as they do.

use std::rc::Rc;

use data_attribution::backbone::pack::Precision;
use data_attribution::backbone::parity::{generated_pack_of, mark_blocks};
use data_attribution::backbone::recorded::arithmetic::rates;
use data_attribution::backbone::recorded::graph::{After, Graph};
use data_attribution::backbone::recorded::kernel::{Arithmetic, Family};
use data_attribution::backbone::recorded::linear::{Activation, Encoding};
use data_attribution::backbone::recorded::reference;
use data_attribution::backbone::{Backbone, Unpaced};
use data_attribution::device::{Compute, GpuDevice};
use data_attribution::format::ModelHead;
use data_attribution::source::memory::Memory;

use super::networks::relative_error;
use super::place::{Random, Tensors, assert_close, families};

const BYTES: Arithmetic = Arithmetic {
    halves: false,
    bytes: true,
};
const HALVES: Arithmetic = Arithmetic {
    halves: true,
    bytes: false,
};

/// Rows, inputs, outputs: rows that fill no tile, columns that fill none, inputs that fill no stage, and several splits.
const SHAPES: [[usize; 3]; 8] = [
    [9, 32, 4],
    [65, 16, 132],
    [33, 176, 68],
    [130, 64, 8],
    [19, 2304, 36],
    [200, 48, 2412],
    [1000, 32, 1604],
    [50, 768, 768],
];

fn tile_families(gpu: &GpuDevice) -> impl Iterator<Item = Family> {
    families(gpu).filter(|family| family.has_tiles())
}

/// All ways come to the same sums, so that `choose_arithmetic` compares what is right.
pub fn what_is_measured_is_the_same(gpu: &GpuDevice) {
    let [singles, halves, bytes] = pollster::block_on(rates(gpu, &[8])).unwrap();
    assert!(singles.is_some());
    assert_eq!(halves.is_some(), gpu.has_halves());
    assert_eq!(bytes.is_some(), gpu.has_packed());
    println!("as many products in f32, f16, bytes: {singles:.1?}, {halves:.1?}, {bytes:.1?} ms");
}

pub fn linear_layers_of_inputs_in_bytes(gpu: &Rc<GpuDevice>) {
    if !gpu.has_packed() {
        return println!("SKIPPED: the adapter has no packed products");
    }
    let mut random = Random(11);
    for (s, sides) in SHAPES.into_iter().enumerate() {
        let [rows, inputs, outputs] = sides;
        let mut tensors = Tensors::default();
        let dense = tensors.layer(&mut random, "layer", [outputs, inputs], Encoding::Int8);
        tensors.multiply("layer", BYTES);
        let mut x = random.values(rows * inputs, 1.0);
        // Rows of one sign, of zeros, and far from zero.
        x[inputs..2 * inputs].iter_mut().for_each(|x| *x = x.abs());
        x[2 * inputs..3 * inputs].fill(0.0);
        x[3 * inputs..4 * inputs]
            .iter_mut()
            .for_each(|x| *x -= 40.0);
        let other = tensors.layer(&mut random, "other", [outputs, inputs], Encoding::F32);
        let residual = other.linear(&x);
        let activation = [Activation::Gelu, Activation::None][s % 2];
        let finished = |mut sums: Vec<f32>| {
            reference::finish(&mut sums, outputs, Some((&residual, 1)), None, activation);
            sums
        };
        let wanted = finished(dense.linear(&reference::round_rows(&x, inputs)));
        let exact = finished(dense.linear(&x));
        // The first row keeps twice the bits, the others do not.
        assert_close(&wanted[..outputs], &exact[..outputs], 1e-4, "the first row");
        assert!(relative_error(&wanted, &exact) > 1e-4);
        for family in tile_families(gpu) {
            let mut graph = Graph::new(family, tensors.matrices.clone(), x.len());
            let input = graph.input();
            let slot = graph.linear(input, "other", sides, None, After::default());
            let after = After {
                activation,
                residual: Some((slot.unwrap(), 1)),
                ..After::default()
            };
            graph.linear(input, "layer", sides, None, after).unwrap();
            let found = tensors.run(gpu, &graph, &x);
            let what = format!("{sides:?} in bytes, {family:?}");
            assert_close(&found, &wanted, 5e-5, &what);
        }
    }
}

pub fn of_what_is_not_finite_nothing_finite_comes(gpu: &Rc<GpuDevice>) {
    if !gpu.has_packed() {
        return println!("SKIPPED: the adapter has no packed products");
    }
    let [rows, inputs, outputs] = [10, 32, 12];
    let mut tensors = Tensors::default();
    tensors.layer(&mut Random(15), "layer", [outputs, inputs], Encoding::Int8);
    tensors.multiply("layer", BYTES);
    let mut x = Random(16).values(rows * inputs, 1.0);
    x[5] = f32::NAN;
    x[3 * inputs] = f32::INFINITY;
    x[7 * inputs + 31] = f32::NEG_INFINITY;
    for family in tile_families(gpu) {
        let mut graph = Graph::new(family, tensors.matrices.clone(), x.len());
        let input = graph.input();
        let sides = [rows, inputs, outputs];
        graph
            .linear(input, "layer", sides, None, After::default())
            .unwrap();
        let pass = tensors.record(gpu, &graph).unwrap();
        let y = pollster::block_on(pass.run(&x, false, &Unpaced)).unwrap();
        for (r, row) in y.chunks_exact(outputs).enumerate() {
            let finite = row.iter().filter(|y| y.is_finite()).count();
            let wanted = if [0, 3, 7].contains(&r) { 0 } else { outputs };
            assert_eq!(finite, wanted, "row {r}, {family:?}");
        }
    }
}

pub fn norms_that_end_in_bytes(gpu: &Rc<GpuDevice>) {
    if !gpu.has_packed() {
        return println!("SKIPPED: the adapter has no packed products");
    }
    let mut random = Random(12);
    for (rows, width, outputs) in [(9, 16, 12), (37, 272, 40)] {
        let mut tensors = Tensors::default();
        let dense = tensors.layer(&mut random, "layer", [outputs, width], Encoding::Int8);
        tensors.multiply("layer", BYTES);
        let [weight, bias] = [0.5, 0.2].map(|spread| random.values(width, spread));
        tensors.values("norm.weight", &weight);
        tensors.values("norm.bias", &bias);
        let x = random.values(rows * width, 2.0);
        let normed = reference::layer_norm(&x, &weight, &bias, 1, 1e-6);
        let wanted = dense.linear(&reference::round_rows(&normed, width));
        let exact = dense.linear(&normed);
        for family in tile_families(gpu) {
            let mut graph = Graph::new(family, tensors.matrices.clone(), x.len());
            let input = graph.input();
            let normed = graph.norm(input, "norm", [rows, 1, width], 1e-6, Some("layer"));
            let sides = [rows, width, outputs];
            let normed = normed.unwrap();
            graph
                .linear(normed, "layer", sides, None, After::default())
                .unwrap();
            let found = tensors.run(gpu, &graph, &x);
            // A value half way between two steps may go to either.
            let error = relative_error(&found, &wanted);
            assert!(
                error < 0.2 * relative_error(&found, &exact),
                "{error:.1e} {family:?}"
            );
        }
    }
}

pub fn linear_layers_of_products_in_halves(gpu: &Rc<GpuDevice>) {
    if !gpu.has_halves() {
        return println!("SKIPPED: the adapter has no f16");
    }
    let mut random = Random(13);
    for sides in SHAPES {
        let [rows, inputs, outputs] = sides;
        for encoding in [Encoding::Int8, Encoding::Int4] {
            if encoding == Encoding::Int4 && inputs % 32 > 0 {
                continue;
            }
            let mut tensors = Tensors::default();
            let dense = tensors.layer(&mut random, "layer", [outputs, inputs], encoding);
            tensors.multiply("layer", HALVES);
            let x = random.values(rows * inputs, 1.0);
            let wanted = dense.linear(&x);
            for family in tile_families(gpu) {
                let mut graph = Graph::new(family, tensors.matrices.clone(), x.len());
                let input = graph.input();
                graph
                    .linear(input, "layer", sides, None, After::default())
                    .unwrap();
                let found = tensors.run(gpu, &graph, &x);
                let error = relative_error(&found, &wanted);
                let what = format!("{sides:?} {encoding:?} {family:?}: {error:.1e}");
                // Of 11 bits; in f32 the error is a thousandth of that.
                assert!((1e-5..2e-3).contains(&error), "{what}");
                assert_close(&found, &wanted, 5e-3, &what);
            }
        }
    }
}

pub fn passes_are_near_those_in_f32(gpu: &Rc<GpuDevice>) {
    let family = pollster::block_on(gpu.family()).unwrap();
    let chosen = gpu.arithmetic();
    let (halves, bytes) = (gpu.has_halves(), gpu.has_packed());
    for name in ["toy-p14", "toy-clip", "toy-resnet"] {
        for precision in [Precision::Int8, Precision::Int4] {
            let (memory, mut head) = generated_pack_of(name, precision).unwrap();
            mark_blocks(&mut head);
            let pass = |arithmetic| {
                gpu.take(Family::Tiles, arithmetic);
                features(gpu, &memory, &head)
            };
            let exact = pass(Arithmetic::default());
            let in_halves = Arithmetic {
                halves,
                bytes: false,
            };
            let error = relative_error(&pass(in_halves), &exact);
            println!("{name} {precision:?}, f16: {error:.1e} of the norm");
            assert!(
                if halves {
                    (1e-5..5e-3).contains(&error)
                } else {
                    error == 0.0
                },
                "{error:.1e}"
            );
            let in_bytes = Arithmetic {
                halves: false,
                bytes,
            };
            let error = relative_error(&pass(in_bytes), &exact);
            println!("{name} {precision:?}, bytes: {error:.1e} of the norm");
            // Not of 4 bits, of windows, nor of CLIP's five tokens.
            let is_used = bytes && precision == Precision::Int8 && name == "toy-p14";
            assert!(
                if is_used {
                    (1e-4..3e-2).contains(&error)
                } else {
                    error == 0.0
                },
                "{error:.1e}"
            );
        }
    }
    // With both, f16 is left for what does not suit bytes.
    if halves && bytes {
        let (memory, mut head) = generated_pack_of("toy-p14", Precision::Int8).unwrap();
        mark_blocks(&mut head);
        let [in_bytes, in_both] = [false, true].map(|halves| {
            gpu.take(Family::Tiles, Arithmetic { halves, bytes });
            features(gpu, &memory, &head)
        });
        let error = relative_error(&in_both, &in_bytes);
        assert!((1e-5..3e-2).contains(&error), "{error:.1e}");
    }
    gpu.take(family, chosen);
}

fn features(gpu: &Rc<GpuDevice>, memory: &Memory, head: &ModelHead) -> Vec<f32> {
    let side = head.architecture.image();
    let image = Random(14).values(3 * side * side, 2.0);
    let compute = Compute::Gpu(gpu.clone());
    let backbone = Backbone::load(memory, "m", head.clone(), &compute, &|_, _| {});
    let backbone = pollster::block_on(backbone).unwrap();
    pollster::block_on(backbone.embed_preprocessed(&image, &Unpaced)).unwrap()
}
