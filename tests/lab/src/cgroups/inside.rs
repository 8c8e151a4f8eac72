//! Control groups as the lab and its nodes see them: the run's own groups are the roots.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};

use super::{Doors, make_group, remove_all};

/// Set in everything that a run with kubelets starts: its hierarchies, `;` between them.
pub(super) const VARIABLE: &str = "TARTAN_LAB_CGROUPS";

const ROOT: &str = "/sys/fs/cgroup";

/// Whether this run has groups of its own.
pub(crate) fn wanted() -> bool {
    !names().is_empty()
}

fn names() -> Vec<String> {
    let all = env::var(VARIABLE).unwrap_or_default();
    all.split(';').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The directory of a hierarchy: `memory`, `systemd`.
fn directory(name: &str) -> PathBuf {
    Path::new(ROOT).join(name.strip_prefix("name=").unwrap_or(name))
}

/// Mounts every hierarchy on a fresh sysfs. They show the caller's own group as their root.
pub(crate) fn mount_all() -> Result<()> {
    let fresh = |kind: &str, target: &Path, options: &str| {
        mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(options))
            .with_context(|| format!("cannot mount {kind} ({options}) on {}", target.display()))
    };
    fresh("tmpfs", Path::new(ROOT), "mode=0755")?;
    for name in names() {
        let target = directory(&name);
        fs::create_dir(&target)?;
        let named = name.starts_with("name=");
        fresh("cgroup", &target, &if named { format!("none,{name}") } else { name })?;
    }
    Ok(())
}

/// The groups of one node.
#[derive(Debug, Clone)]
pub(crate) struct NodeGroups {
    dirs: Vec<PathBuf>,
}

impl NodeGroups {
    /// Makes them, in place of what a former node of this name has left.
    pub(crate) fn make(node: &str) -> Result<Self> {
        let dirs: Vec<_> = names().iter().map(|name| directory(name).join(node)).collect();
        let this = Self { dirs };
        this.remove()?;
        this.dirs.iter().try_for_each(|dir| make_group(dir))?;
        Ok(this)
    }

    /// To make processes enter.
    pub(crate) fn doors(&self) -> Result<Doors> {
        Doors::open(&self.dirs)
    }

    /// Every process of the node, those of its pods as well.
    pub(crate) fn processes(&self) -> Vec<i32> {
        self.first("").map(|dir| processes_below(&dir)).unwrap_or_default()
    }

    /// A process of the container with this id.
    pub(crate) fn process_of(&self, container: &str) -> Option<i32> {
        let dir = find_below(&self.first("")?, container)?;
        processes_below(&dir).first().copied()
    }

    /// A file or directory of the node's group in the hierarchy called `name`; in any of them for
    /// an empty name.
    pub(crate) fn first(&self, name: &str) -> Option<PathBuf> {
        let wanted = |dir: &&PathBuf| name.is_empty() || dir.starts_with(directory(name));
        self.dirs.iter().find(wanted).cloned()
    }

    /// Removes them; no process may be left but dying ones.
    pub(crate) fn remove(&self) -> Result<()> {
        remove_all(&self.dirs)
    }
}

fn subdirectories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| entry.path()).collect()
}

fn processes_below(dir: &Path) -> Vec<i32> {
    let own = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let mut all: Vec<_> = own.lines().filter_map(|line| line.parse().ok()).collect();
    all.extend(subdirectories(dir).iter().flat_map(|dir| processes_below(dir)));
    all
}

fn find_below(dir: &Path, name: &str) -> Option<PathBuf> {
    let dirs = subdirectories(dir);
    let found = dirs.iter().find(|dir| dir.ends_with(name)).cloned();
    found.or_else(|| dirs.iter().find_map(|dir| find_below(dir, name)))
}
