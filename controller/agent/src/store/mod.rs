//! Where leases are kept: one trait, one module per kind of store.
//!
//! A store hands out subnets so that no two nodes ever hold the same one, and
//! tells what all nodes published. It decides nothing else: which leases are
//! usable peers is [`tartan_core::conflict`]'s business.

pub mod directory;
mod error;

use std::future::Future;
use std::net::Ipv4Addr;

use tartan_core::alloc::Claimant;
use tartan_core::{Lease, LeaseBackend, PodCidr, SubnetPool, VxlanData};

pub use self::directory::DirectoryStore;
pub use self::error::StoreError;

/// What a node asks a store for.
#[derive(Debug, Clone)]
pub struct LeaseRequest {
    /// The node's name.
    pub node_name: String,
    /// Where peers send tunnel packets to.
    pub public_ip: Ipv4Addr,
    /// How the node wants to be reached.
    pub backend: VxlanData,
    /// The subnets to choose from.
    pub pool: SubnetPool,
    /// The subnet of the last `subnet.env`, to be taken again if it is free.
    pub previous: Option<PodCidr>,
}

/// All leases at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Leases in force, in the order of their subnets, our own among them.
    pub leases: Vec<Lease>,
    /// Leases whose nodes did not renew them in time: no peers, but not given away lightly.
    pub expired: Vec<Lease>,
    /// What could not be read as a lease.
    pub faults: Vec<Fault>,
}

/// Something in the store that is no lease, though it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: the file's name.
    pub place: String,
    /// What is wrong, and what to do.
    pub what: String,
}

/// A place where leases are kept.
///
/// # Contract
/// No two nodes hold overlapping leases at a time. A call that fails changes nothing.
/// [`changed`](Self::changed) is level-triggered: whatever happens after it returned makes the
/// next call return, so "wait, then list" misses nothing, in this order and for ever.
pub trait LeaseStore: Send + Sync {
    /// Takes a subnet: the node's own lease with the data of `request`, or a new one.
    fn acquire(
        &self,
        request: &LeaseRequest,
    ) -> impl Future<Output = Result<Lease, StoreError>> + Send;

    /// Writes the node's own lease again if its data differ; returns what is stored.
    fn publish(&self, lease: &Lease) -> impl Future<Output = Result<Lease, StoreError>> + Send;

    /// Says that the node is still there; returns what is stored.
    fn renew(&self, lease: &Lease) -> impl Future<Output = Result<Lease, StoreError>> + Send;

    /// All leases now.
    fn list(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// Waits until the leases may have changed since [`list`](Self::list). Safe to cancel.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

impl LeaseRequest {
    /// Who asks, in the terms of the choice of a subnet.
    #[must_use]
    pub fn claimant(&self) -> Claimant<'_> {
        Claimant { node_name: &self.node_name, public_ip: self.public_ip, previous: self.previous }
    }

    /// The backend as a lease has it.
    #[must_use]
    pub fn lease_backend(&self) -> LeaseBackend {
        LeaseBackend::Vxlan(self.backend)
    }
}

impl Snapshot {
    /// The lease of the node of this name, in force or not: what it published before it restarted.
    #[must_use]
    pub fn of_node(&self, node_name: &str) -> Option<&Lease> {
        self.leases.iter().chain(&self.expired).find(|lease| lease.node_name == node_name)
    }
}
