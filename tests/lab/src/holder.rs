//! What the first process of the lab and the holder of each node do to their own mounts, so that
//! every path of a real node is there and private.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::sethostname;

use crate::cgroups;
use crate::files::Opened;
use crate::paths;
use crate::process::checked;
use crate::sandbox::private_mounts;

/// What a host of the lab has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// No node: the lab's file system.
    Outsider,
    /// A node on which the lab itself plays the container runtime.
    Node,
    /// A node with a kubelet: control groups as well, and disks that outlast a reboot.
    Kubelet,
}

/// Prepares the lab's own namespaces. Called once, by process 1.
///
/// # Errors
/// When a mount is refused.
pub fn prepare_lab() -> Result<()> {
    fresh("proc", "/proc", "")?;
    let binaries = binaries_dir()?;
    // Held open: the mount below may hide its path.
    let binaries = fs::File::open(&binaries).with_context(|| format!("{}", binaries.display()))?;
    let (programs, images) = (Opened::tools()?, Opened::images()?);
    fresh_sys()?;
    if cgroups::wanted() {
        cgroups::mount_all()?;
        // Programs that keep state of their own run here, and take it from anywhere.
        read_only_root()?;
    }
    fresh("tmpfs", paths::LAB, "mode=0755")?;
    for dir in paths::DIRECTORIES {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
    }
    programs.bind(bind)?;
    images.bind(bind)?;
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
pub fn hold(name: &str, kind: Kind) -> Result<()> {
    private_mounts()?;
    sethostname(name)?;
    fresh_sys()?;
    match kind {
        Kind::Outsider => {}
        Kind::Node => node_mounts(name)?,
        Kind::Kubelet => kubelet_mounts(name)?,
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
    own_etc(&Path::new(paths::NODES).join(name))?;
    for dir in ["/run/netns", "/run/flannel", "/opt/cni/bin", "/etc/cni/net.d", "/etc/kube-flannel"]
    {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {dir}"))?;
    }
    Ok(())
}

/// An /etc that shows the machine's and keeps what is written below `own`.
fn own_etc(own: &Path) -> Result<()> {
    let (upper, work) = (own.join("etc"), own.join("work"));
    fs::create_dir_all(&upper)?;
    fs::create_dir_all(&work)?;
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
    fresh("overlay", "/etc", &options)
}

/// The kernel's name for the time since the last boot.
pub const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Kernel settings that a kubelet sets for the whole machine. It finds its wish in a file over
/// each, and leaves the machine's as they are.
const KUBELET_SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// A machine of its own: its disks lie on the lab's tmpfs and outlast this holder, everything else
/// is as after a boot. The machine's own files can be read only.
fn kubelet_mounts(name: &str) -> Result<()> {
    cgroups::mount_all()?;
    fresh("bpf", "/sys/fs/bpf", "")?;
    fresh("tmpfs", "/run", "mode=0755")?;
    let own = Path::new(paths::NODES).join(name);
    for (disk, target) in [("lib", "/var/lib"), ("log", "/var/log"), ("opt", "/opt")] {
        let disk = own.join(disk);
        fs::create_dir_all(&disk)?;
        bind(&disk, target)?;
    }
    own_etc(&own)?;
    for (setting, wish) in KUBELET_SYSCTLS {
        let file = PathBuf::from(format!("/run/sysctl.{}", setting.replace('/', ".")));
        fs::write(&file, format!("{wish}\n"))?;
        bind(&file, &format!("/proc/sys/{setting}"))?;
    }
    new_boot_id()?;
    read_only_root()?;
    let flags = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("cannot share the mounts")
}

/// By this a kubelet knows that its machine was down.
fn new_boot_id() -> Result<()> {
    let id = fs::read("/proc/sys/kernel/random/uuid")?;
    fs::write("/run/boot_id", id)?;
    bind(Path::new("/run/boot_id"), BOOT_ID)
}

/// No program of the node can change a file of the machine.
fn read_only_root() -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context("cannot make the root file system read-only")
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
