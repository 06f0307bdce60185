//! The loss curve as SVG: training and validation loss over epochs.

use super::Epoch;
use crate::svg::{colour, curve, line, open, text};

/// Sizes in px.
const WIDTH: f64 = 520.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 72.0;
const TOP: f64 = 92.0;
/// Grid lines of the vertical axis.
const STEPS: usize = 5;

/// Draws the losses of `epochs`, and a line at the epoch that was kept.
pub fn loss_plot(epochs: &[Epoch], kept: usize) -> String {
    let title = "Contrastive loss";
    let (width, height) = ((LEFT + WIDTH) as usize + 32, (TOP + HEIGHT) as usize + 52);
    let mut svg = open((width, height), title);
    text(&mut svg, (LEFT as usize, 22), "start", 15, title);
    let losses = epochs
        .iter()
        .flat_map(|epoch| [epoch.training, epoch.validation]);
    let highest = losses.fold(0.0, f64::max).max(1e-9);
    let last = epochs.last().map_or(0, |epoch| epoch.epoch).max(1);
    let place = |epoch: usize, loss: f64| {
        (
            LEFT + WIDTH * epoch as f64 / last as f64,
            TOP + HEIGHT * (1.0 - loss / highest),
        )
    };
    for step in 0..=STEPS {
        let loss = highest * step as f64 / STEPS as f64;
        let (_, y) = place(0, loss);
        let stroke = if step == 0 { "#222" } else { "#ddd" };
        line(
            &mut svg,
            &format!(
                "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{}\" y2=\"{y:.1}\" stroke=\"{stroke}\"/>",
                LEFT + WIDTH
            ),
        );
        let tick = format!("{loss:.2}");
        text(
            &mut svg,
            (LEFT as usize - 6, y as usize + 4),
            "end",
            11,
            &tick,
        );
    }
    for epoch in [0, last] {
        let at = (place(epoch, 0.0).0 as usize, (TOP + HEIGHT) as usize + 16);
        text(&mut svg, at, "middle", 11, &epoch.to_string());
    }
    let (x, _) = place(kept, 0.0);
    line(
        &mut svg,
        &format!(
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"4 4\"/>",
            TOP + HEIGHT
        ),
    );
    type Loss = fn(&Epoch) -> f64;
    let series: [(&str, Loss); 2] = [
        ("training", |epoch| epoch.training),
        ("validation", |epoch| epoch.validation),
    ];
    for (at, (name, loss)) in series.into_iter().enumerate() {
        let y = 44 + at * 20;
        line(
            &mut svg,
            &format!(
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
                y - 11,
                colour(at)
            ),
        );
        text(&mut svg, (LEFT as usize + 20, y), "start", 12, name);
        let points: Vec<_> = epochs
            .iter()
            .map(|epoch| {
                let tip = format!("{name}, epoch {}: {:.4}", epoch.epoch, loss(epoch));
                (place(epoch.epoch, loss(epoch)), tip)
            })
            .collect();
        curve(&mut svg, &points, colour(at));
    }
    let caption = format!("epoch; the weights of epoch {kept} are kept");
    let at = ((LEFT + WIDTH / 2.0) as usize, height - 12);
    text(&mut svg, at, "middle", 12, &caption);
    svg.push_str("</svg>\n");
    svg
}
