//! Programs written in Go that the lab runs as they are: Kubernetes' control plane, flannel, CNI
//! plugins. `cargo xtask tools` builds them; the lab shows them to every node under one path.

use std::env;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::paths::TOOLS;
use crate::scenario::skip;

/// Names the directory of the programs; `cargo xtask` sets it.
const VARIABLE: &str = "TARTAN_TOOLS";

/// The program of this name, as the lab and all its nodes see it.
///
/// # Errors
/// When it is not built: the error makes the scenario a skipped one, and says what to run.
pub fn path(name: &str) -> Result<PathBuf> {
    let path = Path::new(TOOLS).join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(skip(format!("the program {name} is not built; run: cargo xtask tools")))
}

/// The programs that are built, opened before the lab's own mounts can hide them.
pub(crate) fn open_all() -> Result<Vec<(String, File)>> {
    let Some(dir) = directory() else { return Ok(Vec::new()) };
    let mut programs = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        // A link without a target is a program that somebody removed: it is not built.
        if let (Ok(name), Ok(file)) = (entry.file_name().into_string(), File::open(entry.path())) {
            programs.push((name, file));
        }
    }
    Ok(programs)
}

/// Binds the opened programs to [`TOOLS`] with `bind(source, target)`.
pub(crate) fn bind_all(
    programs: &[(String, File)],
    bind: fn(&Path, &str) -> Result<()>,
) -> Result<()> {
    for (name, file) in programs {
        let target = format!("{TOOLS}/{name}");
        File::create(&target).with_context(|| format!("cannot make {target}"))?;
        bind(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())), &target)?;
    }
    Ok(())
}

/// Where the programs are: what [`VARIABLE`] names, the cache of `cargo xtask tools`, or, in a lab
/// inside a lab, where the outer one bound them.
fn directory() -> Option<PathBuf> {
    let candidates = [named(VARIABLE), cache(), Some(PathBuf::from(TOOLS))];
    candidates.into_iter().flatten().find(|dir| dir.is_dir())
}

fn cache() -> Option<PathBuf> {
    let user = || named("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")));
    let own = named("TARTAN_CACHE").or_else(|| Some(user()?.join("tartan")));
    Some(own?.join("tools/bin"))
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
