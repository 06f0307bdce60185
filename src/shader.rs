//! Shader texts without what only readers need: comments, indentation, empty lines; a third of the bytes.
//!
//! [`shader!`] strips them when the crate is compiled. Lines of templates that begin with `//%` stay: see
//! `backbone::recorded::template`. Invariant: WGSL has no string literals, so every other `//` begins a comment.

/// Stands before shaders with subgroups: browsers want to be told, naga knows the functions only.
pub(crate) const ENABLE_SUBGROUPS: &str = if cfg!(target_arch = "wasm32") {
    "enable subgroups;\n"
} else {
    ""
};

/// The text of `shaders/<file>`.
macro_rules! shader {
    ($file:literal) => {{
        const TEXT: &[u8] =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file)).as_bytes();
        const BYTES: [u8; $crate::shader::stripped(TEXT, &mut [])] = {
            let mut bytes = [0; $crate::shader::stripped(TEXT, &mut [])];
            $crate::shader::stripped(TEXT, &mut bytes);
            bytes
        };
        const STRIPPED: &str = match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("whole characters were cut"),
        };
        STRIPPED
    }};
}
pub(crate) use shader;

/// Writes what is left of `text` to `to`, as much as fits, and returns how many bytes it is.
pub(crate) const fn stripped(text: &[u8], to: &mut [u8]) -> usize {
    let mut length = 0;
    let mut i = 0;
    while i < text.len() {
        while i < text.len() && text[i] == b' ' {
            i += 1;
        }
        let start = length;
        // Where the line ends but for spaces.
        let mut end = length;
        while i < text.len() && text[i] != b'\n' {
            let comment = text[i] == b'/' && i + 1 < text.len() && text[i + 1] == b'/';
            if comment && !(i + 2 < text.len() && text[i + 2] == b'%') {
                while i < text.len() && text[i] != b'\n' {
                    i += 1;
                }
                break;
            }
            if length < to.len() {
                to[length] = text[i];
            }
            length += 1;
            if text[i] != b' ' {
                end = length;
            }
            i += 1;
        }
        length = end;
        if length > start {
            if length < to.len() {
                to[length] = b'\n';
            }
            length += 1;
        }
        i += 1;
    }
    length
}

#[cfg(test)]
mod tests {
    use super::stripped;

    #[test]
    fn comments_indentation_and_empty_lines_go_and_templates_stay() {
        let text =
            "// a\n//\n\n  let x = 1 / 2; // b\n    //% repeat i n\n  y$i; //% i n\n//% end\n";
        let wanted = "let x = 1 / 2;\n//% repeat i n\ny$i; //% i n\n//% end\n";
        let mut found = vec![b'?'; text.len()];
        let length = stripped(text.as_bytes(), &mut found);
        assert_eq!(std::str::from_utf8(&found[..length]).unwrap(), wanted);
        assert_eq!(stripped(text.as_bytes(), &mut []), length);
        assert_eq!(stripped(b"a", &mut []), 2);
    }
}
