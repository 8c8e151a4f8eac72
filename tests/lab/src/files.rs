//! Programs and images that `cargo xtask` builds once into the user's cache, shown to the lab and
//! all its nodes under fixed paths.

use std::env;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::paths::{IMAGES, TOOLS};

/// Files of one directory, opened before the lab's own mounts can hide them.
#[derive(Debug)]
pub(crate) struct Opened {
    files: Vec<(String, File)>,
    target: &'static str,
}

impl Opened {
    /// The programs of `cargo xtask tools`.
    pub(crate) fn tools() -> Result<Self> {
        Self::all("TARTAN_TOOLS", "tools/bin", TOOLS)
    }

    /// The images' archives.
    pub(crate) fn images() -> Result<Self> {
        Self::all("TARTAN_IMAGES", "images", IMAGES)
    }

    /// From where the variable says, from this directory of the cache, or, in a lab inside a lab,
    /// from where the outer one bound them.
    fn all(variable: &str, below: &str, target: &'static str) -> Result<Self> {
        let cache = cache().map(|cache| cache.join(below));
        let candidates = [named(variable), cache, Some(PathBuf::from(target))];
        let dir = candidates.into_iter().flatten().find(|dir| dir.is_dir());
        let files = dir.map_or_else(|| Ok(Vec::new()), |dir| open_all(&dir))?;
        Ok(Self { files, target })
    }

    /// Binds them into their place with `bind(source, target)`.
    pub(crate) fn bind(&self, bind: fn(&Path, &str) -> Result<()>) -> Result<()> {
        for (name, file) in &self.files {
            let target = format!("{}/{name}", self.target);
            File::create(&target).with_context(|| format!("cannot make {target}"))?;
            bind(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())), &target)?;
        }
        Ok(())
    }
}

fn open_all(dir: &Path) -> Result<Vec<(String, File)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let entry = entry?;
        // A link without a target is something that somebody removed: it is not built.
        let file = File::open(entry.path()).ok();
        let file = file.filter(|file| file.metadata().is_ok_and(|data| data.is_file()));
        if let (Ok(name), Some(file)) = (entry.file_name().into_string(), file)
            && !name.starts_with('.')
        {
            files.push((name, file));
        }
    }
    Ok(files)
}

fn cache() -> Option<PathBuf> {
    let user = || named("XDG_CACHE_HOME").or_else(|| Some(env::home_dir()?.join(".cache")));
    named("TARTAN_CACHE").or_else(|| Some(user()?.join("tartan")))
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}
