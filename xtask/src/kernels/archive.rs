//! Kernels out of the Debian archive, by apt with a state of its own: the system's sources and
//! package database stay as they are, and nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::catalogue::{FLAVOUR, Kernel, Suite};
use crate::step;
use crate::workspace::{output_of, tool};

/// apt, looking at the suites of all kernels.
pub(super) struct Archive {
    config: PathBuf,
}

/// The newest packages of a kernel.
pub(super) struct Found {
    /// `6.12.117+deb13-cloud-amd64`.
    pub(super) release: String,
    /// The version of the packages.
    pub(super) version: String,
    packages: Vec<String>,
}

impl Archive {
    /// Reads the lists of packages into `dir`.
    pub(super) fn open(dir: &Path, kernels: &[&Kernel]) -> Result<Self> {
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        fs::write(dir.join("status"), "")?;
        fs::write(dir.join("sources.list"), sources(kernels)?)?;
        let config = dir.join("apt.conf");
        fs::write(&config, settings(dir))?;
        let archive = Self { config };
        step::run("kernels: apt-get update", archive.apt("apt-get").args(["-q", "update"]))?;
        Ok(archive)
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = tool(program);
        command.env("APT_CONFIG", &self.config).env("LC_ALL", "C");
        command
    }

    /// The newest release of a kernel.
    pub(super) fn newest(&self, kernel: &Kernel) -> Result<Found> {
        let names = output_of(self.apt("apt-cache").args(["pkgnames", "linux-"]));
        let names = names.context("apt-cache lists no packages")?;
        let first = kernel.packages.first().copied().unwrap_or_default();
        let releases = names.lines().filter_map(|name| release(name, first, kernel.release));
        let release = releases.max_by_key(|release| numbers(release)).with_context(|| {
            format!(
                "no suite has a package {first}{}*{FLAVOUR}: it may have left the archive",
                kernel.release
            )
        })?;
        let packages: Vec<_> =
            kernel.packages.iter().map(|prefix| format!("{prefix}{release}")).collect();
        let version = self.version(packages.first().map_or("", String::as_str))?;
        Ok(Found { release: release.to_owned(), version, packages })
    }

    fn version(&self, package: &str) -> Result<String> {
        let policy = output_of(self.apt("apt-cache").args(["policy", package]));
        let policy = policy.with_context(|| format!("apt-cache knows no {package}"))?;
        let line = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
        Ok(line.with_context(|| format!("{package} has no version"))?.to_owned())
    }

    /// Downloads the packages and unpacks them into `dir`.
    pub(super) fn unpack(&self, found: &Found, dir: &Path) -> Result<()> {
        let debs = dir.join("debs");
        fs::create_dir_all(&debs)?;
        let title = format!("kernels: download {}", found.release);
        let mut command = self.apt("apt-get");
        command.args(["-q", "download"]).args(&found.packages).current_dir(&debs);
        step::run(&title, &mut command)?;
        for deb in fs::read_dir(&debs)? {
            let status = tool("dpkg-deb").arg("-x").arg(deb?.path()).arg(dir).status()?;
            if !status.success() {
                bail!("dpkg-deb cannot unpack {}: {status}", found.release);
            }
        }
        Ok(fs::remove_dir_all(&debs)?)
    }
}

/// The release in a package's name, if it is one of this kernel's.
fn release<'a>(package: &'a str, prefix: &str, line: &str) -> Option<&'a str> {
    let release = package.strip_prefix(prefix)?;
    let is_it = release.starts_with(line) && release.ends_with(FLAVOUR);
    is_it.then_some(release)
}

/// What releases are compared by.
fn numbers(release: &str) -> Vec<u32> {
    let numbers = release.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

fn settings(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"-\";\n\
         Dir::State::lists \"{dir}/lists\";\nDir::State::status \"{dir}/status\";\n\
         Dir::Cache \"{dir}/cache\";\nAcquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n"
    )
}

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The same servers that the system uses, with the suites that have kernels.
fn sources(kernels: &[&Kernel]) -> Result<String> {
    if !Path::new(KEYRING).exists() {
        bail!("{KEYRING} is missing: the kernels come from the Debian archive");
    }
    let arguments = ["indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"];
    let known = output_of(tool("apt-get").args(arguments)).context("apt-get names no archive")?;
    let (main, security) = servers(&known)
        .context("apt's sources name no release of Debian with its -security suite")?;
    let line = |kernel: &&Kernel| match kernel.suite {
        Suite::Main(suite) => format!("deb [signed-by={KEYRING}] {main} {suite} main\n"),
        Suite::Security(suite) => format!("deb [signed-by={KEYRING}] {security} {suite} main\n"),
    };
    let mut lines: Vec<_> = kernels.iter().map(line).collect();
    lines.sort();
    lines.dedup();
    Ok(lines.concat())
}

/// The servers of the release and of its security suite.
fn servers(known: &str) -> Option<(&str, &str)> {
    let lines = || known.lines().filter_map(|line| line.split_once(' '));
    let (suite, security) = lines().find(|(suite, _)| suite.ends_with("-security"))?;
    let release = suite.strip_suffix("-security")?;
    let (_, main) = lines().find(|(suite, _)| *suite == release)?;
    Some((main, security))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_line_is_not_another_one_that_begins_alike() {
        let of = |package| release(package, "linux-image-", "6.1.");
        assert_eq!(of("linux-image-6.1.0-56-cloud-amd64"), Some("6.1.0-56-cloud-amd64"));
        assert_eq!(of("linux-image-6.12.1+deb13-cloud-amd64"), None);
        assert_eq!(of("linux-image-6.1.0-56-amd64"), None);
    }

    #[test]
    fn releases_are_compared_by_their_numbers() {
        assert!(numbers("6.12.117+deb13-cloud-amd64") > numbers("6.12.99+deb13-cloud-amd64"));
        assert!(numbers("5.10.0-46-cloud-amd64") > numbers("5.10.0-9-cloud-amd64"));
    }

    #[test]
    fn the_systems_own_servers_are_asked() {
        let known = "nodistro http://c/\nbookworm http://a/\nbookworm-security http://b/\n";
        assert_eq!(servers(known), Some(("http://a/", "http://b/")));
        assert_eq!(servers("bookworm http://a/\n"), None);
    }
}
