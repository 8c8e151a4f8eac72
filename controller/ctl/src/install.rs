//! `tartanctl install-cni`: puts the CNI plugin where the container runtime looks for it.
//!
//! The runtime may start the plugin at any moment, and an older one may be running: each file is
//! replaced by rename, so that whoever opens it finds a whole program, and nobody is told that
//! the text file is busy. What is in place already is not written again.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;
use tartan_core::atomic_file;

use crate::output::Format;

/// The plugin's file, beside this program.
const PLUGIN: &str = "tartan-cni";
/// Everybody may run it, root may replace it.
const MODE: u32 = 0o755;

/// What to install, and where.
#[derive(Debug, Args)]
pub(crate) struct Installation {
    /// The runtime's folder for plugins. It must exist.
    #[arg(long, value_name = "DIR", default_value = "/opt/cni/bin")]
    to: PathBuf,
    /// Install under this name as well, for instance `flannel`. May be given several times.
    #[arg(long = "name", value_name = "NAME", value_parser = file_name)]
    names: Vec<String>,
    /// The plugin to install: by default `tartan-cni` beside this program.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
}

/// What became of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Replaced,
    Unchanged,
}

/// Installs under every name, and says what it did.
pub(crate) fn run(format: Format, wanted: &Installation) -> Result<std::process::ExitCode> {
    let source = wanted.from.clone().map_or_else(beside_myself, Ok)?;
    let content = fs::read(&source).with_context(|| {
        format!("cannot read {}: install tartan-cni beside tartanctl", source.display())
    })?;
    if !wanted.to.is_dir() {
        bail!("{} is no folder: mount or make the runtime's plugin folder", wanted.to.display());
    }
    for name in [PLUGIN].into_iter().chain(wanted.names.iter().map(String::as_str)) {
        let path = wanted.to.join(name);
        let done = put(&path, &content).with_context(|| {
            format!("cannot write {}: root needs the right to write there", path.display())
        })?;
        say(format, &path, done);
    }
    Ok(std::process::ExitCode::SUCCESS)
}

fn beside_myself() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot tell where tartanctl is; use --from")?;
    Ok(own.with_file_name(PLUGIN))
}

fn put(path: &Path, content: &[u8]) -> Result<Done> {
    if holds(path, content) {
        return Ok(Done::Unchanged);
    }
    atomic_file::write(path, content, MODE)?;
    Ok(Done::Replaced)
}

/// Whether a plain file has this content and mode. A link is replaced: its target is not ours.
fn holds(path: &Path, content: &[u8]) -> bool {
    let is_plain = fs::symlink_metadata(path)
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o7777 == MODE);
    is_plain && fs::read(path).is_ok_and(|found| found == content)
}

fn say(format: Format, path: &Path, done: Done) {
    let shown = path.display().to_string();
    let replaced = done == Done::Replaced;
    match format {
        Format::Json => println!("{}", json!({ "path": shown, "replaced": replaced })),
        Format::Text if replaced => println!("installed {shown}"),
        Format::Text => println!("{shown} is up to date"),
    }
}

/// A name within the folder, not a path out of it.
fn file_name(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if plain && text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("use letters, digits, `_`, `.` and `-`, and begin with a letter or digit".to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn a_file_is_replaced_by_another_one_and_not_written_into() {
        let dir = folder();
        let path = dir.path().join("flannel");
        fs::write(&path, "old").unwrap();
        let old = fs::File::open(&path).unwrap();
        assert_eq!(put(&path, b"new").unwrap(), Done::Replaced);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(std::io::read_to_string(old).unwrap(), "old");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_already_is_left_alone() {
        let dir = folder();
        let path = dir.path().join("tartan-cni");
        put(&path, b"same").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        assert_eq!(put(&path, b"same").unwrap(), Done::Unchanged);
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    }

    #[test]
    fn the_target_of_a_link_is_not_touched() {
        let dir = folder();
        let (target, path) = (dir.path().join("multi-call"), dir.path().join("flannel"));
        fs::write(&target, "theirs").unwrap();
        symlink(&target, &path).unwrap();
        assert_eq!(put(&path, b"ours").unwrap(), Done::Replaced);
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    }

    #[test]
    fn a_name_that_leads_out_of_the_folder_is_refused() {
        for name in ["", "../x", "a/b", ".", "-x"] {
            assert!(file_name(name).is_err(), "{name}");
        }
        assert_eq!(file_name("flannel").as_deref(), Ok("flannel"));
    }
}
