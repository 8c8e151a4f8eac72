//! What all servers of one cluster share: the store, its clockwork, and word of every write.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::etcd::Etcd;

/// How long things take that the real server takes its time for.
#[derive(Debug, Clone, Copy)]
pub struct Timings {
    /// A bookmark comes this often in a watch that asked for them; about a minute in the real one.
    pub bookmark_every: Duration,
    /// A request for a revision that the server has not seen waits this long; 3 s in the real one.
    pub freshness_wait: Duration,
    /// A watch without `timeoutSeconds` ends after this; 30 to 60 minutes in the real one.
    pub watch_ends: Duration,
}

impl Default for Timings {
    /// The real server's.
    fn default() -> Self {
        Self {
            bookmark_every: Duration::from_mins(1),
            freshness_wait: Duration::from_secs(3),
            watch_ends: Duration::from_mins(30),
        }
    }
}

/// The store with its watchers.
#[derive(Debug)]
pub(crate) struct Shared {
    etcd: Mutex<Etcd>,
    revision: watch::Sender<u64>,
    timings: Timings,
}

impl Shared {
    pub(crate) fn new(timings: Timings) -> Self {
        let etcd = Etcd::new();
        let revision = watch::Sender::new(etcd.revision());
        Self { etcd: Mutex::new(etcd), revision, timings }
    }

    pub(crate) fn timings(&self) -> Timings {
        self.timings
    }

    /// The store; held for one operation.
    pub(crate) fn etcd(&self) -> MutexGuard<'_, Etcd> {
        self.etcd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write, of which the watchers hear.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut Etcd) -> T) -> T {
        let mut etcd = self.etcd();
        let result = write(&mut etcd);
        self.revision.send_replace(etcd.revision());
        result
    }

    /// The newest revision, and word of each new one.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
