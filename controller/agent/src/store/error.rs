//! Why a store could not do what was asked; every text ends with what to do.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tartan_core::PodCidr;
use tartan_core::alloc::OutOfSubnets;
use thiserror::Error;

const NOT_WRITABLE: [io::ErrorKind; 2] =
    [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
const NO_SPACE: [io::ErrorKind; 2] = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];

/// A store's failure; the store is unchanged.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The directory is not there.
    #[error("lease directory {} does not exist: create it, or correct --lease-dir", .0.display())]
    Missing(PathBuf),
    /// Something else is there.
    #[error("{} is not a directory: correct --lease-dir", .0.display())]
    NotADirectory(PathBuf),
    /// It cannot be written to.
    #[error(
        "lease directory {} cannot be written to ({source}): \
         give the agent write access to it, or correct --lease-dir", path.display()
    )]
    NotWritable {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No space is left, or the quota is used up.
    #[error("no space left for {} ({source}): free some space on that file system", path.display())]
    Full {
        /// The file that could not be written.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file system cannot claim a name atomically.
    #[error(
        "the file system of {} has no hard links ({source}): \
         put --lease-dir on a local file system or on NFS", path.display()
    )]
    NoHardLinks {
        /// The file that could not be linked.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else the kernel said.
    #[error("cannot {action} {} ({source}): correct the cause, the agent tries again", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Our subnet is another node's now.
    #[error(
        "lease {subnet} of node {ours} is held by node {theirs} now ({}): restart this agent to \
         take another subnet, or remove that file if {theirs} is gone", path.display()
    )]
    Conflict {
        /// The subnet.
        subnet: PodCidr,
        /// This node.
        ours: String,
        /// The node that holds it.
        theirs: String,
        /// The lease's file.
        path: PathBuf,
    },
    /// Another node, not long gone, has our address.
    #[error(
        "node address {address} is leased to node {theirs} already ({}): set --public-ip on one of \
         the two nodes, or remove that file if {theirs} is gone", path.display()
    )]
    AddressInUse {
        /// The address.
        address: Ipv4Addr,
        /// The node that published it first.
        theirs: String,
        /// The lease's file.
        path: PathBuf,
    },
    /// The network is full.
    #[error(transparent)]
    OutOfSubnets(#[from] OutOfSubnets),
    /// Others claimed every subnet that was tried.
    #[error("lost the race for {tries} subnets in a row: start the agent again")]
    Contended {
        /// How many were tried.
        tries: usize,
    },
    /// Another agent holds the lock for longer than any operation takes.
    #[error(
        "{} stayed locked for {seconds} s: find the agent that hangs while holding it \
         (`fuser {}`) and restart it", path.display(), path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        seconds: u64,
    },
    /// The agent is stopping.
    #[error("the agent is stopping: start it again")]
    Stopping,
}

impl StoreError {
    /// The error for what the kernel said while the agent tried to `action` the file `path`.
    #[must_use]
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if NOT_WRITABLE.contains(&source.kind()) {
            Self::NotWritable { path, source }
        } else if NO_SPACE.contains(&source.kind()) {
            Self::Full { path, source }
        } else {
            Self::Io { action, path, source }
        }
    }

    /// The error for a directory of leases that cannot be read.
    #[must_use]
    pub(super) fn unreadable(dir: &Path, source: io::Error) -> Self {
        let path = dir.to_owned();
        if source.kind() == io::ErrorKind::NotFound {
            Self::Missing(path)
        } else if source.kind() == io::ErrorKind::NotADirectory {
            Self::NotADirectory(path)
        } else {
            Self::Io { action: "read", path, source }
        }
    }
}
