//! Generated documents: written by `cargo xtask docs`, compared by `cargo xtask check`.
//!
//! The writer is `examples/surface.rs`. It depends on the product's crates, which this program
//! does not: so xtask starts quickly, and starts even where the product does not compile.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::check::Outcome;
use crate::lab::{BUILD, GENERATOR};
use crate::workspace::{cargo, product, root, tool};
use crate::{setup, step};

/// The two kinds of generated files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `docs/*.md`, for readers.
    Document,
    /// `docs/surface/*.txt`: what users and tools rely on. A difference is a decision.
    Surface,
}

/// `cargo xtask docs`.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    step::run("docs: build the generator", &mut cargo(BUILD))?;
    for file in generate(&root().join("docs"))? {
        println!("  docs/{}", file.display());
    }
    Ok(())
}

/// Writes the documents into a folder and returns their names: the writer's own list, so that no
/// second one exists that could drift.
fn generate(into: &Path) -> Result<Vec<PathBuf>> {
    said(cargo(BUILD).arg("--quiet"), "build")?;
    let generator = product("examples")?.join(GENERATOR);
    let names = said(tool(&generator.to_string_lossy()).arg(into), "run")?;
    Ok(names.lines().map(PathBuf::from).collect())
}

fn said(command: &mut Command, what: &str) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("the generator does not {what}: {}", errors.trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Generates into `scratch` and lists where the committed files of this kind differ.
pub(crate) fn compare(scratch: &Path, kind: Kind) -> Result<Outcome> {
    if scratch.exists() {
        fs::remove_dir_all(scratch)?;
    }
    let mut found = Vec::new();
    for file in generate(scratch)?.into_iter().filter(|file| kind_of(file) == kind) {
        let committed = fs::read_to_string(root().join("docs").join(&file)).unwrap_or_default();
        let fresh = fs::read_to_string(scratch.join(&file))?;
        found.extend(difference(&file, &committed, &fresh));
    }
    found.extend(stale(scratch, kind)?);
    Ok(if found.is_empty() { Outcome::Green } else { Outcome::Red(found.join("\n")) })
}

fn kind_of(file: &Path) -> Kind {
    if file.starts_with("surface") { Kind::Surface } else { Kind::Document }
}

/// Committed surface files that nothing generates any more.
fn stale(scratch: &Path, kind: Kind) -> Result<Vec<String>> {
    if kind == Kind::Document {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("docs/surface")).context("no docs/surface")? {
        let file = Path::new("surface").join(entry?.file_name());
        if !scratch.join(&file).exists() {
            found.push(format!("docs/{}: nothing generates it", file.display()));
        }
    }
    Ok(found)
}

/// Lines that only one of the two has, a few of them.
fn difference(file: &Path, committed: &str, fresh: &str) -> Vec<String> {
    if committed == fresh {
        return Vec::new();
    }
    let only = |here: &str, there: &str, sign: char| {
        let lines = here.lines().filter(|line| !there.lines().any(|other| other == *line));
        lines.map(|line| format!("  {sign} {line}")).take(8).collect::<Vec<_>>()
    };
    let mut found = vec![format!("docs/{} differs from the code:", file.display())];
    found.extend(only(committed, fresh, '-'));
    found.extend(only(fresh, committed, '+'));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_files_do_not_differ() {
        assert!(difference(Path::new("a"), "x\n", "x\n").is_empty());
    }

    #[test]
    fn a_difference_shows_both_sides() {
        let found = difference(Path::new("a"), "x\ny\n", "x\nz\n");
        assert_eq!(found[1..], ["  - y", "  + z"]);
    }

    #[test]
    fn a_difference_in_order_alone_is_one() {
        assert_eq!(difference(Path::new("a"), "x\ny\n", "y\nx\n").len(), 1);
    }
}
