//! The files of the tree, without what builds put there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace::root;

/// Every file below the root whose name ends in `.extension`, sorted, relative to the root.
pub(crate) fn files(extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    collect(root(), extension, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() && !is_foreign(&path) {
            collect(&path, extension, found)?;
        } else if path.extension().is_some_and(|own| own == extension) {
            found.push(path.strip_prefix(root()).unwrap_or(&path).to_owned());
        }
    }
    Ok(())
}

/// Version control, and build results wherever cargo put them (it marks them).
fn is_foreign(dir: &Path) -> bool {
    dir.is_symlink() || dir.join("CACHEDIR.TAG").exists() || dir.ends_with(".git")
}

/// A file of the tree as text.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {}", path.display()))
}
