//! `cargo xtask image`: what runs on a node, as OCI archives, without a container engine.
//!
//! Each archive holds four names below /bin and nothing else: no shell, no libc, no other file.
//! Two builds of one tree are equal byte for byte. An archive above 15 MiB is an error.

mod arch;
pub(crate) mod archive;
mod binaries;
mod pack;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use self::arch::Arch;
use self::archive::{Image, Packing};
use crate::setup;
use crate::workspace::{shown, target_dir};

/// The image's name without its tag; that of the chart's `flannel.image.repository`.
const REPOSITORY: &str = "ghcr.io/tartan-net/tartan";
/// The tag of this tree's image; the chart's `appVersion`.
const TAG: &str = concat!("v", env!("CARGO_PKG_VERSION"));
/// flanneld's name: the same program, for those who start it by that.
const ALIAS: (&str, &str) = ("flanneld", "tartand");
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
    let out = options.out.clone().map_or_else(archives, Ok)?;
    options.arch.list().iter().try_for_each(|arch| build(arch, &options.name, &out).map(drop))
}

/// Builds the archive for this machine, under its own name.
pub(crate) fn own() -> Result<PathBuf> {
    let arch = if cfg!(target_arch = "aarch64") { Arch::ARM64 } else { Arch::AMD64 };
    build(&arch, &format!("{REPOSITORY}:{TAG}"), &archives()?)
}

/// This machine's processor, as the OCI specification calls it.
pub(crate) fn own_arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { Arch::ARM64.name } else { Arch::AMD64.name }
}

fn archives() -> Result<PathBuf> {
    Ok(target_dir()?.join("image/archives"))
}

fn build(arch: &Arch, name: &str, out: &Path) -> Result<PathBuf> {
    let (_, tag) = reference(name)?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    setup::cross(arch.target, arch.compiler_needs())?;
    let built = binaries::build(arch, &target_dir()?.join("image"))?;
    let scratch = built.join("archive");
    let content = scratch.join("content");
    fill(&content.join("bin"), &built)?;
    let path = out.join(format!("tartan-{tag}-linux-{}.tar", arch.name));
    let image = Image {
        name,
        arch: arch.name,
        entrypoint: &["/bin/tartand"],
        command: &[],
        packing: Packing::Gzip,
    };
    archive::write(&image, &content, &scratch, &path)?;
    judge(&path)?;
    Ok(path)
}

fn fill(bin: &Path, programs: &Path) -> Result<()> {
    empty(bin)?;
    for name in binaries::PROGRAMS {
        fs::copy(programs.join(name), bin.join(name)).with_context(|| format!("copy {name}"))?;
    }
    let (alias, program) = ALIAS;
    symlink(program, bin.join(alias)).context("cannot make a link")
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
pub(crate) fn empty(path: &Path) -> Result<()> {
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
