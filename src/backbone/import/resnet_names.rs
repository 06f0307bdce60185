//! torchvision's names of a ResNet, whose BatchNorms go into the convolutions before them.

use super::recipe::{Recipe, Step};

/// How the canonical tensor `canonical` of `shape` is made; `None` for a name that no ResNet has.
pub(super) fn recipe(canonical: &str, shape: &[usize]) -> Option<Recipe> {
    let (path, kind) = canonical.rsplit_once('.')?;
    if path == "fc" {
        return Some(Recipe::one(Step::AsIs, canonical, shape));
    }
    let (block, part) = match path.rsplit_once('.') {
        Some((block, part)) => (format!("{block}."), part),
        None => (String::new(), path),
    };
    let (convolution, norm) = match part.strip_prefix("conv") {
        Some(number) => (part.to_string(), format!("bn{number}")),
        None if part == "downsample" => ("downsample.0".into(), "downsample.1".into()),
        None => return None,
    };
    let channels = vec![*shape.first()?];
    let of_norm = |last: &str| (format!("{block}{norm}.{last}"), channels.clone());
    match kind {
        "weight" => Some(Recipe::of(
            Step::FoldedWeight,
            [
                (format!("{block}{convolution}.weight"), published(shape)?),
                of_norm("weight"),
                of_norm("running_var"),
            ],
        )),
        "bias" => Some(Recipe::of(
            Step::FoldedBias,
            ["weight", "bias", "running_mean", "running_var"].map(of_norm),
        )),
        _ => None,
    }
}

/// The axes of a kernel [out, height, width, in] as torchvision has them, [out, in, height, width].
fn published(shape: &[usize]) -> Option<Vec<usize>> {
    match shape {
        &[outputs, height, width, inputs] => Some(vec![outputs, inputs, height, width]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::generated::value;
    use super::*;

    /// A convolution at one place and the BatchNorm after it, as torchvision computes them.
    #[test]
    fn a_folded_convolution_equals_convolution_and_batch_norm() {
        let (outputs, inputs, height, width) = (6, 4, 3, 2);
        let read = |name: &str, shape: &[usize]| {
            let positive = name.contains("var");
            let values =
                (0..shape.iter().product::<usize>()).map(|i| value(name, i as u64, 0.0, 1.0));
            Ok(values
                .map(|v| if positive { v.abs() + 0.01 } else { v })
                .collect::<Vec<f32>>())
        };
        for (part, conv, bn) in [
            ("layer2.0.conv2", "layer2.0.conv2", "layer2.0.bn2"),
            ("conv1", "conv1", "bn1"),
            (
                "layer1.0.downsample",
                "layer1.0.downsample.0",
                "layer1.0.downsample.1",
            ),
        ] {
            let folded = |kind: &str, shape: &[usize]| {
                let recipe = recipe(&format!("{part}.{kind}"), shape).unwrap();
                recipe.apply("f", shape, read).unwrap()
            };
            let weight = folded("weight", &[outputs, height, width, inputs]);
            let bias = folded("bias", &[outputs]);
            let shape = [outputs, inputs, height, width];
            let kernel = read(&format!("{conv}.weight"), &shape).unwrap();
            let of = |last: &str| read(&format!("{bn}.{last}"), &[outputs]).unwrap();
            let (gamma, beta) = (of("weight"), of("bias"));
            let (mean, variance) = (of("running_mean"), of("running_var"));
            let pixel = |i: usize, y: usize, x: usize| {
                f64::from(value("patch", ((i * 9 + y) * 9 + x) as u64, 0.0, 1.0))
            };
            // The sum over the window of a kernel whose element for (i, y, x) is at `place`.
            let response = |kernel: &[f32], place: &dyn Fn(usize, usize, usize) -> usize| -> f64 {
                let mut sum = 0.0;
                for i in 0..inputs {
                    for y in 0..height {
                        for x in 0..width {
                            sum += f64::from(kernel[place(i, y, x)]) * pixel(i, y, x);
                        }
                    }
                }
                sum
            };
            for o in 0..outputs {
                let torch = |i, y, x| ((o * inputs + i) * height + y) * width + x;
                let ours = |i, y, x| ((o * height + y) * width + x) * inputs + i;
                let centred = response(&kernel, &torch) - f64::from(mean[o]);
                let deviation = (f64::from(variance[o]) + 1e-5).sqrt();
                let wanted = centred / deviation * f64::from(gamma[o]) + f64::from(beta[o]);
                let found = response(&weight, &ours) + f64::from(bias[o]);
                assert!(
                    (found - wanted).abs() < 1e-5 * (1.0 + wanted.abs()),
                    "{part}"
                );
            }
        }
        assert!(recipe("layer1.0.conv1.gamma", &[2, 1, 1, 2]).is_none());
        assert!(recipe("bn1.weight", &[2]).is_none());
    }
}
