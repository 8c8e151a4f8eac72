//! Debian packages as files: fetched and unpacked, never installed.
//!
//! apt works on a state of its own in which nothing is installed, so it names all that a package
//! depends on, and this system's packages stay as they are.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::step;
use crate::workspace::{has_program, tool};

/// What a container has no use for.
const NEEDLESS: [&str; 4] = ["usr/share", "var", "usr/lib/systemd", "etc/init.d"];
/// Folders that newer packages reach by another path.
const MERGED: [(&str, &str); 4] =
    [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")];

/// Where packages are fetched to.
const FETCHED: &str = "fetched";
/// Always empty: apt does not name the files that it has already.
const NOTHING: &str = "nothing";

/// A folder with fetched packages.
pub(crate) struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// An empty one.
    pub(crate) fn new(folder: PathBuf) -> Result<Self> {
        if !has_program("apt-get") || !has_program("dpkg-deb") {
            bail!(
                "the test images are made of Debian packages, and apt-get or dpkg-deb is missing: \
                 run this on Debian or Ubuntu"
            );
        }
        for archives in [FETCHED, NOTHING] {
            fs::create_dir_all(folder.join(archives).join("partial"))
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        File::create(folder.join("status")).context("cannot write the state for apt")?;
        Ok(Self { folder })
    }

    /// Removes what was fetched.
    pub(crate) fn remove(self) -> Result<()> {
        fs::remove_dir_all(&self.folder)
            .with_context(|| format!("cannot remove {}", self.folder.display()))
    }

    /// Unpacks packages, with all that they depend on, into a root file system.
    pub(crate) fn unpack_with_dependencies(&self, names: &[&str], root: &Path) -> Result<()> {
        for (link, folder) in MERGED {
            fs::create_dir_all(root.join(folder))?;
            if !root.join(link).exists() {
                std::os::unix::fs::symlink(folder, root.join(link))?;
            }
        }
        for file in self.fetch(names)? {
            unpack(&self.fetched(&file), root)?;
        }
        for needless in NEEDLESS {
            let path = root.join(needless);
            if path.exists() {
                fs::remove_dir_all(&path)
                    .with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Unpacks one package alone; returns the folder.
    pub(crate) fn unpack_alone(&self, name: &str) -> Result<PathBuf> {
        let root = self.folder.join("alone").join(name);
        if !root.exists() {
            let own = format!("{name}_");
            let files = self.fetch(&[name])?;
            let file = files.iter().find(|file| file.starts_with(&own));
            let file = file.with_context(|| format!("apt fetched no package {name}"))?;
            fs::create_dir_all(&root)?;
            unpack(&self.fetched(file), &root)?;
        }
        Ok(root)
    }

    fn fetched(&self, file: &str) -> PathBuf {
        self.folder.join(FETCHED).join(file)
    }

    /// Fetches packages and what they depend on; returns the files' names.
    fn fetch(&self, names: &[&str]) -> Result<BTreeSet<String>> {
        let mut said =
            self.apt(&["--print-uris"], NOTHING, names).output().context("cannot start apt-get")?;
        if !said.status.success() {
            // A fresh system knows no package at all.
            step::run("images: apt-get update", tool("apt-get").args(["-q", "update"]))?;
            said = self.apt(&["--print-uris"], NOTHING, names).output()?;
        }
        if !said.status.success() {
            bail!("apt-get knows not all of {names:?}: {}", String::from_utf8_lossy(&said.stderr));
        }
        let files = files(&String::from_utf8_lossy(&said.stdout));
        if files.iter().any(|file| !self.fetched(file).exists()) {
            let title = format!("images: Debian packages ({})", names.join(" "));
            step::run(&title, &mut self.apt(&["--download-only", "-y"], FETCHED, names))?;
        }
        Ok(files)
    }

    fn apt(&self, words: &[&str], archives: &str, names: &[&str]) -> Command {
        let set = |key: &str, value: &str| format!("--option={key}={value}");
        let folder = self.folder.to_string_lossy();
        let mut command = tool("apt-get");
        command.args(["-q", "--no-install-recommends"]).args(words);
        command.args([
            set("Dir::State::status", &format!("{folder}/status")),
            set("Dir::Cache::archives", &format!("{folder}/{archives}")),
            // The system's own index of packages is not rewritten for this state.
            set("Dir::Cache::pkgcache", ""),
            set("Dir::Cache::srcpkgcache", ""),
            set("Debug::NoLocking", "true"),
            set("APT::Sandbox::User", "root"),
        ]);
        command.arg("install").args(names).env("LC_ALL", "C");
        command
    }
}

/// The files' names in what `apt-get --print-uris` says: `'URI' FILE SIZE HASH` a line.
fn files(said: &str) -> BTreeSet<String> {
    said.lines()
        .filter(|line| line.starts_with('\''))
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(str::to_owned)
        .collect()
}

/// As `dpkg-deb -x`, which would put folders in the place of links to folders.
fn unpack(package: &Path, root: &Path) -> Result<()> {
    let mut files = tool("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start dpkg-deb")?;
    let archive = files.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = tool("tar");
    tar.args(["--extract", "--keep-directory-symlink", "--directory"]).arg(root).stdin(archive);
    let unpacked = tar.output().context("cannot start tar")?;
    if !files.wait()?.success() || !unpacked.status.success() {
        let said = String::from_utf8_lossy(&unpacked.stderr);
        bail!("cannot unpack {}: {said}", package.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_read_from_what_apt_says() {
        let said = "Reading package lists...\nThe following NEW packages will be installed:\n  bash\n\
                    'http://deb.example.test/pool/b/bash_5.2%2bb1_amd64.deb' bash_5.2+b1_amd64.deb 7 \
                    MD5Sum:1\n'http://deb.example.test/a.deb' a_1%3a2_amd64.deb 7 SHA256:2\n";
        let files: Vec<_> = files(said).into_iter().collect();
        assert_eq!(files, ["a_1%3a2_amd64.deb", "bash_5.2+b1_amd64.deb"]);
    }
}
