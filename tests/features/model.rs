//! A toy model on disk, for tests that pack.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use data_attribution::backbone::registry;
use data_attribution::format::ModelHead;

/// Length of the toy's features.
pub const DIMENSION: usize = 32;

/// Imports the toy backbone with weights of 0.5 as `place`/model.
pub fn write_model(place: &Path) -> ModelHead {
    let toy = registry::find("toy-p14").unwrap();
    let tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = toy
        .architecture
        .tensors()
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            (name, (shape, 0.5f32.to_le_bytes().repeat(count)))
        })
        .collect();
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name, view.unwrap())
    });
    let checkpoint = place.join("toy.safetensors");
    safetensors::serialize_to_file(views, None, &checkpoint).unwrap();
    let imported = Command::new(env!("CARGO_BIN_EXE_data-attribution"))
        .args([
            "import",
            "--backbone",
            "toy-p14",
            "toy.safetensors",
            "-o",
            "model",
        ])
        .current_dir(place)
        .output()
        .unwrap();
    assert!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    data_attribution::pack::read_head(&place.join("model")).unwrap()
}
