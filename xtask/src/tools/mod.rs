//! `cargo xtask tools`: the programs written in Go that the lab runs as they are.
//!
//! Each group is built once from the exact modules that `tests/tools/GROUP/go.sum` names, into a
//! cache outside the tree, where a build is either whole or absent. `bin/` there links the
//! programs that this tree asks for; builds for other versions stay beside them.

mod cache;
mod go;
mod group;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use self::cache::Cache;
use self::group::{GROUPS, Group};
use crate::step;

/// Tells the lab where the programs are.
pub(crate) const VARIABLE: &str = "TARTAN_TOOLS";

/// Builds what is missing.
pub(crate) fn run() -> Result<()> {
    let cache = Cache::open()?;
    let mut missing = Vec::new();
    for group in &GROUPS {
        let key = group.key()?;
        if !cache.has(&key) {
            missing.push((group, key));
        }
    }
    if !missing.is_empty() {
        let go = go::Go::find()?;
        let names = missing.iter().map(|(group, _)| group.name).collect::<Vec<_>>().join(", ");
        println!(
            "tools: {names} built from source with Go {}, once; all of them take about 15 minutes \
             on two cores",
            go.release
        );
        for (group, key) in missing {
            build(&go, group, &key, &cache)?;
        }
    }
    link(&cache)?;
    println!("tools: ready ({})", cache.bin().display());
    Ok(())
}

/// The directory of the programs, whether they are built or not.
pub(crate) fn directory() -> PathBuf {
    cache::root().join("bin")
}

fn build(go: &go::Go, group: &Group, key: &str, cache: &Cache) -> Result<()> {
    let half = cache.scratch()?;
    let bin = half.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let title = format!("tools: {} {}", group.name, group.version);
    step::run(&title, &mut go.build(group, &bin)).map_err(|error| {
        anyhow!("{error:#}. Repeat it with `cargo xtask tools`: what is compiled already is kept")
    })?;
    for program in group.programs {
        let built = bin.join(program.executable());
        fs::rename(&built, bin.join(program.name))
            .with_context(|| format!("go build made no {}", built.display()))?;
    }
    cache.keep(&half, key)
}

fn link(cache: &Cache) -> Result<()> {
    for group in &GROUPS {
        let key = group.key()?;
        for program in group.programs {
            cache.link(program.name, &Path::new("..").join(&key).join("bin").join(program.name))?;
        }
    }
    Ok(())
}
