//! Leases as files in a directory: one JSON file per lease, `10.244.1.0-24.json`.
//!
//! The directory may be local (one machine, a lab) or shared by all nodes.
//! Claims are atomic (`link(2)`), updates are atomic (`rename(2)`), and no
//! server is needed. A lease that was not renewed for [`TTL`] is no peer any
//! more, and its subnet is taken by others once nothing else is free. A file
//! that cannot be read is reported once, blocks its subnet, and is changed by
//! nobody but the running agent that holds this subnet.

mod claim;
mod files;
mod record;
#[cfg(test)]
mod tests;
mod watch;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tartan_core::{Lease, PodCidr, Timestamp};
use tokio::task::spawn_blocking;
use tracing::warn;

use self::claim::Registry;
use self::watch::Watch;
use super::{
    Fault, LeaseRequest, LeaseStore, Notice, OwnLeases, Snapshot, Standing, StoreError, Wishes,
};

/// How long a lease is in force after it was renewed: flannel's 24 hours.
pub const TTL: Duration = Duration::from_hours(24);
/// How often a network file system, which sends no events, is looked at.
pub const POLL: Duration = Duration::from_secs(30);

/// What tests change.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long a lease is in force after it was renewed.
    pub ttl: Duration,
    /// How often the directory is looked at without an event.
    pub poll: Duration,
    /// The clock that leases are written and judged by.
    pub clock: fn() -> Timestamp,
}

/// A directory of leases.
pub struct DirectoryStore {
    registry: Registry,
    watch: Watch,
    /// Faults that were logged already.
    reported: Mutex<Vec<Fault>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { ttl: TTL, poll: POLL, clock: Timestamp::now }
    }
}

impl DirectoryStore {
    /// Opens `dir`, which must exist, and subscribes to it. To be called within a tokio runtime.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::NotADirectory`], or why it cannot be read.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Options::default())
    }

    /// Opens `dir` with other times than the usual ones.
    ///
    /// # Errors
    /// As [`DirectoryStore::open`].
    pub fn open_with(dir: &Path, options: Options) -> Result<Self, StoreError> {
        let Options { ttl, poll, clock } = options;
        let watch = Watch::new(dir, poll);
        files::read_all(dir)?;
        let registry = Registry { dir: dir.to_owned(), ttl, clock };
        Ok(Self { registry, watch, reported: Mutex::default() })
    }

    /// Where the lease of `subnet` is kept.
    #[must_use]
    pub fn lease_path(&self, subnet: PodCidr) -> PathBuf {
        files::path_of(&self.registry.dir, subnet)
    }

    /// Runs file operations, which may take long on a network, beside the other tasks.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Registry) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let registry = self.registry.clone();
        spawn_blocking(move || work(&registry)).await.unwrap_or(Err(StoreError::Stopping))
    }

    /// Takes a subnet: the node's own lease with the data of `request`, or a new one.
    async fn acquire(&self, request: &LeaseRequest) -> Result<Lease, StoreError> {
        let request = request.clone();
        self.blocking(move |registry| registry.acquire(&request)).await
    }

    /// Writes what is held again if `request` says something else.
    async fn publish(&self, request: &LeaseRequest, held: &Lease) -> Result<Lease, StoreError> {
        let public_ip = request.public_ip.unwrap_or(held.public_ip);
        let backend = request.backend.clone();
        let lease = Lease { public_ip, backend, ..held.clone() };
        if lease.same_data(held) {
            return Ok(lease);
        }
        self.blocking(move |registry| registry.put(&lease, false)).await
    }

    fn snapshot(&self, listing: files::Listing) -> Snapshot {
        let (expired, leases): (Vec<Lease>, Vec<Lease>) =
            listing.leases.into_iter().partition(|lease| self.registry.is_expired(lease));
        self.watch.set_due(self.next_expiry(&leases));
        self.report(&listing.faults);
        Snapshot { leases, leases6: Vec::new(), expired, faults: listing.faults }
    }

    fn next_expiry(&self, leases: &[Lease]) -> Option<SystemTime> {
        let first = leases.iter().filter_map(|lease| lease.renewed_at).min()?;
        let expires = first.after(self.registry.ttl + Duration::from_secs(1));
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(expires.unix_seconds()))
    }

    /// Logs each fault once, and again only after it was gone.
    fn report(&self, faults: &[Fault]) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for fault in faults.iter().filter(|fault| !reported.contains(fault)) {
            warn!(file = fault.place, what = fault.what, "lease file skipped");
        }
        reported.clear();
        reported.extend_from_slice(faults);
    }
}

impl LeaseStore for DirectoryStore {
    async fn hold(
        &self,
        request: &LeaseRequest,
        held: Option<&OwnLeases>,
    ) -> Result<OwnLeases, StoreError> {
        let v4 = match held.and_then(|held| held.v4.as_ref()) {
            None => self.acquire(request).await?,
            Some(held) => self.publish(request, held).await?,
        };
        Ok(OwnLeases { v4: Some(v4), v6: None })
    }

    async fn renew(&self, held: &OwnLeases) -> Result<(), StoreError> {
        let Some(lease) = held.v4.clone() else { return Ok(()) };
        self.blocking(move |registry| registry.put(&lease, true)).await.map(drop)
    }

    async fn list(&self) -> Result<Snapshot, StoreError> {
        self.watch.mark_seen();
        let listing = self.blocking(|registry| files::read_all(&registry.dir)).await?;
        Ok(self.snapshot(listing))
    }

    async fn changed(&self) {
        self.watch.changed().await;
    }

    async fn wishes(&self, node_name: &str) -> Result<Wishes, StoreError> {
        let listing = self.blocking(|registry| files::read_all(&registry.dir)).await?;
        let own = listing.leases.iter().find(|lease| lease.node_name == node_name);
        Ok(Wishes { vtep_mac: own.and_then(Lease::vtep_mac), ..Wishes::default() })
    }

    fn standing(&self) -> Standing {
        // What is held is in a file already.
        Standing { trouble: None, published: true }
    }

    fn announce_ready(&self) {}

    fn tell(&self, _notice: Notice) {}

    fn describe(&self) -> String {
        format!("directory {}", self.registry.dir.display())
    }
}

impl fmt::Debug for DirectoryStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DirectoryStore")
            .field("dir", &self.registry.dir)
            .finish_non_exhaustive()
    }
}
