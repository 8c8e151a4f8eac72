//! A mirror of the cluster's Node objects, kept by lists and watches: the decisions alone.
//!
//! No clock, no network and no Kubernetes client here. A driver asks [`Reflector::next`] what to
//! do, does it, and tells what came back. `now` is any monotonic time, as a [`Duration`] since
//! a moment of the driver's choice. The same inputs always lead to the same state.
//!
//! ```text
//! loop {
//!     match reflector.next(now) {
//!         Next::List(request)    => page(now, Page) | failed(now, Failure)
//!         Next::Watch { from }   => watch_opened(now) | failed(now, Failure)
//!         Next::Follow { until } => heard(now, WatchItem)*, then
//!                                   ended(now) | failed(now, Failure)
//!                                   or, if nothing came by `until`, failed(now, Failure::Stalled)
//!         Next::Wait { until }   => sleep
//!     }
//! }
//! ```
//!
//! # What holds
//! - The table changes only to something that an API server said, and never back to an older
//!   state: a list older than what was seen is refused, an event older than its record ignored.
//! - The pages of a list take effect together, deletions included, when the last has come.
//! - [`Reflector::generation`] grows when, and only when, a record differs in what matters (or
//!   the first list is complete): status updates and heartbeats change nothing.
//! - Whatever fails, the table stays as it was, and no request is sent sooner than the back-off
//!   allows. After a failure of the connection a watch goes on where it was; only a version that
//!   is gone (410) costs a list.

mod backoff;
mod decode;
mod failure;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod version;

use std::time::Duration;

pub use self::backoff::Backoff;
pub use self::decode::{DecodeError, parse_event, parse_page, parse_status};
pub use self::failure::Failure;
pub use self::state::Reflector;
pub use self::version::Version;
use crate::annotations::Observed;

/// The times and sizes of a reflector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReflectorConfig {
    /// Objects per page.
    pub page_limit: u32,
    /// The longest pause after the first failure; it doubles with each further one.
    pub backoff_first: Duration,
    /// The longest pause of all. A server's Retry-After is followed up to three times this.
    pub backoff_longest: Duration,
    /// A watch that is silent for so long is dead. API servers send bookmarks each minute.
    pub idle_limit: Duration,
    /// A watch that lived so long was a success, even if it was silent.
    pub watch_is_sound: Duration,
    /// After so long with nothing but lists older than what was seen, one soon after the other,
    /// the API's storage counts as restored from a backup, and the next list is taken whatever
    /// its version.
    pub restored_after: Duration,
}

impl Default for ReflectorConfig {
    fn default() -> Self {
        Self {
            page_limit: 500,
            backoff_first: Duration::from_millis(200),
            backoff_longest: Duration::from_secs(10),
            idle_limit: Duration::from_secs(75),
            watch_is_sound: Duration::from_secs(10),
            restored_after: Duration::from_mins(5),
        }
    }
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Get a page of the list of all Nodes.
    List(ListRequest),
    /// Open a watch, with bookmarks, from this version on.
    Watch {
        /// `resourceVersion` of the watch.
        from: Version,
    },
    /// Read the open watch.
    Follow {
        /// When it is to be given up if nothing comes.
        until: Duration,
    },
    /// Do nothing.
    Wait {
        /// Until then.
        until: Duration,
    },
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListRequest {
    /// Objects at most.
    pub limit: u32,
    /// `continue`, for every page but the first.
    pub continue_token: Option<String>,
    /// `resourceVersion` with `resourceVersionMatch=NotOlderThan`, for the first page only.
    pub not_older_than: Option<Version>,
}

/// An API server's answer to a [`ListRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The list's `resourceVersion`.
    pub version: Version,
    /// Absent on the last page.
    pub continue_token: Option<String>,
    /// The Nodes.
    pub items: Vec<Observed>,
    /// Objects that are no Nodes, one sentence each.
    pub unreadable: Vec<String>,
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// `ADDED` or `MODIFIED`.
    Changed(Observed),
    /// `DELETED`, with the object's last state and the version of its deletion.
    Deleted(Observed),
    /// Everything up to this version has been told.
    Bookmark(Version),
    /// `ERROR`: the watch is over.
    Failed(Failure),
    /// A line about an object that cannot be read, or of a kind that is not known; a sentence.
    Unreadable(String),
}
