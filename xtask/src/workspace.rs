//! Where things are: the tree, the target folder, cargo, and what is on the path.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// Folders that a plain user's PATH often lacks, although the tools there are installed.
const SYSTEM_BIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The root of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder, wherever it was moved to: this program lies in `TARGET/debug/`.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let exe = env::current_exe().context("cannot tell where xtask itself was built")?;
    let target =
        exe.parent().and_then(Path::parent).context("xtask runs outside a target folder")?;
    Ok(target.to_owned())
}

/// A product binary of `cargo xtask build`.
pub(crate) fn product(name: &str) -> Result<PathBuf> {
    Ok(target_dir()?.join("release").join(name))
}

/// `path` as the user would type it.
pub(crate) fn shown(path: &Path) -> String {
    let base = env::current_dir().unwrap_or_default();
    path.strip_prefix(&base).unwrap_or(path).display().to_string()
}

/// A cargo command in the tree.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = tool(&env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(args);
    command
}

/// Any other command in the tree, with cargo's own bin folder on its path: bpf-linker is there.
pub(crate) fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("PATH", search_path());
    command
}

/// `$CARGO_HOME/bin`, where `cargo install` puts programs.
pub(crate) fn cargo_bin() -> PathBuf {
    cargo_home().join("bin")
}

/// `$CARGO_HOME`, by cargo's own rule.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map_or_else(|| home().join(".cargo"), PathBuf::from)
}

fn home() -> PathBuf {
    env::home_dir().unwrap_or_else(|| PathBuf::from("/root"))
}

/// The user's PATH, then cargo's bin folder, then the system's.
fn search_path() -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let dirs = env::split_paths(&own)
        .chain([cargo_bin()])
        .chain(SYSTEM_BIN.map(PathBuf::from))
        .collect::<Vec<_>>();
    env::join_paths(dirs).unwrap_or(own)
}

/// Whether `program` can be started by name.
pub(crate) fn has_program(program: &str) -> bool {
    env::split_paths(&search_path()).any(|dir| dir.join(program).is_file())
}

/// Whether the effective user is root. `/proc/self` belongs to it.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// What a quick command printed, or nothing when it is missing or fails.
pub(crate) fn output_of(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
