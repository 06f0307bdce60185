//! Shader text from templates: names and repeated lines.
//!
//! `{{ name }}` is replaced by a value. A line that ends in `//% i rows j quads` is written once for each i
//! below `rows` and j below `quads`, with `$i` and `$j` replaced; lines between `//% repeat u unroll` and
//! `//% end` are repeated together. So kernels keep their tiles in named registers: an indexed array would
//! lie in memory on software adapters. Invariant: the texts are the crate's own, so an unknown name is an error
//! of the crate, and shows when the shader is created.

/// The values of a template.
#[derive(Clone, Debug, Default)]
pub struct Values(Vec<(&'static str, String)>);

impl Values {
    /// Adds a name.
    pub fn with(self, name: &'static str, value: impl ToString) -> Self {
        self.and(name, value.to_string())
    }

    // Not inlined, for the module's size.
    #[inline(never)]
    fn and(mut self, name: &'static str, value: String) -> Self {
        self.0.push((name, value));
        self
    }

    fn count(&self, name: &str) -> usize {
        let value = self.0.iter().find(|(known, _)| *known == name);
        value.and_then(|(_, v)| v.parse().ok()).unwrap_or_default()
    }

    /// The text with everything replaced.
    pub fn fill(&self, template: &str) -> String {
        let mut text = String::with_capacity(2 * template.len());
        let mut block: Option<(&str, usize, String)> = None;
        for line in template.lines() {
            let bare = line.trim();
            if let Some(rest) = bare.strip_prefix("//% repeat ") {
                let (name, count) = rest.split_once(' ').unwrap_or((rest, ""));
                block = Some((name, self.count(count), String::new()));
            } else if bare == "//% end" {
                if let Some((name, count, lines)) = block.take() {
                    for i in 0..count {
                        text.push_str(&lines.replace(&format!("${name}"), &i.to_string()));
                    }
                }
            } else {
                let into = block.as_mut().map_or(&mut text, |(_, _, lines)| lines);
                self.line(line, into);
            }
        }
        for (name, value) in &self.0 {
            text = text.replace(&format!("{{{{ {name} }}}}"), value);
        }
        text
    }

    fn line(&self, line: &str, into: &mut String) {
        let Some((line, ranges)) = line.split_once(" //% ") else {
            into.push_str(line);
            into.push('\n');
            return;
        };
        let mut lines = vec![self.replaced(line)];
        let mut words = ranges.split_whitespace();
        while let (Some(name), Some(count)) = (words.next(), words.next()) {
            let name = format!("${name}");
            let repeat = |line: &String| -> Vec<String> {
                let indices = 0..self.count(count);
                indices
                    .map(|i| line.replace(&name, &i.to_string()))
                    .collect()
            };
            lines = lines.iter().flat_map(repeat).collect();
        }
        for line in lines {
            into.push_str(&line);
            into.push('\n');
        }
    }

    /// Names inside of a repeated line, whose values may hold an index themselves.
    fn replaced(&self, line: &str) -> String {
        let replace = |line: String, (name, value): &(&str, String)| {
            line.replace(&format!("{{{{ {name} }}}}"), value)
        };
        self.0.iter().fold(line.to_string(), replace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_blocks_repeat() {
        let values = Values::default()
            .with("n", 2)
            .with("m", 1)
            .with("none", 0)
            .with("f", " * f$i");
        let text = "a {{ n }}\n//% repeat u n\nb$u_$i{{ f }} //% i n\n//% end\nc //% i none\nd$i$j //% i n j m\n";
        let filled = values.fill(text);
        assert_eq!(
            filled,
            "a 2\nb0_0 * f0\nb0_1 * f1\nb1_0 * f0\nb1_1 * f1\nd00\nd10\n"
        );
    }
}
