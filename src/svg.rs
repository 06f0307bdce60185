//! The few SVG 1.1 elements that the tool's plots are made of; no scripts, no references.

use std::fmt::Write;

/// Fill colours in turn: Okabe and Ito's, which colour-blind readers can tell apart.
const COLOURS: [&str; 7] = [
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442",
];
/// About the width of a letter of 12 px, in px.
pub(crate) const LETTER: usize = 7;

/// The start of a plot of `(width, height)` px on white; `</svg>` ends it.
pub(crate) fn open((width, height): (usize, usize), title: &str) -> String {
    let title = escape(title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    )
}

/// The colour of the series numbered `at`.
pub(crate) fn colour(at: usize) -> &'static str {
    COLOURS[at % COLOURS.len()]
}

/// A line through `points`, with a dot and its tip at each.
pub(crate) fn curve(svg: &mut String, points: &[((f64, f64), String)], stroke: &str) {
    let places = points.iter().map(|((x, y), _)| format!("{x:.1},{y:.1}"));
    let places: Vec<String> = places.collect();
    line(
        svg,
        &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\"/>",
            places.join(" ")
        ),
    );
    for ((x, y), tip) in points {
        let tip = escape(tip);
        line(
            svg,
            &format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{stroke}\"><title>{tip}</title></circle>"
            ),
        );
    }
}

pub(crate) fn rectangle(
    svg: &mut String,
    (x, y): (f64, f64),
    (w, h): (f64, f64),
    fill: &str,
    tip: &str,
) {
    let tip = escape(tip);
    line(
        svg,
        &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" fill=\"{fill}\"><title>{tip}</title></rect>"
        ),
    );
}

pub(crate) fn text(
    svg: &mut String,
    (x, y): (usize, usize),
    anchor: &str,
    size: usize,
    words: &str,
) {
    let words = escape(words);
    line(
        svg,
        &format!(
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" font-size=\"{size}\">{words}</text>"
        ),
    );
}

pub(crate) fn line(svg: &mut String, element: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(svg, "{element}");
}

/// `words` as XML text. Control characters, which XML 1.0 cannot hold, become spaces.
pub(crate) fn escape(words: &str) -> String {
    words
        .replace(char::is_control, " ")
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
