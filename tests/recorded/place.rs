//! Numbers, and weights that lie both on the CPU and on the device.

use std::collections::HashMap;
use std::rc::Rc;

use data_attribution::backbone::Unpaced;
use data_attribution::backbone::load::Decoded;
use data_attribution::backbone::matrix::QuantizedMatrix;
use data_attribution::backbone::recorded::graph::Graph;
use data_attribution::backbone::recorded::kernel::{Arithmetic, Family, Pipelines};
use data_attribution::backbone::recorded::linear::{Encoding, Matrix};
use data_attribution::backbone::recorded::pass::Pass;
use data_attribution::backbone::recorded::reference;
use data_attribution::backbone::recorded::weights::{Uploads, Weights};
use data_attribution::device::GpuDevice;
use data_attribution::format::{Architecture, ResnetConfig, TensorEncoding};

/// Those that the adapter can run.
pub fn families(gpu: &GpuDevice) -> impl Iterator<Item = Family> {
    let subgroups = [Family::Quads, Family::Subgroups];
    let present = if gpu.has_subgroups() { 2 } else { 0 };
    [Family::Registers, Family::Tiles]
        .into_iter()
        .chain(subgroups.into_iter().take(present))
}

pub const ENCODINGS: [Encoding; 3] = [Encoding::F32, Encoding::Int8, Encoding::Int4];

/// Numbers of about -1..1.
pub struct Random(pub u64);

impl Random {
    pub fn word(&mut self) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    pub fn values(&mut self, count: usize, spread: f32) -> Vec<f32> {
        (0..count)
            .map(|_| (self.word() as f32 / (1u64 << 30) as f32 - 1.0) * spread)
            .collect()
    }
}

/// A layer's weights on the CPU.
pub struct Dense {
    pub weights: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Dense {
    pub fn linear(&self, x: &[f32]) -> Vec<f32> {
        reference::linear(x, &self.weights, &self.bias)
    }
}

/// Tensors by name, to be uploaded.
#[derive(Default)]
pub struct Tensors {
    values: Vec<(String, Vec<f32>)>,
    dense: Vec<(String, Vec<f32>, usize)>,
    quantized: Vec<(String, QuantizedMatrix)>,
    pub matrices: HashMap<String, Matrix>,
}

impl Tensors {
    pub fn values(&mut self, name: &str, values: &[f32]) {
        self.values.push((name.into(), values.to_vec()));
    }

    /// A random layer `name`.
    pub fn layer(
        &mut self,
        random: &mut Random,
        name: &str,
        [outputs, inputs]: [usize; 2],
        encoding: Encoding,
    ) -> Dense {
        let spread = 2.0 * (inputs as f32).powf(-0.5);
        let bias = random.values(outputs, 0.2);
        self.values(&format!("{name}.bias"), &bias);
        let matrix = format!("{name}.weight");
        self.matrices.insert(matrix.clone(), encoding.into());
        let weights = random.values(outputs * inputs, spread);
        let stored = match encoding {
            Encoding::F32 => {
                self.dense.push((matrix, weights.clone(), outputs));
                return Dense { weights, bias };
            }
            Encoding::Int8 => TensorEncoding::Int8,
            Encoding::Int4 => TensorEncoding::Int4,
        };
        let quantized = QuantizedMatrix::new(&weights, inputs, stored, None).unwrap();
        let weights = quantized.dequantized();
        self.quantized.push((matrix, quantized));
        Dense { weights, bias }
    }

    /// Lets tiles multiply by the layer `name` so.
    pub fn multiply(&mut self, name: &str, arithmetic: Arithmetic) {
        let matrix = self.matrices.get_mut(&format!("{name}.weight"));
        matrix.unwrap().arithmetic = arithmetic;
    }

    fn upload(&self, gpu: &Rc<GpuDevice>, family: Family) -> Weights {
        // Of an architecture none of whose tensors is joined with others.
        let architecture = Architecture::Resnet(ResnetConfig {
            image: 32,
            width: 4,
            layers: [1; 4],
            projection: 4,
            gem_power: 3.0,
            gem_min: 1e-6,
        });
        let mut uploads = Uploads::new(gpu, &architecture, family);
        for (name, values) in &self.values {
            uploads.take(name, Decoded::Values(values.clone())).unwrap();
        }
        for (name, values, outputs) in &self.dense {
            let dense = Decoded::Dense {
                values: values.clone(),
                outputs: *outputs,
                inputs: values.len() / outputs,
            };
            uploads.take(name, dense).unwrap();
        }
        for (name, matrix) in &self.quantized {
            uploads
                .take(name, Decoded::Quantized(matrix.clone()))
                .unwrap();
        }
        uploads.finish()
    }

    pub fn record(&self, gpu: &Rc<GpuDevice>, graph: &Graph) -> data_attribution::Result<Pass> {
        let weights = self.upload(gpu, graph.family());
        let mut pipelines = Pipelines::default();
        pollster::block_on(Pass::new(gpu, &mut pipelines, graph, weights))
    }

    /// What a graph makes of `input`, the same twice and in parts.
    pub fn run(&self, gpu: &Rc<GpuDevice>, graph: &Graph, input: &[f32]) -> Vec<f32> {
        let pass = self.record(gpu, graph).unwrap();
        let [first, second] = [false, true]
            .map(|divided| pollster::block_on(pass.run(input, divided, &Unpaced)).unwrap());
        assert_eq!(first, second);
        first
    }
}

#[track_caller]
pub fn assert_close(got: &[f32], wanted: &[f32], tolerance: f32, what: &str) {
    assert_eq!(got.len(), wanted.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(wanted).enumerate() {
        let close = (g - w).abs() <= tolerance * w.abs().max(1.0);
        assert!(close, "{what}: value {i} is {g}, not {w}");
    }
}
