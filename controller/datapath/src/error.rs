//! What can go wrong between userspace and the kernel's half.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// A failure that names the object, the cause, and what to do.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// No BPF file system where the pins belong.
    #[error("{} is not a BPF file system: mount it with `mount -t bpf bpf /sys/fs/bpf`", .0.display())]
    NotBpffs(PathBuf),
    /// Nothing is pinned: the agent did not run since the node booted.
    #[error(
        "{} is missing: tartand has not set up this node's data path since it booted; \
         start tartand and look at its log", .0.display()
    )]
    NotSetUp(PathBuf),
    /// The kernel does not let us.
    #[error("{what}: permission denied; run as root or with CAP_BPF and CAP_NET_ADMIN")]
    Permission {
        /// What was tried.
        what: String,
    },
    /// The verifier refuses a program to a process without `CAP_PERFMON`.
    #[error(
        "{what}: the verifier of this kernel refuses it without CAP_PERFMON, as those before 6.17 \
         do: add PERFMON to the capabilities of the container, beside BPF and NET_ADMIN ({cause})"
    )]
    NeedsPerfmon {
        /// What was tried.
        what: String,
        /// What the verifier said.
        cause: String,
    },
    /// The pinned maps are of another layout.
    #[error(
        "the pinned maps have layout {found}, this build has {expected}: \
         install the matching build, or drain the node, run `tartanctl cleanup` and start again"
    )]
    Layout {
        /// What is pinned.
        found: u64,
        /// What this build understands.
        expected: u64,
    },
    /// The kernel is older than anything that is tested.
    #[error(
        "Linux {release} is too old: Tartan needs 5.15 or later; install a newer kernel and boot \
         it, or keep pods off this node"
    )]
    KernelTooOld {
        /// What `uname -r` says.
        release: String,
    },
    /// The kernel has not what nothing can stand in for.
    #[error(
        "Linux {release} lacks {what}: boot a kernel of 5.15 or later that is built with \
         CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF and CONFIG_INET, or keep pods off this node"
    )]
    KernelLacks {
        /// What `uname -r` says.
        release: String,
        /// Names of helpers.
        what: String,
    },
    /// A pin, directory or file could not be handled.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A map is full.
    #[error("the map {map} is full: {what} did not fit")]
    Full {
        /// Name of the map.
        map: &'static str,
        /// The entry.
        what: String,
    },
    /// The kernel refused something else.
    #[error("{what}: {cause}")]
    Kernel {
        /// What was tried.
        what: String,
        /// What the kernel said.
        cause: String,
    },
}

impl DatapathError {
    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::PermissionDenied {
            return Self::Permission { what: format!("{what} {}", path.display()) };
        }
        Self::Io { what, path, source }
    }

    /// Wraps an error of aya, whose causes say more than its head line.
    pub(crate) fn kernel(
        what: impl Into<String>,
        error: &(dyn std::error::Error + 'static),
    ) -> Self {
        let what = what.into();
        let mut cause = error.to_string();
        let mut next = error.source();
        while let Some(inner) = next {
            let denied = inner
                .downcast_ref::<io::Error>()
                .is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
            if denied {
                return Self::Permission { what };
            }
            let text = inner.to_string();
            if !cause.contains(&text) {
                cause = format!("{cause}: {text}");
            }
            next = inner.source();
        }
        Self::Kernel { what, cause }
    }
}
