//! Whole passes against Burn, on its CPU backend and on its wgpu one.

use std::rc::Rc;

use burn::tensor::Device;
use data_attribution::backbone::pack::Precision;
use data_attribution::backbone::parity::generated_pack_of;
use data_attribution::backbone::{Backbone, Unpaced};
use data_attribution::device::{Compute, GpuDevice};

pub fn relative_error(found: &[f32], wanted: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x).powi(2);
    let distance: f64 = found.iter().zip(wanted).map(|(a, b)| square(a - b)).sum();
    let length: f64 = wanted.iter().map(|w| square(*w)).sum();
    (distance / length).sqrt()
}

pub fn passes_equal_burn(gpu: &Rc<GpuDevice>) {
    let burn_gpu = pollster::block_on(Device::wgpu_options().init_with_setup_async());
    let (burn_gpu, _) = burn_gpu.expect("Burn on the same adapter");
    for name in ["toy-p14", "toy-clip", "toy-resnet"] {
        for precision in [Precision::F32, Precision::Int8, Precision::Int4] {
            let (memory, head) = generated_pack_of(name, precision).unwrap();
            let side = head.architecture.image();
            let images: Vec<f32> = (0..2 * 3 * side * side)
                .map(|i| ((i * 7919 % 1013) as f32 / 506.5 - 1.0) * 2.0)
                .collect();
            let compute = Compute::Gpu(gpu.clone());
            let own = Backbone::load(&memory, "m", head.clone(), &compute, &|_, _| {});
            let own = pollster::block_on(own).unwrap();
            let found = pollster::block_on(own.embed_preprocessed(&images, &Unpaced)).unwrap();
            // The same again: nothing of the run before is left.
            let again = pollster::block_on(own.embed_preprocessed(&images, &Unpaced)).unwrap();
            assert_eq!(found, again);
            for (where_, device) in [("CPU", Device::flex()), ("wgpu", burn_gpu.clone())] {
                let reference = Backbone::load_reference(&memory, "m", head.clone(), &device);
                let reference = pollster::block_on(reference).unwrap();
                let wanted = reference.embed_preprocessed(&images, &Unpaced);
                let error = relative_error(&found, &pollster::block_on(wanted).unwrap());
                println!("{name} {precision:?}, Burn on {where_}: {error:.1e} of the norm");
                assert!(error <= 1e-5, "{name} {precision:?} {where_}: {error:.1e}");
            }
        }
    }
}

pub fn what_was_loaded_is_freed(gpu: &Rc<GpuDevice>) {
    let before = gpu.bytes();
    let (memory, head) = generated_pack_of("toy-p14", Precision::Int8).unwrap();
    let compute = Compute::Gpu(gpu.clone());
    let weights = head.bytes();
    let backbone = Backbone::load(&memory, "m", head, &compute, &|_, _| {});
    let backbone = pollster::block_on(backbone).unwrap();
    assert!(gpu.bytes() - before >= weights);
    drop(backbone);
    assert_eq!(gpu.bytes(), before);
}
