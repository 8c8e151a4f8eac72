//! Rules of the house that no tool knows.

use std::path::Path;

use anyhow::Result;

use super::{Outcome, list_outcome, tree};
use crate::workspace::root;

/// Lines that a file may have without a `// long: reason` line.
const FILE_LINES: usize = 400;

/// Words that say that something is not finished, or not tested. In halves, so that this file
/// does not break its own rule.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[ign", "ore"),
];

/// A file that would make rustup look for one named toolchain: with its automatic installation
/// off, the first command of the README would fail.
const PINNED_TOOLCHAIN: [&str; 2] = ["rust-toolchain.toml", "rust-toolchain"];

/// Looks at every Rust file.
pub(crate) fn rules() -> Result<Outcome> {
    let mut found = Vec::new();
    for name in PINNED_TOOLCHAIN.into_iter().filter(|name| root().join(name).exists()) {
        found.push(format!("{name}: must not exist, stable Rust from 1.95 on is supported"));
    }
    for path in tree::files("rs")? {
        found.extend(judge(&path, &tree::read(&path)?));
    }
    Ok(list_outcome(&found))
}

fn judge(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let at = path.display();
    let lines = text.lines().count();
    if lines > FILE_LINES && !text.lines().any(|line| line.starts_with("// long: ")) {
        found.push(format!("{at}: {lines} lines; split it, or say why with a line `// long: ...`"));
    }
    if !text.starts_with("//!") {
        found.push(format!("{at}:1: begin with `//!`: what the file promises"));
    }
    for (number, line) in text.lines().enumerate() {
        for word in UNFINISHED.into_iter().filter(|word| has_word(line, word)) {
            found.push(format!("{at}:{}: `{word}`: finish it, or take it out", number + 1));
        }
    }
    found
}

/// Whether `line` has `word` not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        let after = line[start + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let opens = word.ends_with('(') || word.starts_with('#');
        !joins(before) && (opens || !joins(after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Vec<String> {
        judge(Path::new("a.rs"), text)
    }

    #[test]
    fn a_short_documented_file_is_fine() {
        assert!(judged("//! A.\nfn a() {}\n").is_empty());
    }

    #[test]
    fn a_file_without_module_documentation_is_named() {
        assert_eq!(judged("fn a() {}\n").len(), 1);
    }

    #[test]
    fn a_long_file_needs_a_reason() {
        let long = format!("//! A.\n{}", "\n".repeat(FILE_LINES));
        assert_eq!(judged(&long).len(), 1);
        assert!(judged(&format!("{long}// long: one table\n")).is_empty());
    }

    #[test]
    fn an_unfinished_line_is_named_with_its_number() {
        let found = judged(concat!("//! A.\n// TO", "DO later\n"));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("a.rs:2:"), "{found:?}");
    }

    #[test]
    fn a_longer_word_is_not_the_word() {
        assert!(judged("//! A.\nlet AUTODOC = 1;\n").is_empty());
    }
}
