//! `cargo xtask image`: what runs on a node, as OCI archives, without a container engine.
//!
//! Each archive holds four names below /bin and nothing else: no shell, no libc, no other file.
//! Two builds of one tree are equal byte for byte. An archive above 15 MiB is an error.

mod arch;
mod archive;
mod binaries;
mod pack;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::arch::Arch;
use crate::setup;
use crate::workspace::{shown, target_dir};

/// The image's name without its tag; that of the chart's `flannel.image.repository`.
const REPOSITORY: &str = "ghcr.io/tartan-net/tartan";
/// The tag of this tree's image; the chart's `appVersion`.
const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));
/// No archive may be larger, in bytes: every node of a cluster fetches it.
const LIMIT: u64 = 15 << 20;

/// Options of `cargo xtask image`.
#[derive(Args)]
pub(crate) struct Options {
    /// The processors to build for
    #[arg(long, value_enum, default_value = "all")]
    arch: Wanted,
    /// Where the archives go [default: TARGET/image]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The image's name and tag
    #[arg(long, value_name = "NAME:TAG", default_value_t = format!("{REPOSITORY}:{TAG}"))]
    name: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wanted {
    Amd64,
    Arm64,
    All,
}

impl Wanted {
    fn list(self) -> &'static [Arch] {
        match self {
            Self::Amd64 => &[Arch::AMD64],
            Self::Arm64 => &[Arch::ARM64],
            Self::All => &[Arch::AMD64, Arch::ARM64],
        }
    }
}

/// Builds the archives.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    let (_, tag) = reference(&options.name)?;
    let target = target_dir()?.join("image");
    let out = options.out.clone().unwrap_or_else(|| target.join("archives"));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    for arch in options.arch.list() {
        setup::cross(arch.target, arch.compiler_needs())?;
        let built = binaries::build(arch, &target)?;
        let path = out.join(format!("tartan-{tag}-linux-{}.tar", arch.name));
        archive::write(arch, &built, &options.name, &path)?;
        judge(&path)?;
    }
    Ok(())
}

/// A name and its tag. A port of a registry is no tag.
fn reference(text: &str) -> Result<(&str, &str)> {
    let parts = text.rsplit_once(':').filter(|(name, tag)| {
        !name.is_empty() && !tag.is_empty() && !tag.contains('/') && !text.contains(['"', ' '])
    });
    parts.with_context(|| format!("{text:?} is no NAME:TAG: write for instance {REPOSITORY}:{TAG}"))
}

/// Prints the archive's size, and refuses one that is too large.
fn judge(path: &Path) -> Result<()> {
    let bytes = fs::metadata(path)?.len();
    println!("image: {} is {}", shown(path), mebibytes(bytes));
    if bytes > LIMIT {
        bail!(
            "{} is larger than {}: find what grew (`cargo bloat --profile dist --crates`)",
            path.display(),
            mebibytes(LIMIT)
        );
    }
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    let hundredths = bytes * 100 / (1 << 20);
    format!("{}.{:02} MiB", hundredths / 100, hundredths % 100)
}

/// A fresh, empty folder.
fn empty(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::root;

    #[test]
    fn the_manifest_names_the_image_that_is_built() {
        let manifest = fs::read_to_string(root().join("deploy/kube-tartan.yml")).unwrap();
        let images: Vec<_> =
            manifest.lines().filter_map(|line| line.trim().strip_prefix("image: ")).collect();
        let name = format!("{REPOSITORY}:{TAG}");
        assert_eq!(images, [name.as_str(), &name]);
    }

    #[test]
    fn a_reference_has_a_name_and_a_tag() {
        assert_eq!(reference("host:5000/a/b:v1").unwrap(), ("host:5000/a/b", "v1"));
        for wrong in ["", "name", "host:5000/a", "a:", ":b", "a\":b"] {
            assert!(reference(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_shown_with_two_places() {
        assert_eq!(mebibytes(LIMIT), "15.00 MiB");
        assert_eq!(mebibytes((1 << 20) + (1 << 19)), "1.50 MiB");
    }
}
