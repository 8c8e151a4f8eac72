//! What comes from the system: Debian installs it, elsewhere its absence is explained.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::step;
use crate::tools::Set;
use crate::workspace::{has_program, is_root, output_of, tool};

/// Programs of the lab, and the Debian packages that hold them.
const LAB_TOOLS: [(&str, &str); 10] = [
    ("iproute2", "ip"),
    ("ethtool", "ethtool"),
    ("nftables", "nft"),
    ("iptables", "iptables"),
    ("conntrack", "conntrack"),
    ("ipset", "ipset"),
    ("bpftool", "bpftool"),
    ("iputils-ping", "ping"),
    ("tcpdump", "tcpdump"),
    ("procps", "sysctl"),
];

/// What a cluster of kubelets runs beside the programs of `cargo xtask tools`.
const CLUSTER_TOOLS: [(&str, &str); 1] = [("runc", "runc")];

/// What the images of Kubernetes' own tests are made with.
const E2E_TOOLS: [(&str, &str); 1] = [("openssl", "openssl")];

/// What boots other kernels, and what their archives are unpacked and packed with.
const KERNEL_TOOLS: [(&str, &str); 7] = [
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("busybox-static", "busybox"),
    ("cpio", "cpio"),
    ("kmod", "depmod"),
    ("xz-utils", "xz"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
];

/// How one can see that a package's content is there, whatever brought it.
pub(crate) enum Proof {
    /// A program on the path.
    Program(&'static str),
    /// A file.
    File(PathBuf),
}

/// Something that a Debian package provides.
pub(crate) struct Need {
    pub(crate) package: String,
    pub(crate) proof: Proof,
}

impl Need {
    fn is_met(&self) -> bool {
        match &self.proof {
            Proof::Program(name) => has_program(name),
            Proof::File(path) => path.exists(),
        }
    }

    fn described(&self) -> String {
        match &self.proof {
            Proof::Program(name) => format!("program `{name}`"),
            Proof::File(path) => path.display().to_string(),
        }
    }
}

/// What the lab runs.
pub(crate) fn lab_tools() -> Vec<Need> {
    programs(&LAB_TOOLS)
}

/// What `cargo xtask test --kernels` runs.
pub(crate) fn kernel_tools() -> Vec<Need> {
    programs(&KERNEL_TOOLS)
}

/// What a cluster of kubelets needs more.
pub(crate) fn cluster_tools(set: Set) -> Vec<Need> {
    let more: &[_] = match set {
        Set::Chart | Set::Daily => return Vec::new(),
        Set::Cluster => &[],
        Set::E2e => &E2E_TOOLS,
    };
    let mut needs = programs(&CLUSTER_TOOLS);
    needs.extend(programs(more));
    needs
}

fn programs(list: &[(&str, &'static str)]) -> Vec<Need> {
    let need = |&(package, program): &(&str, &'static str)| Need {
        package: package.to_owned(),
        proof: Proof::Program(program),
    };
    list.iter().map(need).collect()
}

/// Installs the packages whose content is missing.
pub(crate) fn install(needs: &[Need]) -> Result<()> {
    let missing = needs.iter().filter(|need| !need.is_met()).collect::<Vec<_>>();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        println!("setup: Debian package {}: missing ({})", need.package, need.described());
    }
    let packages = missing.iter().map(|need| need.package.as_str()).collect::<Vec<_>>();
    if !has_program("apt-get") {
        bail!("{}", elsewhere(&packages));
    }
    if !is_root() {
        bail!("{}", by_hand(&packages));
    }
    install_as_root(&packages)?;
    still_missing(&missing)
}

fn install_as_root(packages: &[&str]) -> Result<()> {
    step::run("setup: apt-get update", tool("apt-get").args(["-q", "update"]))?;
    let unknown = packages.iter().filter(|name| !has_candidate(name)).copied().collect::<Vec<_>>();
    if !unknown.is_empty() {
        bail!("{}", no_candidate(&unknown));
    }
    let mut command = tool("apt-get");
    command
        .args(["-q", "-y", "--no-install-recommends", "install"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    step::run("setup: apt-get install", &mut command)
}

/// Whether apt could install `package` from the archives that it knows.
fn has_candidate(package: &str) -> bool {
    let policy = output_of(tool("apt-cache").args(["policy", package]).env("LC_ALL", "C"));
    policy.is_some_and(|policy| names_candidate(&policy))
}

fn names_candidate(policy: &str) -> bool {
    policy.lines().any(|line| {
        line.trim().strip_prefix("Candidate: ").is_some_and(|version| version != "(none)")
    })
}

/// apt said yes, but the file is not where it was expected: better to stop here than in a build.
fn still_missing(needs: &[&Need]) -> Result<()> {
    if let Some(need) = needs.iter().find(|need| !need.is_met()) {
        bail!(
            "{} is installed, but {} is still missing: look with `dpkg -L {}`",
            need.package,
            need.described(),
            need.package
        );
    }
    Ok(())
}

fn by_hand(packages: &[&str]) -> String {
    format!(
        "installing Debian packages needs root. Run this, then repeat the command:\n    \
         sudo apt-get update && sudo apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

fn elsewhere(packages: &[&str]) -> String {
    format!(
        "this is not Debian (no apt-get). Install what holds the files named above (on Debian: \
         {}) with your own package manager, then repeat the command. An LLVM in another folder is \
         used when LLVM_PREFIX names it",
        packages.join(" ")
    )
}

fn no_candidate(packages: &[&str]) -> String {
    let mut text = format!("no archive that apt knows has {}. ", packages.join(", "));
    // Only what bpf-linker is built against ends so.
    if packages.iter().any(|name| name.ends_with("-dev")) {
        text += "It must be the LLVM version that rustc was built with (`rustc -vV`). Debian keeps \
                 recent ones in its security archive: see that /etc/apt/sources.list.d names your \
                 release's -security suite (for Debian 12: `deb \
                 http://deb.debian.org/debian-security bookworm-security main`). On another \
                 distribution install that LLVM's development files and set LLVM_PREFIX to their \
                 folder";
    } else {
        text +=
            "Look at the distribution's name for it, install it by hand, and repeat the command";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_without_candidate_cannot_be_installed() {
        assert!(!names_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"));
        assert!(!names_candidate(""));
    }

    #[test]
    fn a_package_with_candidate_can_be_installed() {
        assert!(names_candidate("x:\n  Installed: (none)\n  Candidate: 1:22.1.8-1\n"));
    }

    #[test]
    fn a_missing_llvm_names_the_archive_that_has_it() {
        assert!(no_candidate(&["libpolly-22-dev"]).contains("bookworm-security"));
        assert!(!no_candidate(&["ethtool"]).contains("bookworm-security"));
    }

    #[test]
    fn the_hint_for_a_plain_user_is_a_command_to_paste() {
        assert!(by_hand(&["ethtool", "tcpdump"]).ends_with("ethtool tcpdump"));
    }
}
