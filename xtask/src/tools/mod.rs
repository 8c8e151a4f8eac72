//! `cargo xtask tools`: the programs written in Go that the lab runs as they are.
//!
//! Each group is built once from the exact modules that a `go.sum` in `tests/tools` names, into a
//! cache outside the tree, where a build is either whole or absent. `bin/` there links the
//! programs that this tree asks for; builds for other versions stay beside them.

pub(crate) mod cache;
mod catalogue;
mod go;
mod group;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use clap::Args;

use self::cache::{Cache, Place};
use self::catalogue::GROUPS;
use self::group::{Group, Program};
pub(crate) use self::group::{Set, fnv1a};
use crate::step;

/// Tells the lab where the programs are.
pub(crate) const VARIABLE: &str = "TARTAN_TOOLS";

/// Options of `cargo xtask tools`.
#[derive(Args)]
pub(crate) struct Options {
    /// Add what a cluster of kubelets runs: containerd, kubelet, scheduler, kubectl, CoreDNS
    #[arg(long)]
    cluster: bool,
    /// Add Kubernetes' own tests too: everything there is
    #[arg(long, visible_alias = "all")]
    e2e: bool,
}

impl Options {
    /// What they ask for.
    pub(crate) fn set(&self) -> Set {
        match (self.e2e, self.cluster) {
            (true, _) => Set::E2e,
            (false, true) => Set::Cluster,
            (false, false) => Set::Daily,
        }
    }
}

/// Builds what is missing of a set.
pub(crate) fn run(set: Set) -> Result<()> {
    // Without the lock: who builds a larger set may hold it for minutes yet.
    if !is_settled(set)? {
        build_missing(set)?;
    }
    println!("tools: ready ({})", directory().display());
    Ok(())
}

/// Whether the set is built, and each link leads to what this tree asks for.
fn is_settled(set: Set) -> Result<bool> {
    for group in &GROUPS {
        let key = group.key()?;
        let built = Place::Tools.has(&key);
        let right = |program: &Program| {
            Place::Tools.link(program.name) == built.then(|| target(&key, program))
        };
        if group.set <= set && !built || !group.programs.iter().all(right) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn build_missing(set: Set) -> Result<()> {
    let cache = Cache::open(Place::Tools)?;
    link(&cache)?;
    let mut missing = Vec::new();
    for group in GROUPS.iter().filter(|group| group.set <= set) {
        let key = group.key()?;
        if !Place::Tools.has(&key) {
            missing.push((group, key));
        }
    }
    if missing.is_empty() { Ok(()) } else { build_all(&missing, set, &cache) }
}

fn build_all(missing: &[(&Group, String)], set: Set, cache: &Cache) -> Result<()> {
    let go = go::Go::find()?;
    let names = missing.iter().map(|(group, _)| group.name).collect::<Vec<_>>().join(", ");
    println!(
        "tools: {names} built from source with Go {}, once; all that this needs takes about {} \
         minutes on two cores",
        go.release,
        minutes(set)
    );
    // Linked one by one: some wait for the first alone.
    missing.iter().try_for_each(|(group, key)| {
        build(&go, group, key, cache)?;
        link(cache)
    })
}

/// How long the whole set takes with nothing cached, on two cores.
fn minutes(set: Set) -> u8 {
    match set {
        Set::Chart => 2,
        Set::Daily => 15,
        Set::Cluster => 23,
        Set::E2e => 33,
    }
}

/// The directory of the programs, whether they are built or not.
pub(crate) fn directory() -> PathBuf {
    Place::Tools.links()
}

fn build(go: &go::Go, group: &Group, key: &str, cache: &Cache) -> Result<()> {
    let half = cache.scratch()?;
    let bin = half.join("bin");
    fs::create_dir_all(&bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let mut title = format!("tools: {} {}", group.name, group.version);
    for mut command in go.build(group, &bin) {
        step::run(&title, &mut command).map_err(|error| {
            anyhow!(
                "{error:#}. Repeat it with `cargo xtask tools`: what is compiled already is kept"
            )
        })?;
        title += ", tests";
    }
    for program in group.programs {
        let built = bin.join(program.executable());
        fs::rename(&built, bin.join(program.name))
            .with_context(|| format!("go build made no {}", built.display()))?;
    }
    cache.keep(&half, key)
}

/// Links what is built of all sets. What is built only for another version has no link: whoever
/// wants it learns that it is missing.
fn link(cache: &Cache) -> Result<()> {
    for group in &GROUPS {
        let key = group.key()?;
        let built = Place::Tools.has(&key);
        for program in group.programs {
            if built {
                cache.link(program.name, &target(&key, program))?;
            } else {
                cache.unlink(program.name)?;
            }
        }
    }
    Ok(())
}

/// Where the link to a program leads.
fn target(key: &str, program: &Program) -> PathBuf {
    Path::new("..").join(key).join("bin").join(program.name)
}
