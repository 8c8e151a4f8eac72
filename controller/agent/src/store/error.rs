//! Why a store could not do what was asked; every text ends with what to do.

use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tartan_core::PodCidr;
use tartan_core::alloc::OutOfSubnets;
use thiserror::Error;

use super::NoticeKind;

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
    /// A directory holds IPv4 leases alone.
    #[error(
        "--lease-dir holds IPv4 leases, and EnableIPv4 is false: keep leases in the Kubernetes API \
         (--kube-subnet-mgr), or enable IPv4"
    )]
    NeedsIpv4,
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
    /// The configuration of the Kubernetes client is wrong. The beginning is flannel's wording.
    #[error("fail to create kubernetes config: {0}")]
    KubeConfig(String),
    /// The agent's own Pod does not tell the node's name. The wording is flannel's.
    #[error("{0}: set NODE_NAME (fieldRef spec.nodeName), or let the agent read its own Pod")]
    PodSpec(String),
    /// The Kubernetes API has not told us of the cluster yet.
    #[error("the Kubernetes API has not answered yet ({trouble}): check that this node reaches it")]
    NotSynced {
        /// What went wrong last.
        trouble: String,
    },
    /// There is no Node of our name.
    #[error(
        "there is no Node {node} in the cluster: register it (the kubelet does), or correct \
         NODE_NAME"
    )]
    NoNode {
        /// Our name.
        node: String,
    },
    /// The Node has no podCIDR. The beginning is flannel's wording.
    #[error(
        "node \"{node}\" pod cidr not assigned: start kube-controller-manager with \
         --allocate-node-cidrs=true --cluster-cidr={network}, or set spec.podCIDR of the Node"
    )]
    NoPodCidr {
        /// Our name.
        node: String,
        /// The pod network of net-conf.
        network: String,
    },
    /// The Node's podCIDR cannot be used.
    #[error("node \"{node}\": {what}")]
    PodCidrUnusable {
        /// Our name.
        node: String,
        /// What is wrong, and what to do.
        what: String,
    },
    /// The agent is stopping.
    #[error("the agent is stopping: start it again")]
    Stopping,
}

/// What a failure says of the store.
#[derive(PartialEq, Eq)]
enum Word {
    /// It has not answered yet.
    Silent,
    /// It answered that the node should not hold what it holds; the Event that tells of it.
    Objects(Option<NoticeKind>),
    /// It cannot be used.
    Broken,
}

impl StoreError {
    /// Whether waiting may help: nothing is wrong with the node itself.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.word() != Word::Broken
    }

    /// What the store has against what the node holds, where it was asked and answered.
    #[must_use]
    pub fn objection(&self) -> Option<String> {
        match self.word() {
            Word::Objects(_) => Some(self.to_string()),
            Word::Silent | Word::Broken => None,
        }
    }

    /// The kind of Event that an operator should see.
    #[must_use]
    pub fn notice_kind(&self) -> Option<NoticeKind> {
        match self.word() {
            Word::Objects(kind) => kind,
            Word::Silent | Word::Broken => None,
        }
    }

    fn word(&self) -> Word {
        match self {
            Self::NotSynced { .. } | Self::PodSpec(_) => Word::Silent,
            Self::NoNode { .. } => Word::Objects(None),
            Self::NoPodCidr { .. } => Word::Objects(Some(NoticeKind::PodCidrMissing)),
            Self::PodCidrUnusable { .. } => Word::Objects(Some(NoticeKind::PodCidrUnusable)),
            Self::Missing(_)
            | Self::NotADirectory(_)
            | Self::NotWritable { .. }
            | Self::Full { .. }
            | Self::NoHardLinks { .. }
            | Self::Io { .. }
            | Self::Conflict { .. }
            | Self::AddressInUse { .. }
            | Self::NeedsIpv4
            | Self::OutOfSubnets(_)
            | Self::Contended { .. }
            | Self::Locked { .. }
            | Self::KubeConfig(_)
            | Self::Stopping => Word::Broken,
        }
    }

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
