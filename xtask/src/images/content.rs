//! Fills the folder that becomes an image.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::debian::Packages;
use super::recipe::Part;
use crate::tools;
use crate::workspace::{output_of, tool};

/// Adds a part to the folder.
pub(crate) fn add(part: &Part, packages: &Packages, root: &Path) -> Result<()> {
    match part {
        Part::Packages(names) => packages.unpack_with_dependencies(names, root),
        Part::Program { package, from, at } => {
            copy(&packages.unpack_alone(package)?.join(from), &root.join(at))
        }
        Part::Tool { name, at } => copy(&tools::directory().join(name), &root.join(at)),
        Part::Applets { folder } => applets(&root.join(folder)),
        Part::Link { at, to } => link(to, &root.join(at)),
        Part::Folder(at) => Ok(fs::create_dir_all(root.join(at))?),
        Part::Certificate => certificate(root),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    parent(to)?;
    fs::copy(from, to)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn link(to: &str, at: &Path) -> Result<()> {
    parent(at)?;
    symlink(to, at).with_context(|| format!("cannot make the link {}", at.display()))
}

fn parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all).context("cannot make a folder")
}

fn applets(folder: &Path) -> Result<()> {
    let names = output_of(tool(&folder.join("busybox").to_string_lossy()).arg("--list"));
    let names = names.context("busybox does not list its applets: is it for another processor?")?;
    for name in names.lines() {
        // A link to nowhere counts as there: it leads somewhere in the image.
        if folder.join(name).symlink_metadata().is_err() {
            link("busybox", &folder.join(name))?;
        }
    }
    Ok(())
}

fn certificate(root: &Path) -> Result<()> {
    let (key, certificate) = (root.join("localhost.key"), root.join("localhost.crt"));
    let mut command = tool("openssl");
    command
        .args(["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .args([
            "-days",
            "36500",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate);
    if output_of(&mut command).is_none() {
        bail!("openssl made no certificate; see what it says: {command:?}");
    }
    Ok(())
}
