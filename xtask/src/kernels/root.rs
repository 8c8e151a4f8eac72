//! The guests' root: busybox, the system's own networking programs with their libraries, and the
//! product with its lab.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::catalogue::{PROGRAMS, SCENARIOS};
use super::cpio;
use crate::workspace::{has_program, output_of, product, tool};

/// What a guest runs first.
const INIT: &str = include_str!("init.sh");
const PRODUCT: [&str; 4] = ["tartand", "tartan-cni", "tartanctl", "tartan-lab"];
const DIRECTORIES: [&str; 13] = [
    "bin", "proc", "sys", "dev", "run", "tmp", "opt", "mnt", "root", "etc", "var/lib", "var/log",
    "t",
];

/// Packs it into `archive`; `dir` is where it is put together.
pub(super) fn make(dir: &Path, archive: &Path, words: &[&str]) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    for name in DIRECTORIES {
        fs::create_dir_all(dir.join(name))?;
    }
    busybox(dir)?;
    for program in PROGRAMS.iter().copied().filter(|program| has_program(program)) {
        bring(dir, &path_of(program)?, &dir.join("bin").join(program))?;
    }
    // A shell that runs the programs above, and not applets of the same names.
    bring(dir, Path::new("/bin/dash"), &dir.join("bin/sh"))?;
    for name in PRODUCT {
        bring(dir, &product(name)?, &dir.join("t").join(name))?;
    }
    let scenarios: Vec<_> =
        SCENARIOS.into_iter().filter(|one| words.is_empty() || words.contains(one)).collect();
    fs::write(dir.join("t/scenarios"), scenarios.join("\n") + "\n")?;
    let init = dir.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    cpio::pack(dir, archive)
}

fn busybox(dir: &Path) -> Result<()> {
    let path = path_of("busybox")?;
    bring(dir, &path, &dir.join("bin/busybox"))?;
    let applets = output_of(tool("busybox").arg("--list")).context("busybox lists no applets")?;
    for applet in applets.lines().filter(|applet| *applet != "busybox") {
        symlink("busybox", dir.join("bin").join(applet))?;
    }
    Ok(())
}

fn path_of(program: &str) -> Result<PathBuf> {
    let path = output_of(tool("sh").args(["-c", "command -v \"$0\"", program]));
    let path = path.with_context(|| format!("{program} is not on the path"))?;
    Ok(fs::canonicalize(path.trim())?)
}

/// Copies a program and the libraries that it names.
fn bring(dir: &Path, program: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to);
    fs::copy(program, to).with_context(|| format!("cannot copy {}", program.display()))?;
    // A static one has none.
    let libraries = output_of(tool("ldd").arg(program)).unwrap_or_default();
    for library in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        let place = dir.join(library.trim_start_matches('/'));
        if !place.exists() {
            fs::create_dir_all(place.parent().context("a library lies in a folder")?)?;
            fs::copy(library, &place).with_context(|| format!("cannot copy {library}"))?;
        }
    }
    Ok(())
}
