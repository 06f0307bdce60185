//! The recalls as an SVG bar chart: a panel for each K, a group of bars for each test case and synth
//! type, a bar for each kind of features. A line across a bar is the recall by int8 rows; where there are
//! no float rows, the bar is those of int8, and hollow.

use super::{RECALL_AT, ResultRow, Rows};
use crate::svg::{LETTER, colour, escape, line, rectangle, text};

/// Sizes in px.
const BAR: usize = 34;
const GROUP_GAP: usize = 28;
const PANEL: usize = 190;
const PANEL_GAP: usize = 78;
const LEFT: usize = 64;
const RIGHT: usize = 24;
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
                let x = middle - bars / 2 + number * BAR;
                let kind = match row.rows {
                    Rows::Float32 => Mark::Bar,
                    Rows::Int8 if has_float(rows, row) => Mark::Line,
                    Rows::Int8 => Mark::Hollow,
                };
                let tip = format!(
                    "{name}, {} {}{}: recall@{k} {:.4}",
                    group.0,
                    group.1,
                    if row.rows == Rows::Int8 {
                        ", int8 rows"
                    } else {
                        ""
                    },
                    recall[panel]
                );
                mark(
                    &mut svg,
                    kind,
                    (x, base),
                    recall[panel],
                    (colour(number), &tip),
                );
            }
        }
    }
    let mut caption = "test case, and what its queries are of".to_owned();
    if rows.iter().any(|row| row.rows == Rows::Int8) {
        caption += "; line or hollow bar: int8 rows";
    }
    text(&mut svg, (LEFT, height - 12), "start", 12, &caption);
    svg.push_str("</svg>\n");
    svg
}

/// How a recall is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Bar,
    Hollow,
    /// Across the bar of the float rows.
    Line,
}

/// Whether the same queries were ranked by float rows too.
fn has_float(rows: &[ResultRow], row: &ResultRow) -> bool {
    let key = |row: &ResultRow| {
        let names = [&row.case, &row.synth_type, &row.name, &row.feature];
        names.map(String::clone)
    };
    rows.iter().any(|other| {
        other.rows == Rows::Float32 && other.recall.is_some() && key(other) == key(row)
    })
}

/// Draws the recall `value` from the base line at `base` up, in the place of a bar that starts at `x`.
fn mark(
    svg: &mut String,
    kind: Mark,
    (x, base): (usize, usize),
    value: f64,
    (colour, tip): (&str, &str),
) {
    let tall = value * PANEL as f64;
    let (left, top) = ((x + 2) as f64, base as f64 - tall);
    let wide = (BAR - 4) as f64;
    let words = escape(tip);
    if kind == Mark::Line {
        let element = format!(
            "<line x1=\"{left:.1}\" y1=\"{top:.1}\" x2=\"{:.1}\" y2=\"{top:.1}\" stroke=\"#222\" stroke-width=\"1.5\"><title>{words}</title></line>",
            left + wide
        );
        line(svg, &element);
        return;
    }
    let fill = match kind {
        Mark::Hollow => format!("#fff\" stroke=\"{colour}"),
        _ => colour.to_owned(),
    };
    rectangle(svg, (left, top), (wide, tall), &fill, tip);
    let above = base.saturating_sub(tall.round() as usize + 4);
    let shown = format!("{value:.3}");
    text(svg, (x + BAR / 2, above), "middle", 10, &shown);
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
