//! The texts of the scoring kernels, made of the parts under shaders/ for a form of rows, a way to scan and an amount of memory.

use std::fmt::Write;

use super::kernels::{Form, PAIR_BYTES, Places, Products};
use crate::backbone::recorded::template::Values;
use crate::shader::{ENABLE_SUBGROUPS, shader};

/// Invocations of the workgroup that selects.
const SELECTING: u32 = 256;
/// Words that are written out one by one.
const UNROLLED: usize = 16;

/// The shader that selects in `memory` bytes, 2048 at least: half of them are histograms, of 1 KiB each, and keys have what is left.
pub(super) fn selection_source(memory: u32) -> String {
    let copies = memory / 2048;
    let left = memory - 1024 * copies - 64;
    let held = left / PAIR_BYTES as u32 / SELECTING * SELECTING;
    let values = Values::default().with("copies", copies).with("held", held);
    values.fill(shader!("select_top_k.wgsl"))
}

/// The shader that scans rows of `form`. Up to [`UNROLLED`] words of a width are written out one by one: their
/// places in the query are constants, which processors multiply by without loading them first. More words
/// are read by a loop over as many, as compilers take long over long functions.
pub(super) fn scan_source(form: Form, products: Products, places: Places) -> String {
    let words_part = match products {
        Products::Single => shader!("score_words.wgsl"),
        Products::Packed => shader!("score_dots.wgsl"),
    };
    let (classes, score) = match form {
        Form::Rows { words } => ([words, 0, 0], shader!("score_rows.wgsl")),
        Form::Codes { words } => (words, shader!("score_codes.wgsl")),
    };
    let (enable, places_part, lanes, lane) = match places {
        Places::Atomics => ("", shader!("places_atomics.wgsl"), "", ""),
        Places::Subgroups => (
            ENABLE_SUBGROUPS,
            shader!("places_subgroups.wgsl"),
            ", @builtin(subgroup_invocation_id) lane: u32",
            ", lane",
        ),
    };
    let values = Values::default().with("lanes", lanes).with("lane", lane);
    let mut lines = String::new();
    let mut q = 0;
    // Writing to a String cannot fail.
    for (words, (name, vectors)) in classes
        .into_iter()
        .zip([("eight", 1), ("four", 2), ("two", 4)])
    {
        let loops = if words > UNROLLED {
            words / UNROLLED
        } else {
            0
        };
        if loops > 0 {
            let step = UNROLLED * vectors;
            let end = q + loops * step;
            let _ = writeln!(lines, "for (var q = {q}u; q < {end}u; q += {step}u) {{");
            for word in 0..UNROLLED {
                let _ = writeln!(lines, "{name}(&sums, planes[at], q + {}u);", word * vectors);
                lines.push_str("at += stride;\n");
            }
            lines.push_str("}\n");
            q = end;
        }
        for _ in loops * UNROLLED..words {
            let _ = writeln!(lines, "{name}(&sums, planes[at], {q}u);\nat += stride;");
            q += vectors;
        }
    }
    format!(
        "{enable}{}{places_part}{words_part}fn products(first: u32, stride: u32) -> vec4<i32> {{\n\
         var sums = Sums();\nvar at = first;\n{lines}return whole(sums);\n}}\n{score}{}",
        shader!("candidates.wgsl"),
        values.fill(shader!("scan.wgsl")),
    )
}

/// Texts of every kind, for compilers other than the adapter's at hand to check: `data-attribution bench-scan --texts`. The last one
/// is the selection in `memory` bytes.
#[cfg(feature = "cli")]
pub fn texts(memory: u32) -> Vec<String> {
    let forms = [
        Form::Rows { words: 1 },
        Form::Rows { words: 128 },
        Form::Rows { words: 512 },
        Form::Codes { words: [2, 4, 2] },
        Form::Codes { words: [0, 0, 40] },
        Form::Codes { words: [70, 1, 0] },
    ];
    let mut texts = Vec::new();
    for form in forms {
        for products in [Products::Single, Products::Packed] {
            for places in [Places::Atomics, Places::Subgroups] {
                texts.push(scan_source(form, products, places));
            }
        }
    }
    texts.push(shader!("normaliser.wgsl").into());
    texts.push(selection_source(memory));
    texts
}
