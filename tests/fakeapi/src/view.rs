//! What one server of several sees of the common store: a server may lag behind.
//!
//! As with the real one, a consistent read is never stale; lists "not older than" a revision
//! and watches are answered from what this server has seen.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::shared::Shared;

/// How far a server is behind the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// It sees every write at once.
    None,
    /// It sees nothing after this revision.
    StoppedAt(u64),
    /// It sees every write this much later.
    Behind(Duration),
}

/// One server's view of the store.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lag: watch::Receiver<Lag>,
}

/// How often a server that lags looks again.
const LAGGING_LOOK: Duration = Duration::from_millis(5);

impl View {
    /// The newest revision that the server has seen.
    pub(crate) fn seen(&self) -> u64 {
        let etcd = self.shared.etcd();
        match *self.lag.borrow() {
            Lag::None => etcd.revision(),
            Lag::StoppedAt(revision) => revision.min(etcd.revision()),
            Lag::Behind(age) => etcd.revision_before(age),
        }
    }

    /// Waits until [`View::seen`] may be another.
    pub(crate) async fn moved(&mut self, revisions: &mut watch::Receiver<u64>) {
        let lag = *self.lag.borrow();
        // A closed channel is a server that is ending: its requests end with it.
        match lag {
            Lag::None => tokio::select! {
                _ = revisions.changed() => {}
                _ = self.lag.changed() => {}
            },
            Lag::StoppedAt(_) => drop(self.lag.changed().await),
            Lag::Behind(_) => tokio::select! {
                () = tokio::time::sleep(LAGGING_LOOK) => {}
                _ = self.lag.changed() => {}
            },
        }
    }

    /// Waits until the server has seen a revision; gives up after the server's patience.
    pub(crate) async fn until_seen(&mut self, revision: u64) -> bool {
        let mut revisions = self.shared.revisions();
        let patience = self.shared.timings().freshness_wait;
        let seen = async {
            while self.seen() < revision {
                self.moved(&mut revisions).await;
            }
        };
        tokio::time::timeout(patience, seen).await.is_ok()
    }
}
