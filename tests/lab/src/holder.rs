//! What the first process of the lab and the holder of each node do to their own mounts, so that
//! every path of a real node is there and private.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::sethostname;

use crate::go_tools;
use crate::paths;
use crate::process::checked;
use crate::sandbox::private_mounts;

/// Prepares the lab's own namespaces. Called once, by process 1.
///
/// # Errors
/// When a mount is refused.
pub fn prepare_lab() -> Result<()> {
    fresh("proc", "/proc", "")?;
    let binaries = binaries_dir()?;
    // Held open: the mount below may hide its path.
    let binaries = fs::File::open(&binaries).with_context(|| format!("{}", binaries.display()))?;
    let programs = go_tools::open_all()?;
    fresh_sys()?;
    fresh("tmpfs", paths::LAB, "mode=0755")?;
    for dir in paths::DIRECTORIES {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
    }
    go_tools::bind_all(&programs, bind)?;
    bind(Path::new(&format!("/proc/self/fd/{}", binaries.as_raw_fd())), paths::BINARIES)?;
    fresh("tmpfs", "/tmp", "mode=1777")?;
    fresh("tmpfs", "/run", "mode=0755")?;
    sethostname("lab")?;
    loopback_up()
}

/// The directory of this program, where cargo puts its siblings.
fn binaries_dir() -> Result<PathBuf> {
    let exe = fs::read_link("/proc/self/exe").context("cannot find this program's own path")?;
    let dir = exe.parent().context("this program has no directory")?;
    // A test binary lies one directory deeper.
    let dir = if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir };
    // A lab inside a lab does not see that path any more.
    Ok(if dir.is_dir() { dir.to_owned() } else { PathBuf::from(paths::BINARIES) })
}

/// The holder of a node's namespaces: prepares them, says `ready`, then sleeps until the lab
/// closes its standard input.
///
/// # Errors
/// When a mount is refused.
pub fn hold(name: &str, plain: bool) -> Result<()> {
    private_mounts()?;
    sethostname(name)?;
    fresh_sys()?;
    if !plain {
        node_mounts(name)?;
    }
    loopback_up()?;
    println!("ready");
    io::stdout().flush()?;
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Every path of a real node that the product writes to, private to this node.
fn node_mounts(name: &str) -> Result<()> {
    fresh("bpf", "/sys/fs/bpf", "")?;
    for dir in ["/run", "/var/lib", "/opt"] {
        fresh("tmpfs", dir, "mode=0755")?;
    }
    let own = Path::new(paths::NODES).join(name);
    let (upper, work) = (own.join("etc"), own.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    fresh("overlay", "/etc", &options)?;
    for dir in ["/run/netns", "/run/flannel", "/opt/cni/bin", "/etc/cni/net.d", "/etc/kube-flannel"]
    {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
    }
    Ok(())
}

/// A sysfs that shows this network namespace, without what was mounted below the old one.
fn fresh_sys() -> Result<()> {
    while umount2("/sys", MntFlags::MNT_DETACH).is_ok() {}
    fresh("sysfs", "/sys", "")
}

fn fresh(kind: &str, target: &str, options: &str) -> Result<()> {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(options))
        .with_context(|| format!("cannot mount {kind} on {target}"))
}

fn bind(source: &Path, target: &str) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("cannot bind {} to {target}", source.display()))
}

fn loopback_up() -> Result<()> {
    checked(std::process::Command::new("ip").args(["link", "set", "lo", "up"])).map(drop)
}
