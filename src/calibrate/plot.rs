//! The reliability plot: true share over stated influence, both on logarithmic axes, as SVG.

use super::Reliability;
use crate::svg::{LETTER, colour, curve, line, open, text};

/// Sizes in px.
const SIDE: f64 = 420.0;
const LEFT: f64 = 72.0;
const TOP: f64 = 92.0;
/// The axes' lower end, as a power of ten; what lies below it, and 0, is drawn at it.
const LOWEST: i32 = -6;

/// Draws a curve for each of `curves`, labelled, measured on the queries that `of` names.
///
/// A calibrator whose word can be taken lies on the diagonal; below it, too much influence is stated.
pub fn reliability_plot(of: &str, curves: &[(String, &Reliability)]) -> String {
    let title = format!("Stated influence against true share, {of}");
    let labels: Vec<String> = curves
        .iter()
        .map(|(label, measured)| {
            let percent = |share: f64| format!("{:.1} %", 100.0 * share);
            format!(
                "{label}: calibration error {}, {} on exemplars",
                percent(measured.error),
                percent(measured.on_exemplars)
            )
        })
        .collect();
    let letters = labels.iter().map(|label| label.chars().count()).max();
    let wide = LEFT as usize + 44 + letters.unwrap_or(0) * LETTER;
    let width = wide.max((LEFT + SIDE) as usize + 24);
    let height = (TOP + SIDE) as usize + 56;
    let mut svg = open((width, height), &title);
    text(&mut svg, (LEFT as usize, 22), "start", 15, &title);
    for (at, label) in labels.iter().enumerate() {
        let y = 44 + at * 20;
        line(
            &mut svg,
            &format!(
                "<rect x=\"{LEFT}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{}\"/>",
                y - 11,
                colour(at)
            ),
        );
        text(&mut svg, (LEFT as usize + 20, y), "start", 12, label);
    }
    axes(&mut svg);
    for (at, (label, measured)) in curves.iter().enumerate() {
        let points: Vec<_> = measured
            .bins
            .iter()
            .map(|bin| {
                let tip = format!(
                    "{label}: stated {:.3e}, true {:.3e}, {} items",
                    bin.stated, bin.truth, bin.items
                );
                (place(bin.stated, bin.truth), tip)
            })
            .collect();
        curve(&mut svg, &points, colour(at));
    }
    svg.push_str("</svg>\n");
    svg
}

/// Grid, ticks and names of both axes, and the diagonal.
fn axes(svg: &mut String) {
    let (right, bottom) = (LEFT + SIDE, TOP + SIDE);
    for power in LOWEST..=0 {
        let (x, y) = place(10f64.powi(power), 10f64.powi(power));
        let stroke = if power == LOWEST { "#222" } else { "#ddd" };
        for (x1, y1, x2, y2) in [(LEFT, y, right, y), (x, TOP, x, bottom)] {
            line(
                svg,
                &format!(
                    "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\"/>"
                ),
            );
        }
        let tick = match power {
            LOWEST => "less".to_owned(),
            _ => format!("{} %", 10f64.powi(power + 2)),
        };
        text(svg, (LEFT as usize - 6, y as usize + 4), "end", 11, &tick);
        text(svg, (x as usize, bottom as usize + 16), "middle", 11, &tick);
    }
    line(
        svg,
        &format!(
            "<line x1=\"{LEFT}\" y1=\"{bottom}\" x2=\"{right}\" y2=\"{TOP}\" stroke=\"#888\" stroke-dasharray=\"4 4\"/>"
        ),
    );
    let middle = (LEFT + SIDE / 2.0) as usize;
    text(
        svg,
        (middle, bottom as usize + 40),
        "middle",
        12,
        "stated influence (mean of the bin)",
    );
    let y = TOP + SIDE / 2.0;
    line(
        svg,
        &format!(
            "<text x=\"18\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {y})\">true share (mean of the bin)</text>"
        ),
    );
}

/// Where a pair of shares is drawn.
fn place(stated: f64, truth: f64) -> (f64, f64) {
    let along = |share: f64| {
        let lowest = f64::from(LOWEST);
        (share.max(f64::MIN_POSITIVE).log10().max(lowest) - lowest) / -lowest * SIDE
    };
    (LEFT + along(stated), TOP + SIDE - along(truth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_diagonal_is_where_both_shares_are_equal() {
        for share in [1.0, 0.1, 0.003, 1e-6] {
            let (x, y) = place(share, share);
            assert!((x - LEFT - (TOP + SIDE - y)).abs() < 1e-9);
        }
        assert_eq!(place(0.0, 1.0), (LEFT, TOP));
        let (x, _) = place(1.0, 0.0);
        assert!((x - LEFT - SIDE).abs() < 1e-9);
    }
}
