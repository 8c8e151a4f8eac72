//! What the kernel's packet filter refuses.

use std::io;

/// Why the kernel's packet filter could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum NetfilterError {
    /// The kernel has no such engine.
    #[error("the kernel has no {0}")]
    Unsupported(&'static str),
    /// A socket or a file failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel refused a change; nothing was changed.
    #[error("the kernel refused to {what}: {source}")]
    Refused {
        /// What was tried.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was asked for cannot be written; nothing was changed.
    #[error("cannot {what}: {why}")]
    Unwritable {
        /// What was asked for.
        what: String,
        /// What stands against it.
        why: String,
    },
    /// The kernel's answer could not be understood.
    #[error("cannot understand the kernel's answer: {0}")]
    Malformed(String),
    /// Somebody else changed the rules at the same moment, again and again.
    #[error("the rules changed while they were read, {0} times in a row")]
    Busy(u32),
}
