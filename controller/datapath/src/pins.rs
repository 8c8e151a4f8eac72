//! Where everything is pinned.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::error::DatapathError;

/// Where the BPF file system is mounted.
pub const BPFFS: &str = "/sys/fs/bpf";
/// Everything of ours.
pub const ROOT: &str = "/sys/fs/bpf/tartan";

/// The pin of a map.
#[must_use]
pub fn map(name: &str) -> PathBuf {
    Path::new(ROOT).join("maps").join(name)
}

/// The pin of a program.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    Path::new(ROOT).join("programs").join(name)
}

/// The pin of a link to one of the node's own devices.
#[must_use]
pub fn node_link(program: &str) -> PathBuf {
    Path::new(ROOT).join("links").join(program)
}

/// The directory of the interfaces that have programs of ours by clsact.
pub(crate) fn clsact() -> PathBuf {
    Path::new(ROOT).join("clsact")
}

/// The directory of the pinned programs.
#[must_use]
pub fn programs() -> PathBuf {
    Path::new(ROOT).join("programs")
}

/// The directory of every pod's links.
#[must_use]
pub fn pod_links() -> PathBuf {
    Path::new(ROOT).join("links/pods")
}

/// The directory of the links of the pod behind `veth`.
#[must_use]
pub fn pod_link_dir(veth: &str) -> PathBuf {
    pod_links().join(veth)
}

/// Whether the BPF file system is where it belongs.
///
/// # Errors
/// [`DatapathError::NotBpffs`] when it is not.
pub fn require_bpffs() -> Result<(), DatapathError> {
    let is_bpffs = statfs(BPFFS).is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC);
    if is_bpffs { Ok(()) } else { Err(DatapathError::NotBpffs(BPFFS.into())) }
}

/// Makes the directories.
pub(crate) fn create_dirs() -> Result<(), DatapathError> {
    for dir in ["maps", "programs", "links/pods", "clsact"] {
        let path = Path::new(ROOT).join(dir);
        fs::create_dir_all(&path).map_err(|e| DatapathError::io("cannot create", &path, e))?;
    }
    Ok(())
}

/// Held while the agent and the CNI plugin must not be in each other's way.
pub(crate) type DirLock = Flock<File>;

/// Locks a directory of pins; the kernel lets go of it when the process ends.
pub(crate) fn lock(dir: &Path) -> Result<DirLock, DatapathError> {
    let file = File::open(dir).map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            DatapathError::NotSetUp(dir.to_owned())
        } else {
            DatapathError::io("cannot open", dir, error)
        }
    })?;
    Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| DatapathError::io("cannot lock", dir, errno.into()))
}

/// Whether somebody holds the lock of a directory of pins.
pub(crate) fn is_locked(dir: &Path) -> bool {
    File::open(dir).is_ok_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err())
}

/// Removes a pin; one that is gone is fine.
pub(crate) fn remove(path: &Path) -> Result<bool, DatapathError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DatapathError::io("cannot remove", path, error)),
    }
}
