//! Links from one Markdown file to another file of the tree must lead somewhere.

use std::path::Path;

use anyhow::Result;

use super::{Outcome, list_outcome, tree};
use crate::workspace::root;

/// Looks at every Markdown file.
pub(crate) fn rules() -> Result<Outcome> {
    let mut found = Vec::new();
    for path in tree::files("md")? {
        let text = tree::read(&path)?;
        let dir = path.parent().unwrap_or(Path::new(""));
        let dead = local_targets(&text).filter(|target| !root().join(dir).join(target).exists());
        found.extend(dead.map(|target| format!("{}: no file `{target}`", path.display())));
    }
    Ok(list_outcome(&found))
}

/// Targets of `[text](target)` that are files, without their `#anchor`.
fn local_targets(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.split('#').next().unwrap_or_default())
        .filter(|target| !target.is_empty() && !target.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_local_targets() {
        let text = "[a](b.md#c) [d](https://e.org/f) [g](#h) [i](../j/k.rs)";
        assert_eq!(local_targets(text).collect::<Vec<_>>(), ["b.md", "../j/k.rs"]);
    }
}
