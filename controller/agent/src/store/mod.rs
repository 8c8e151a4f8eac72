//! Where leases are kept: one trait, one module per kind of store.
//!
//! A store hands out subnets so that no two nodes ever hold the same one, and
//! tells what all nodes published. It decides nothing else: which leases are
//! usable peers is [`tartan_core::conflict`]'s business.

pub mod directory;
mod error;
pub mod kube;
mod notice;

use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use tartan_common::Mac;
use tartan_core::{Lease, Lease6, LeaseBackend, PodCidr, SubnetPool};

pub use self::directory::DirectoryStore;
pub use self::error::StoreError;
pub use self::kube::KubeStore;
pub use self::notice::{Notice, NoticeKind};

/// What a node asks a store for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The node's name.
    pub node_name: String,
    /// Where peers send tunnel packets to, unless the store says otherwise; `None` in a cluster of
    /// IPv6 alone.
    pub public_ip: Option<Ipv4Addr>,
    /// How the node wants to be reached.
    pub backend: LeaseBackend,
    /// The IPv4 pod network, and the subnets to choose from where the store leaves the choice.
    pub pool: Option<SubnetPool>,
    /// The subnet of the last `subnet.env`, to be taken again if it is free.
    pub previous: Option<PodCidr>,
    /// The same for IPv6, where the cluster has it and the node a way for it.
    pub ipv6: Option<LeaseRequest6>,
}

/// The IPv6 half of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest6 {
    /// Where peers send tunnel packets to, unless the store says otherwise; the IPv4-mapped form of
    /// the node's IPv4 address where it has no IPv6 address.
    pub public_ip: Ipv6Addr,
    /// How the node wants to be reached.
    pub backend: LeaseBackend,
    /// The IPv6 pod network.
    pub network: Ipv6Net,
}

/// What this node holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLeases {
    /// The IPv4 subnet; `None` in a cluster of IPv6 alone, where there is an IPv6 subnet.
    pub v4: Option<Lease>,
    /// The IPv6 subnet, where the node has one.
    pub v6: Option<Lease6>,
}

impl OwnLeases {
    /// The node's subnets, IPv4 first.
    pub fn subnets(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.v4.as_ref().map(|lease| IpNet::V4(lease.subnet.net()));
        v4.into_iter().chain(self.v6.as_ref().map(|lease| IpNet::V6(lease.subnet)))
    }

    /// The subnets, for a line of text.
    #[must_use]
    pub fn shown(&self) -> String {
        self.subnets().map(|subnet| subnet.to_string()).collect::<Vec<_>>().join(", ")
    }

    /// How the node is reached.
    #[must_use]
    pub fn backend(&self) -> Option<&LeaseBackend> {
        let v4 = self.v4.as_ref().map(|lease| &lease.backend);
        v4.or(self.v6.as_ref().map(|lease| &lease.backend))
    }
}

/// All leases at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Leases in force, in the order of their subnets, our own among them.
    pub leases: Vec<Lease>,
    /// The IPv6 leases in force, in the order of their subnets.
    pub leases6: Vec<Lease6>,
    /// Leases whose nodes did not renew them in time: no peers, but not given away lightly.
    pub expired: Vec<Lease>,
    /// What could not be read as a lease.
    pub faults: Vec<Fault>,
}

/// What a node's operator, or the node itself in an earlier life, left in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// The address to publish and to choose the interface by: flannel's `node-public-ip`.
    pub public_ip: Option<Ipv4Addr>,
    /// The same for IPv6.
    pub public_ipv6: Option<Ipv6Addr>,
    /// The VTEP MAC address that the node published last.
    pub vtep_mac: Option<Mac>,
    /// The IPv6 VTEP's.
    pub vtep_mac6: Option<Mac>,
}

/// How things are between this node and its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Why the store cannot be reached, and for how long, in one line; `None` while it can.
    pub trouble: Option<String>,
    /// Whether peers can read what this node holds.
    pub published: bool,
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
    /// What this node holds, and what it publishes, brought to what `request` says. Called in
    /// every pass with what the last call returned, so it costs nothing where nothing differs.
    fn hold(
        &self,
        request: &LeaseRequest,
        held: Option<&OwnLeases>,
    ) -> impl Future<Output = Result<OwnLeases, StoreError>> + Send;

    /// Says that the node is still there, where leases expire.
    fn renew(&self, held: &OwnLeases) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// All leases now.
    fn list(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// Waits until the answers of the other calls may have changed. Safe to cancel.
    fn changed(&self) -> impl Future<Output = ()> + Send;

    /// What was left in the store for the node of this name.
    fn wishes(&self, node_name: &str) -> impl Future<Output = Result<Wishes, StoreError>> + Send;

    /// How things are between this node and the store; never waits.
    fn standing(&self) -> Standing;

    /// Tells the cluster that pods may run on this node: called once everything is in place,
    /// and again after it was not. Delivered in the background, as often as it takes.
    fn announce_ready(&self);

    /// Tells the operator something worth an Event. Delivered in the background.
    fn tell(&self, notice: Notice);

    /// What the store is, in a few words for `status`.
    fn describe(&self) -> String;
}

impl Snapshot {
    /// The lease of the node of this name, in force or not: what it published before it restarted.
    #[must_use]
    pub fn of_node(&self, node_name: &str) -> Option<&Lease> {
        self.leases.iter().chain(&self.expired).find(|lease| lease.node_name == node_name)
    }
}
