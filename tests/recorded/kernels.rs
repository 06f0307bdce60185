//! Each kernel against its twin.

use std::rc::Rc;

use data_attribution::backbone::recorded::graph::{After, Graph};
use data_attribution::backbone::recorded::kernel::{Family, Kernel};
use data_attribution::backbone::recorded::linear::{Activation, Encoding, Window};
use data_attribution::backbone::recorded::parts::{self, Attention};
use data_attribution::backbone::recorded::reference;
use data_attribution::device::GpuDevice;

use super::place::{ENCODINGS, Random, Tensors, assert_close, families};

pub fn linear_layers_and_their_epilogues(gpu: &Rc<GpuDevice>) {
    let mut random = Random(1);
    // One row, odd rows, columns that fill no tile, inputs that fill no stage.
    let shapes = [
        [1, 32, 4],
        [3, 96, 20],
        [65, 32, 132],
        [33, 160, 68],
        [7, 36, 12],
        [130, 64, 8],
        // Inputs divided among workgroups; many tiles, and more.
        [5, 1568, 12],
        [19, 2304, 36],
        [200, 32, 2412],
        [1000, 32, 1604],
        // Columns that fill the tiles of quads, rows that do not.
        [1, 32, 48],
        [13, 96, 48],
        [25, 160, 96],
        [130, 64, 144],
        [11, 32, 240],
    ];
    let activations = [
        Activation::None,
        Activation::Gelu,
        Activation::QuickGelu,
        Activation::Relu,
    ];
    for (s, sides) in shapes.into_iter().enumerate() {
        let [rows, inputs, outputs] = sides;
        for (e, encoding) in ENCODINGS.into_iter().enumerate() {
            if encoding == Encoding::Int4 && inputs % 32 > 0 {
                continue;
            }
            let mut tensors = Tensors::default();
            let dense = tensors.layer(&mut random, "layer", [outputs, inputs], encoding);
            let x = random.values(rows * inputs, 1.0);
            let gamma = random.values(outputs, 1.0);
            tensors.values("gamma", &gamma);
            let activation = activations[(s + e) % 4];
            let kind = (s + e) % 3;
            // The residual is another layer's result, every second row of it where `step` is 2.
            let step = 1 + s % 2;
            let other = [step * outputs, inputs];
            let other = tensors.layer(&mut random, "other", other, Encoding::F32);
            let residual = other.linear(&x);
            let mut wanted = dense.linear(&x);
            let scale = (kind > 1).then_some(&gamma[..]);
            let added = (kind > 0).then_some((&residual[..], step));
            reference::finish(&mut wanted, outputs, added, scale, activation);
            for family in families(gpu) {
                let mut graph = Graph::new(family, tensors.matrices.clone(), rows * inputs);
                let mut after = After {
                    activation,
                    ..After::default()
                };
                if kind > 0 {
                    let sides = [rows, inputs, step * outputs];
                    let input = graph.input();
                    let slot = graph.linear(input, "other", sides, None, After::default());
                    after.residual = Some((slot.unwrap(), step));
                    after.gamma = (kind > 1).then(|| "gamma".into());
                }
                graph.step();
                let input = graph.input();
                graph.linear(input, "layer", sides, None, after).unwrap();
                let what = format!("{sides:?} {encoding:?} {family:?} {kind} {activation:?}");
                let found = tensors.run(gpu, &graph, &x);
                assert_close(&found, &wanted, 2e-5, &what);
            }
        }
    }
}

pub fn activations_are_exact_to_a_millionth(gpu: &Rc<GpuDevice>) {
    let x: Vec<f32> = (-4000..4000)
        .map(|i| i as f32 / 500.0)
        .chain([-1e4, 1e4, 30.0, -30.0])
        .collect();
    for (activation, tolerance) in [(Activation::Gelu, 1e-6), (Activation::QuickGelu, 2e-6)] {
        for family in families(gpu) {
            // A layer of zeros: what is activated is the residual.
            let mut tensors = Tensors::default();
            tensors.layer(&mut Random(7), "zero", [4, 4], Encoding::F32);
            tensors.values("gamma", &[0.0; 4]);
            let matrices = tensors.matrices.clone();
            let mut graph = Graph::new(family, matrices, x.len());
            let input = graph.input();
            let after = After {
                activation,
                residual: Some((input, 1)),
                gamma: Some("gamma".into()),
            };
            let sides = [x.len() / 4, 4, 4];
            graph.linear(input, "zero", sides, None, after).unwrap();
            let wanted: Vec<f32> = x
                .iter()
                .map(|x| reference::activate(*x, activation))
                .collect();
            let found = tensors.run(gpu, &graph, &x);
            assert_close(&found, &wanted, tolerance, &format!("{activation:?}"));
        }
    }
}

pub fn convolutions_read_their_windows_in_place(gpu: &Rc<GpuDevice>) {
    let mut random = Random(2);
    let cases = [
        (8, 3, 1, 8, 12),
        (12, 3, 2, 32, 20),
        (6, 7, 2, 4, 8),
        (4, 1, 2, 32, 36),
        (5, 3, 1, 8, 4),
        (12, 3, 2, 32, 48),
    ];
    for (side, kernel, stride, channels, outputs) in cases {
        let window = Window {
            side,
            kernel,
            stride,
        };
        let x = random.values(side * side * channels, 1.0);
        let out = side / stride;
        for encoding in ENCODINGS {
            let inputs = kernel * kernel * channels;
            if encoding == Encoding::Int4 && inputs % 32 > 0 {
                continue;
            }
            let mut tensors = Tensors::default();
            let dense = tensors.layer(&mut random, "conv", [outputs, inputs], encoding);
            let wanted = dense.linear(&reference::windows(&x, window, channels));
            for family in families(gpu) {
                let mut graph = Graph::new(family, tensors.matrices.clone(), x.len());
                let sides = [out * out, channels, outputs];
                let input = graph.input();
                let after = After::default();
                graph
                    .linear(input, "conv", sides, Some(window), after)
                    .unwrap();
                let what = format!("{window:?} {encoding:?} {family:?}");
                assert_close(&tensors.run(gpu, &graph, &x), &wanted, 2e-5, &what);
            }
        }
    }
}

pub fn attention_at_odd_shapes(gpu: &Rc<GpuDevice>) {
    let mut random = Random(3);
    for (tokens, queries, heads, head) in [
        (5, 5, 2, 8),
        (33, 33, 3, 16),
        (17, 1, 1, 64),
        (40, 19, 2, 80),
        (18, 18, 1, 4),
        (20, 20, 1, 128),
        (1, 1, 1, 4),
        (67, 50, 2, 64),
        (96, 96, 1, 60),
        (70, 70, 5, 12),
    ] {
        let width = heads * head;
        let qkv = random.values(tokens * 3 * width, 3.0);
        let wanted = reference::attention(&qkv, tokens, width, heads, queries);
        for family in families(gpu) {
            let mut graph = Graph::new(family, Default::default(), qkv.len());
            let shape = Attention {
                tokens,
                queries,
                heads,
                head,
            };
            let input = graph.input();
            graph.attention(input, shape).unwrap();
            let found = Tensors::default().run(gpu, &graph, &qkv);
            assert_close(&found, &wanted, 3e-5, &format!("{shape:?} {family:?}"));
        }
    }
}

pub fn norms_tokens_and_pools(gpu: &Rc<GpuDevice>) {
    let mut random = Random(4);
    // The last: rows far from zero, where a variance in one pass would lose all digits.
    for (rows, step, width, offset, tolerance) in [
        (5, 1, 12, 0.0, 1e-5),
        (3, 7, 260, 0.0, 1e-5),
        (33, 1, 64, 0.0, 1e-5),
        (9, 1, 148, 300.0, 2e-3),
    ] {
        let x = random.values(rows * step * width, 2.0);
        let x: Vec<f32> = x.iter().map(|v| v + offset).collect();
        let weight: Vec<f32> = random.values(width, 0.3).iter().map(|w| 1.0 + w).collect();
        let bias = random.values(width, 0.2);
        let mut tensors = Tensors::default();
        tensors.values("norm.weight", &weight);
        tensors.values("norm.bias", &bias);
        let wanted = reference::layer_norm(&x, &weight, &bias, step, 1e-6);
        for family in families(gpu) {
            let mut graph = Graph::new(family, Default::default(), x.len());
            let input = graph.input();
            graph
                .norm(input, "norm", [rows, step, width], 1e-6, None)
                .unwrap();
            let what = format!("norm of {rows} {step} {width} {family:?}");
            let found = tensors.run(gpu, &graph, &x);
            assert_close(&found, &wanted, tolerance, &what);
        }
    }
    for (tokens, width) in [(5, 12), (2, 72)] {
        let x = random.values((tokens - 1) * width, 1.0);
        let (class, positions) = (random.values(width, 1.0), random.values(x.len(), 1.0));
        let mut tensors = Tensors::default();
        tensors.values("class", &class);
        tensors.values("positions", &positions);
        let mut graph = Graph::new(Family::Registers, Default::default(), x.len());
        let input = graph.input();
        graph
            .tokens(input, ["class", "positions"], [tokens, width])
            .unwrap();
        let found = tensors.run(gpu, &graph, &x);
        let wanted = reference::tokens(&x, &class, &positions);
        assert_close(&found, &wanted, 1e-6, "tokens");
    }
    let (side, channels) = (10, 12);
    let x = random.values(side * side * channels, 1.0);
    let apply = |kernel: Kernel, values| {
        let mut graph = Graph::new(Family::Registers, Default::default(), x.len());
        let input = graph.input();
        graph.apply(input, kernel, values);
        Tensors::default().run(gpu, &graph, &x)
    };
    let most = apply(parts::max_pool(side, channels).unwrap(), 25 * channels);
    let wanted = reference::max_pool(&x, side, channels);
    assert_close(&most, &wanted, 0.0, "max_pool");
    let mean = apply(
        parts::mean_pool(100, channels, 3.0, 1e-6).unwrap(),
        channels,
    );
    let wanted = reference::mean_pool(&x, 100, channels, 3.0, 1e-6);
    assert_close(&mean, &wanted, 1e-5, "mean_pool");
    let unit = apply(parts::unit(x.len()).unwrap(), x.len());
    assert_close(&unit, &reference::unit(&x, x.len()), 1e-6, "unit");
}

pub fn impossible_shapes_are_refused(gpu: &Rc<GpuDevice>) {
    let mut tensors = Tensors::default();
    tensors.layer(&mut Random(5), "layer", [8, 32], Encoding::Int8);
    let mut graph = Graph::new(Family::Registers, tensors.matrices.clone(), 64);
    let input = graph.input();
    let mut refused = |name: &str, sides, window| {
        let made = graph.linear(input, name, sides, window, After::default());
        made.is_err_and(|error| error.code() == "invalid-argument")
    };
    assert!(refused("layer", [2, 30, 8], None));
    assert!(refused("layer", [2, 32, 6], None));
    assert!(refused("layer", [0, 32, 8], None));
    assert!(refused("layer", [600_000, 32, 8], None));
    assert!(refused("other", [2, 32, 8], None));
    for stride in [2, 0] {
        let window = Window {
            side: 5,
            kernel: 3,
            stride,
        };
        assert!(refused("layer", [2, 32, 8], Some(window)));
    }
    // Weights that are shorter than what a kernel reads.
    let mut graph = Graph::new(Family::Registers, tensors.matrices.clone(), 128);
    let input = graph.input();
    graph
        .linear(input, "layer", [2, 64, 8], None, After::default())
        .unwrap();
    assert!(tensors.record(gpu, &graph).is_err());
}
