//! [`Shared`]: what the store's tasks and its callers know in common.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tartan_core::annotations::{
    Networks, NodeRecord, OwnFault, Publication, Publication6, own_leases, wishes,
};
use tartan_core::reflector::{Backoff, Reflector};
use tokio::sync::watch;
use tracing::warn;

use super::KubeOptions;
use super::contact::Contact;
use super::events::Outbox;
use super::publish::Confirmed;
use super::transport::Transport;
use super::view::View;
use crate::store::{LeaseRequest, OwnLeases, Snapshot, Standing, StoreError, Wishes};

/// Everything but the tasks.
pub(super) struct Shared {
    pub(super) options: KubeOptions,
    pub(super) transport: Transport,
    pub(super) outbox: Outbox,
    pub(super) reading: Contact,
    pub(super) publishing: Contact,
    pub(super) announcing: Contact,
    reflector: Mutex<Reflector>,
    view: Mutex<View>,
    publication: Mutex<Option<Publication>>,
    confirmed: Mutex<Option<Confirmed>>,
    /// What was wrong with the IPv6 half of the own Node, as far as it was told.
    told6: Mutex<Option<OwnFault>>,
    /// How often the node was announced.
    announced: watch::Sender<u64>,
    /// For callers: an answer may be another one now.
    changes: watch::Sender<u64>,
    /// For the writing tasks: something may be to do.
    work: watch::Sender<u64>,
    started: Instant,
    seed: u64,
}

impl Shared {
    pub(super) fn new(options: KubeOptions, transport: Transport) -> Self {
        let seed = seed(&options.node_name);
        Self {
            transport,
            outbox: Outbox::new(options.timing.event_repeat),
            reading: Contact::new("read the Nodes from the Kubernetes API"),
            publishing: Contact::new("publish this node's annotations"),
            announcing: Contact::new("set this node's condition NetworkUnavailable"),
            reflector: Mutex::new(Reflector::new(options.timing.reflector, seed)),
            view: Mutex::default(),
            publication: Mutex::default(),
            confirmed: Mutex::default(),
            told6: Mutex::default(),
            announced: watch::Sender::default(),
            changes: watch::Sender::default(),
            work: watch::Sender::default(),
            started: Instant::now(),
            seed,
            options,
        }
    }

    /// The reflector's time.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// A number that is another one on each node and in each run.
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Pauses like the reflector's, for the writing tasks.
    pub(super) fn backoff(&self, task: u64) -> Backoff {
        let config = &self.options.timing.reflector;
        let seed = self.seed.wrapping_add(task);
        Backoff::new(config.backoff_first, config.backoff_longest, seed)
    }

    pub(super) fn reflector(&self) -> MutexGuard<'_, Reflector> {
        lock(&self.reflector)
    }

    pub(super) fn confirmed(&self) -> MutexGuard<'_, Option<Confirmed>> {
        lock(&self.confirmed)
    }

    pub(super) fn publication(&self) -> MutexGuard<'_, Option<Publication>> {
        lock(&self.publication)
    }

    pub(super) fn announcements(&self) -> u64 {
        *self.announced.borrow()
    }

    pub(super) fn subscribe_changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn subscribe_work(&self) -> watch::Receiver<u64> {
        self.work.subscribe()
    }

    /// Lets callers and writing tasks look again.
    pub(super) fn tell_change(&self) {
        self.changes.send_modify(|count| *count += 1);
        self.tell_work();
    }

    fn tell_work(&self) {
        self.work.send_modify(|count| *count += 1);
    }

    /// The own Node, once all Nodes were listed.
    pub(super) fn own(&self) -> Result<Arc<NodeRecord>, StoreError> {
        let reflector = self.reflector();
        if !reflector.is_synced() {
            drop(reflector);
            let trouble = self.reading.last_error();
            let trouble = trouble.unwrap_or_else(|| "no answer so far".to_owned());
            return Err(StoreError::NotSynced { trouble });
        }
        let node = &self.options.node_name;
        reflector.get(node).cloned().ok_or_else(|| StoreError::NoNode { node: node.clone() })
    }

    pub(super) fn hold(&self, request: &LeaseRequest) -> Result<OwnLeases, StoreError> {
        let record = self.own()?;
        let publication = publication(request);
        let v6 = request.ipv6.as_ref().map(|ipv6| ipv6.network);
        let v4 = self.options.network.filter(|_| request.public_ip.is_some());
        let networks = Networks { v4, v6: self.options.ipv6_network.and(v6) };
        let own =
            own_leases(&record, &publication, networks).map_err(|fault| refuse(&record, &fault))?;
        let mut current = self.publication();
        if current.as_ref() != Some(&publication) {
            *current = Some(publication);
            self.tell_work();
        }
        drop(current);
        self.tell_of_ipv6(own.v6.as_ref().err());
        Ok(OwnLeases { v4: own.v4, v6: own.v6.unwrap_or_default() })
    }

    pub(super) fn wishes(&self) -> Result<Wishes, StoreError> {
        let wishes = wishes(&*self.own()?);
        Ok(Wishes {
            public_ip: wishes.public_ip,
            public_ipv6: wishes.public_ipv6,
            vtep_mac: wishes.vtep_mac,
            vtep_mac6: wishes.vtep_mac6,
        })
    }

    pub(super) fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut view = lock(&self.view);
        let reflector = self.reflector();
        if !reflector.is_synced() {
            drop(reflector);
            return self.own().map(|_| Snapshot::default());
        }
        view.refresh(&reflector);
        drop(reflector);
        Ok(view.snapshot())
    }

    pub(super) fn standing(&self) -> Standing {
        let patience = self.options.timing.trouble_after;
        let trouble = [&self.reading, &self.publishing, &self.announcing]
            .into_iter()
            .find_map(|contact| contact.trouble(patience));
        Standing { trouble, published: self.is_published() }
    }

    pub(super) fn announce_ready(&self) {
        if self.options.set_node_network_unavailable {
            self.announced.send_modify(|count| *count += 1);
            self.tell_work();
        }
    }

    fn tell_of_ipv6(&self, fault: Option<&OwnFault>) {
        let mut told = lock(&self.told6);
        if told.as_ref() != fault {
            if let Some(fault) = fault {
                warn!(%fault, "this node has no IPv6 lease; IPv4 is not concerned");
            }
            *told = fault.cloned();
        }
    }
}

fn refuse(record: &NodeRecord, fault: &OwnFault) -> StoreError {
    let node = record.name.clone();
    match fault {
        OwnFault::Missing { network, .. } => {
            StoreError::NoPodCidr { node, network: network.clone() }
        }
        OwnFault::Outside { .. } | OwnFault::NoFamily { .. } | OwnFault::Unusable { .. } => {
            StoreError::PodCidrUnusable { node, what: fault.to_string() }
        }
    }
}

fn publication(request: &LeaseRequest) -> Publication {
    Publication {
        public_ip: request.public_ip,
        backend: request.backend.clone(),
        ipv6: request
            .ipv6
            .as_ref()
            .map(|ipv6| Publication6 { public_ip: ipv6.public_ip, backend: ipv6.backend.clone() }),
    }
}

/// From the node's name and the clock: nodes that start together differ, and so do two starts.
fn seed(node_name: &str) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(node_name)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
