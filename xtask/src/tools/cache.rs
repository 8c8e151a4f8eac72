//! The cache of what is built for tests, outside the tree: a fresh clone does not build it again.

use std::env;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The parts of the cache.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Programs, linked in `bin/`.
    Tools,
    /// Image archives, linked beside their builds.
    Images,
    /// Kernels to boot, linked beside their builds.
    Kernels,
}

/// One part of the cache, while no other `xtask` writes to it.
pub(crate) struct Cache {
    root: PathBuf,
    links: PathBuf,
    /// Locked until it is dropped.
    _lock: File,
}

impl Place {
    fn root(self) -> PathBuf {
        base().join(match self {
            Self::Tools => "tools",
            Self::Images => "images",
            Self::Kernels => "kernels",
        })
    }

    /// Where the links to what this tree asks for are.
    pub(crate) fn links(self) -> PathBuf {
        match self {
            Self::Tools => self.root().join("bin"),
            Self::Images | Self::Kernels => self.root(),
        }
    }

    /// Whether the build of this name is there. It came by rename, so it is whole, whoever builds
    /// others meanwhile.
    pub(crate) fn has(self, key: &str) -> bool {
        self.root().join(key).is_dir()
    }

    /// Where the link of this name leads, if there is one.
    pub(crate) fn link(self, name: &str) -> Option<PathBuf> {
        fs::read_link(self.links().join(name)).ok()
    }
}

/// `$TARTAN_CACHE`, by default in the user's cache folder.
fn base() -> PathBuf {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || env::home_dir().unwrap_or_else(|| PathBuf::from("/root"));
    let user = || named("XDG_CACHE_HOME").unwrap_or_else(|| home().join(".cache"));
    named("TARTAN_CACHE").unwrap_or_else(|| user().join("tartan"))
}

impl Cache {
    /// Opens it, waiting for another `xtask` that builds.
    pub(crate) fn open(place: Place) -> Result<Self> {
        Self::at(place.root(), place.links())
    }

    fn at(root: PathBuf, links: PathBuf) -> Result<Self> {
        let cannot = || {
            format!(
                "cannot write to the cache {}; TARTAN_CACHE names another folder",
                root.display()
            )
        };
        fs::create_dir_all(&links).with_context(cannot)?;
        let lock = File::create(root.join(".lock")).with_context(cannot)?;
        if lock.try_lock().is_err() {
            println!("waiting for another xtask, which builds in {}", root.display());
            lock.lock().with_context(cannot)?;
        }
        Ok(Self { root, links, _lock: lock })
    }

    /// Whether the build of this name is there. It came by rename, so it is whole.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.root.join(key).is_dir()
    }

    /// An empty folder for a build under way; what an interrupted one left is gone.
    pub(crate) fn scratch(&self) -> Result<PathBuf> {
        let dir = self.root.join(".building");
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot empty {}", dir.display()));
            }
            Ok(()) | Err(_) => {}
        }
        fs::create_dir(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(dir)
    }

    /// Keeps a finished build under this name.
    pub(crate) fn keep(&self, scratch: &Path, key: &str) -> Result<()> {
        let place = self.root.join(key);
        fs::rename(scratch, &place).with_context(|| format!("cannot make {}", place.display()))
    }

    /// The folder of links.
    pub(crate) fn links(&self) -> &Path {
        &self.links
    }

    /// Lets the link of this name lead to `target`, replacing an older one in one step.
    pub(crate) fn link(&self, name: &str, target: &Path) -> Result<()> {
        let link = self.links.join(name);
        if fs::read_link(&link).is_ok_and(|old| old == target) {
            return Ok(());
        }
        let new = self.links.join(".new");
        let _ = fs::remove_file(&new);
        symlink(target, &new)
            .and_then(|()| fs::rename(&new, &link))
            .with_context(|| format!("cannot make the link {}", link.display()))
    }

    /// Takes the link of this name away: what it leads to is not what this tree asks for.
    pub(crate) fn unlink(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.links.join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove the link {name}"))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(name: &str) -> Cache {
        let dir = env::temp_dir().join(format!("xtask-cache-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Cache::at(dir.clone(), dir.join("bin")).unwrap()
    }

    #[test]
    fn a_half_built_group_is_not_there_and_a_kept_one_is() {
        let cache = empty("half");
        let half = cache.scratch().unwrap();
        fs::write(half.join("program"), "half").unwrap();
        assert!(!cache.has("etcd-1"));
        let again = cache.scratch().unwrap();
        assert!(!again.join("program").exists());
        fs::write(again.join("program"), "whole").unwrap();
        cache.keep(&again, "etcd-1").unwrap();
        assert!(cache.has("etcd-1"));
        fs::remove_dir_all(&cache.root).unwrap();
    }

    #[test]
    fn a_link_follows_the_version() {
        let cache = empty("link");
        for key in ["a", "b"] {
            let dir = cache.scratch().unwrap();
            fs::write(dir.join("x"), key).unwrap();
            cache.keep(&dir, key).unwrap();
            cache.link("x", Path::new(&format!("../{key}/x"))).unwrap();
            assert_eq!(fs::read_to_string(cache.links().join("x")).unwrap(), key);
        }
        cache.unlink("x").unwrap();
        cache.unlink("x").unwrap();
        assert!(!cache.links().join("x").exists());
        fs::remove_dir_all(&cache.root).unwrap();
    }
}
