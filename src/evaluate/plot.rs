//! The recalls as an SVG bar chart: a panel for each K, a group of bars for each test case and synth
//! type, a bar for each kind of features.

use std::fmt::Write;

use super::{RECALL_AT, ResultRow};

/// Fill colours of the features in turn: Okabe and Ito's, which colour-blind readers can tell apart.
const COLOURS: [&str; 7] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442",
];
/// Sizes in px.
const BAR: usize = 34;
const GROUP_GAP: usize = 28;
const PANEL: usize = 190;
const PANEL_GAP: usize = 78;
const LEFT: usize = 64;
const RIGHT: usize = 24;
const LETTER: usize = 7;
const LINE: usize = 20;

/// Draws the recalls of `rows`. The text is SVG 1.1 without scripts or references.
pub(super) fn recall_plot(rows: &[ResultRow]) -> String {
    let mut groups: Vec<(&str, &str)> = Vec::new();
    let mut features: Vec<String> = Vec::new();
    for row in rows {
        let group = (row.case.as_str(), row.synth_type.as_str());
        if !groups.contains(&group) {
            groups.push(group);
        }
        let label = label(row);
        if !features.contains(&label) {
            features.push(label);
        }
    }
    let letters = |text: &str| text.chars().count() * LETTER;
    let widest = groups.iter().map(|(a, b)| letters(a).max(letters(b)));
    let bars = features.len() * BAR;
    let group_width = bars.max(widest.max().unwrap_or(0)) + GROUP_GAP;
    let plot_width = groups.len() * group_width;
    let legend = features.iter().map(|label| letters(label) + 2 * LINE).max();
    let width = LEFT + RIGHT + plot_width.max(legend.unwrap_or(0)).max(260);
    let top = 40 + features.len() * LINE;
    let height = top + RECALL_AT.len() * (PANEL + PANEL_GAP) + LINE;

    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <title>Recall by features and test case</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    text(
        &mut svg,
        (LEFT, 22),
        "start",
        15,
        "Recall by features and test case",
    );
    for (at, label) in features.iter().enumerate() {
        let y = 34 + at * LINE;
        rectangle(
            &mut svg,
            (LEFT as f64, y as f64),
            (12.0, 12.0),
            colour(at),
            "",
        );
        text(&mut svg, (LEFT + 20, y + 11), "start", 12, label);
    }
    for (panel, k) in RECALL_AT.iter().enumerate() {
        let base = top + panel * (PANEL + PANEL_GAP) + PANEL + 24;
        axis(&mut svg, base, plot_width, *k);
        for (at, group) in groups.iter().enumerate() {
            let middle = LEFT + at * group_width + group_width / 2;
            text(&mut svg, (middle, base + 17), "middle", 12, group.0);
            text(&mut svg, (middle, base + 32), "middle", 12, group.1);
            let of_group = rows
                .iter()
                .filter(|row| (row.case.as_str(), row.synth_type.as_str()) == *group);
            for row in of_group {
                let Some(recall) = row.recall else { continue };
                let name = label(row);
                let number = features
                    .iter()
                    .position(|label| *label == name)
                    .unwrap_or(0);
                let value = recall[panel];
                let x = middle - bars / 2 + number * BAR;
                let tall = value * PANEL as f64;
                let tip = format!("{name}, {} {}: recall@{k} {value:.4}", group.0, group.1);
                let corner = ((x + 2) as f64, base as f64 - tall);
                rectangle(
                    &mut svg,
                    corner,
                    ((BAR - 4) as f64, tall),
                    colour(number),
                    &tip,
                );
                let above = base.saturating_sub(tall.round() as usize + 4);
                text(
                    &mut svg,
                    (x + BAR / 2, above),
                    "middle",
                    10,
                    &format!("{value:.3}"),
                );
            }
        }
    }
    let caption = "test case, and what its queries are of";
    text(&mut svg, (LEFT, height - 12), "start", 12, caption);
    svg.push_str("</svg>\n");
    svg
}

/// The vertical axis from 0 to 1 with grid lines, its name, and the base line at `base`.
fn axis(svg: &mut String, base: usize, width: usize, k: u64) {
    for tenths in (0..=10).step_by(2) {
        let y = base - PANEL * tenths / 10;
        let stroke = if tenths == 0 { "#222" } else { "#ddd" };
        line(
            svg,
            &format!(
                "<line x1=\"{LEFT}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{stroke}\"/>",
                LEFT + width
            ),
        );
        let tick = format!("{:.1}", tenths as f64 / 10.0);
        text(svg, (LEFT - 6, y + 4), "end", 11, &tick);
    }
    let y = base - PANEL / 2;
    line(
        svg,
        &format!(
            "<text x=\"18\" y=\"{y}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {y})\">recall@{k}</text>"
        ),
    );
}

fn label(row: &ResultRow) -> String {
    if row.name == row.feature {
        row.feature.clone()
    } else {
        format!("{}/{}", row.name, row.feature)
    }
}

fn colour(feature: usize) -> &'static str {
    COLOURS[feature % COLOURS.len()]
}

fn rectangle(svg: &mut String, (x, y): (f64, f64), (w, h): (f64, f64), fill: &str, tip: &str) {
    let tip = escape(tip);
    line(
        svg,
        &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{fill}\"><title>{tip}</title></rect>"
        ),
    );
}

fn text(svg: &mut String, (x, y): (usize, usize), anchor: &str, size: usize, words: &str) {
    let words = escape(words);
    line(
        svg,
        &format!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}</text>"
        ),
    );
}

fn line(svg: &mut String, element: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(svg, "{element}");
}

/// `words` as XML text. Control characters, which XML 1.0 cannot hold, become spaces.
fn escape(words: &str) -> String {
    words
        .replace(char::is_control, " ")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
