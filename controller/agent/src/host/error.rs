//! What can go wrong with the host's network.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes and errors are an open set: what is not asked for is passed over"
)]

use std::io;

use thiserror::Error;

/// A failure that says what was tried and what to do.
#[derive(Debug, Error)]
pub enum HostError {
    /// No interface fits the flags.
    #[error("{0}")]
    NoUplink(String),
    /// A link of the overlay's name is something else.
    #[error(
        "the device {name} exists but is {found}: if flannel runs with it, set Backend.VNI and \
         Backend.Port of net-conf.json to its values; if nothing uses it any more, remove it with \
         `ip link del {name}`"
    )]
    ForeignOverlay {
        /// Its name.
        name: String,
        /// What it is.
        found: String,
    },
    /// Somebody else has the tunnel's port.
    #[error(
        "UDP port {port} is in use: find its owner with `ss -ulpn 'sport = :{port}'`, \
         or set Backend.Port on every node"
    )]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// The kernel does not let us.
    #[error("{what}: permission denied; run as root or with CAP_NET_ADMIN")]
    Permission {
        /// What was tried.
        what: String,
    },
    /// The kernel refused something else.
    #[error("{what}: {cause}")]
    Netlink {
        /// What was tried.
        what: String,
        /// What the kernel said.
        cause: String,
    },
    /// A file or socket could not be used.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

/// The error number behind a netlink error, if the kernel sent one.
pub(super) fn errno(error: &rtnetlink::Error) -> Option<i32> {
    match error {
        rtnetlink::Error::NetlinkError(message) => Some(message.raw_code().abs()),
        _ => None,
    }
}

impl HostError {
    /// Wraps what the kernel said to a request.
    pub(super) fn netlink(what: impl Into<String>, error: &rtnetlink::Error) -> Self {
        let what = what.into();
        match errno(error) {
            Some(nix::libc::EPERM | nix::libc::EACCES) => Self::Permission { what },
            Some(code) => {
                Self::Netlink { what, cause: io::Error::from_raw_os_error(code).to_string() }
            }
            None => Self::Netlink { what, cause: error.to_string() },
        }
    }
}
