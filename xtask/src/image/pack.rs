//! Tar, gzip and SHA-256 by the programs that every Debian has, so that equal input gives equal
//! bytes: names in order, no owner, no time but `SOURCE_DATE_EPOCH`.

use std::env;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Packs a folder's content.
pub(crate) fn tar(folder: &Path, into: &Path) -> Result<()> {
    let epoch = env::var("SOURCE_DATE_EPOCH").unwrap_or_else(|_| "0".to_owned());
    let mut command = Command::new("tar");
    command
        .args(["--create", "--format=ustar", "--sort=name", "--owner=0", "--group=0"])
        .args(["--numeric-owner", "--mode=a=rX,u+w"])
        .arg(format!("--mtime=@{epoch}"))
        .arg("--file")
        .arg(into)
        .arg("--directory")
        .arg(folder)
        // Names without a leading `./`, and without the folder itself.
        .args(entries(folder)?)
        .env("LC_ALL", "C");
    output(&mut command).map(drop)
}

fn entries(folder: &Path) -> Result<Vec<std::ffi::OsString>> {
    let listed = folder.read_dir().with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = listed.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// Compresses a file; its own name and time are left out.
pub(crate) fn gzip(file: &Path) -> Result<Vec<u8>> {
    output(Command::new("gzip").args(["-9", "--no-name", "--stdout"]).arg(file))
}

/// The digest of a file, as OCI writes it: `sha256:` and 64 hexadecimal digits.
pub(crate) fn digest(file: &Path) -> Result<String> {
    let said = output(Command::new("sha256sum").arg("--binary").arg(file))?;
    let hex = said.get(..64).and_then(|hex| std::str::from_utf8(hex).ok());
    let hex = hex.context("sha256sum printed no digest")?;
    Ok(format!("sha256:{hex}"))
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = command.get_program().display().to_string();
    let ran = command.output().with_context(|| format!("cannot start {name}: install it"))?;
    if !ran.status.success() {
        bail!("{name} failed: {}", String::from_utf8_lossy(&ran.stderr).trim());
    }
    Ok(ran.stdout)
}
