//! Images for tests, as OCI archives, made on this machine: nothing is pulled from a registry.
//!
//! Each is made once, of programs that `cargo xtask tools` built and of unpacked Debian packages,
//! into the cache, where an archive is either whole or absent; a link there leads to the one that
//! this tree asks for. The product's own archive lies beside them and is always that of this tree.

mod catalogue;
mod content;
mod debian;
mod recipe;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::Args;

use self::catalogue::RECIPES;
use self::debian::Packages;
use self::recipe::{Part, Recipe};
use crate::image::archive::{self, Image, Packing};
use crate::image::{self, empty};
use crate::setup;
use crate::tools::cache::{Cache, Place};
use crate::tools::{self, Set, fnv1a};

/// Tells the lab where the archives are.
pub(crate) const VARIABLE: &str = "TARTAN_IMAGES";

/// The product's archive, without its ending.
pub(crate) const PRODUCT: &str = "tartan";

/// The directory of the archives, whether they are made or not.
pub(crate) fn directory() -> PathBuf {
    Place::Images.links()
}

/// Options of `cargo xtask images`.
#[derive(Args)]
pub(crate) struct Options {
    /// Add those of Kubernetes' own tests
    #[arg(long)]
    e2e: bool,
}

impl Options {
    /// What they ask for.
    pub(crate) fn set(&self) -> Set {
        if self.e2e { Set::E2e } else { Set::Cluster }
    }
}

/// Builds the programs and makes the archives that are missing of a set, and the product's.
pub(crate) fn run(set: Set) -> Result<()> {
    setup::run()?;
    setup::cluster(set)?;
    tools::run(set)?;
    let tests = make_all(set);
    // The product's is made whether the others could be or not, so that one run tells all.
    let product =
        image::own().and_then(|own| replace(&own, &directory().join(format!("{PRODUCT}.tar"))));
    tests.and(product)?;
    println!("images: ready ({})", directory().display());
    Ok(())
}

/// Those of the recipes.
fn make_all(set: Set) -> Result<()> {
    let cache = Cache::open(Place::Images)?;
    let packages = Packages::new(cache.links().join(".packages"))?;
    for recipe in RECIPES.iter().filter(|recipe| recipe.set <= set) {
        let key = key(recipe)?;
        if !cache.has(&key) {
            make(recipe, &key, &packages, &cache)?;
        }
        let archive = format!("{}.tar", recipe.file);
        cache.link(&archive, &Path::new(&key).join(&archive))?;
    }
    packages.remove()
}

/// Raised when the same recipe gives another image.
const METHOD: u8 = 3;

/// Changes with everything that changes the image, but for updates of Debian.
fn key(recipe: &Recipe) -> Result<String> {
    let mut text = format!("{METHOD} {recipe:?} {}", image::own_arch());
    for part in recipe.parts {
        if let Part::Tool { name, .. } = part {
            // The real path holds the key of the program's build.
            let path = tools::directory().join(name).canonicalize();
            let path = path.with_context(|| {
                format!("the program {name} is not built; run: cargo xtask tools --all")
            })?;
            text += &path.to_string_lossy();
        }
    }
    Ok(format!("{}-{:016x}", recipe.file, fnv1a(text.as_bytes())))
}

fn make(recipe: &Recipe, key: &str, packages: &Packages, cache: &Cache) -> Result<()> {
    println!("images: {} ...", recipe.name);
    let started = Instant::now();
    let half = cache.scratch()?;
    let (content, scratch) = (half.join("content"), half.join("scratch"));
    empty(&content)?;
    for part in recipe.parts {
        content::add(part, packages, &content).with_context(|| format!("image {}", recipe.file))?;
    }
    let image = Image {
        name: recipe.name,
        arch: image::own_arch(),
        entrypoint: recipe.entrypoint,
        command: recipe.run,
        packing: Packing::Plain,
    };
    archive::write(&image, &content, &scratch, &half.join(format!("{}.tar", recipe.file)))?;
    for folder in [content, scratch] {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    cache.keep(&half, key)?;
    println!("images: {}: done in {:.1} s", recipe.name, started.elapsed().as_secs_f32());
    Ok(())
}

/// Copies a file over another in one step, where they differ.
fn replace(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let new = to.with_extension("new");
    fs::write(&new, content)
        .and_then(|()| fs::rename(&new, to))
        .with_context(|| format!("cannot write {}", to.display()))
}
