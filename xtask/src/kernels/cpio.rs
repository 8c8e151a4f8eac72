//! Archives as the kernel unpacks them at its start.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::workspace::tool;

/// Packs a folder; everything belongs to root in the guest.
pub(super) fn pack(dir: &Path, into: &Path) -> Result<()> {
    let mut find = tool("find")
        .arg(".")
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start find")?;
    let names = find.stdout.take().context("find has no output")?;
    let status = tool("cpio")
        .args(["-o", "-H", "newc", "--quiet", "-R", "0:0"])
        .current_dir(dir)
        .stdin(names)
        .stdout(File::create(into).with_context(|| format!("cannot write {}", into.display()))?)
        .status()
        .context("cannot start cpio")?;
    find.wait()?;
    if status.success() { Ok(()) } else { bail!("cpio fails: {status}") }
}
