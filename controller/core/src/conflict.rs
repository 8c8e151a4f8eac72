//! Which leases are usable peers, and why the others are not.
//!
//! A pure function of all leases: every node that sees the same leases comes
//! to the same answer, whatever their order. A refused lease costs its node
//! the traffic with this one; a wrongly accepted one would cost others theirs.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use tartan_common::{Mac, Vni};

pub use self::ipv6::{Observer6, Peer6, Peers6, Refused6, peers6};
pub use self::reason::RefusedReason;
use crate::lease::{BACKEND_HOST_GW, BACKEND_VXLAN};
use crate::{Lease, LeaseBackend, PodCidr, VxlanData};

mod ipv6;
mod reason;
#[cfg(test)]
mod tests;

/// What this node knows about itself and the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Observer<'a> {
    /// This node's own lease.
    pub own: &'a Lease,
    /// The pod network.
    pub network: Ipv4Net,
    /// The network identifier of the cluster's tunnel, if it has one.
    pub vni: Option<Vni>,
}

/// A lease that passed every check: what encapsulation needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The node's pods.
    pub subnet: PodCidr,
    /// Where packets for the subnet are sent.
    pub public_ip: Ipv4Addr,
    /// The address that inner frames for the node carry; `None` where there is no tunnel.
    pub vtep_mac: Option<Mac>,
    /// The node's name.
    pub node_name: String,
}

/// A lease that is no peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The lease.
    pub lease: Lease,
    /// Why.
    pub why: RefusedReason,
}

/// All leases but our own, told apart; both lists are in the order of their subnets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers {
    /// No two of them overlap or share an address, none touches ours.
    pub usable: Vec<Peer>,
    /// The others.
    pub refused: Vec<Refused>,
}

/// Tells usable peers from leases that cannot be used.
///
/// Each lease is judged by itself and against ours first. Of those left, two that share a
/// node address are decided for the one renewed last (the other's node is gone; leases that
/// do not expire: for the older claim), two that overlap for the older claim, and any tie by
/// the node's name.
#[must_use]
pub fn peers(observer: Observer<'_>, leases: &[Lease]) -> Peers {
    let mut result = Peers::default();
    let mut candidates = Vec::new();
    for lease in distinct_others(observer.own, leases) {
        match judge_alone(observer, lease) {
            Ok(vtep_mac) => candidates.push((lease, vtep_mac)),
            Err(why) => result.refuse(lease, why),
        }
    }
    let candidates = keep_one_per_address(candidates, &mut result);
    let usable = keep_oldest_claims(candidates, &mut result);
    result.usable.extend(usable.into_values());
    result.refused.sort_by(|left, right| total_order(&left.lease, &right.lease));
    result
}

impl Peers {
    fn refuse(&mut self, lease: &Lease, why: RefusedReason) {
        self.refused.push(Refused { lease: lease.clone(), why });
    }
}

/// Every lease that is not ours, once, in an order that does not depend on the input's.
fn distinct_others<'a>(own: &Lease, leases: &'a [Lease]) -> Vec<&'a Lease> {
    let is_own = |lease: &Lease| lease.node_name == own.node_name && lease.subnet == own.subnet;
    let mut others: Vec<&Lease> = leases.iter().filter(|lease| !is_own(lease)).collect();
    others.sort_by(|left, right| total_order(left, right));
    others.dedup();
    others
}

fn total_order(left: &Lease, right: &Lease) -> Ordering {
    let rank = |lease: &Lease| (lease.subnet, lease.claimed_at, lease.renewed_at, lease.public_ip);
    let text = |lease: &Lease| format!("{:?}", lease.backend);
    rank(left)
        .cmp(&rank(right))
        .then_with(|| left.node_name.cmp(&right.node_name))
        .then_with(|| text(left).cmp(&text(right)))
}

/// What is wrong with a lease whatever the other peers say.
fn judge_alone(observer: Observer<'_>, lease: &Lease) -> Result<Option<Mac>, RefusedReason> {
    judge_node(observer.own, lease)?;
    judge_subnet(observer, lease.subnet)?;
    judge_address(observer.network, lease.public_ip)?;
    judge_backend(observer.vni, observer.own.vtep_mac(), &lease.backend)
}

fn judge_node(own: &Lease, lease: &Lease) -> Result<(), RefusedReason> {
    if lease.node_name == own.node_name {
        return Err(RefusedReason::OurNodeName);
    }
    if lease.public_ip == own.public_ip {
        return Err(RefusedReason::OurAddress);
    }
    if lease.subnet.overlaps(own.subnet) {
        return Err(RefusedReason::OverlapsOurs { ours: own.subnet.net().into() });
    }
    Ok(())
}

fn judge_subnet(observer: Observer<'_>, subnet: PodCidr) -> Result<(), RefusedReason> {
    if !subnet.is_within(observer.network) {
        return Err(RefusedReason::OutsideNetwork { network: observer.network.into() });
    }
    let wanted = observer.own.subnet.prefix_len();
    if subnet.prefix_len() != wanted {
        return Err(RefusedReason::PrefixLength { wanted });
    }
    Ok(())
}

fn judge_address(network: Ipv4Net, address: Ipv4Addr) -> Result<(), RefusedReason> {
    let [first, ..] = address.octets();
    if first == 0 || address.is_loopback() || first >= 224 {
        return Err(RefusedReason::UnusableAddress);
    }
    if network.contains(&address) {
        return Err(RefusedReason::AddressInNetwork { network: network.into() });
    }
    Ok(())
}

/// The peer's VTEP MAC address, if there is a tunnel.
fn judge_backend(
    ours: Option<Vni>,
    own: Option<Mac>,
    backend: &LeaseBackend,
) -> Result<Option<Mac>, RefusedReason> {
    match (ours, backend) {
        (Some(vni), LeaseBackend::Vxlan(data)) => judge_vxlan(vni, own, *data).map(Some),
        (None, LeaseBackend::HostGw) => Ok(None),
        (Some(_), LeaseBackend::HostGw | LeaseBackend::Other(_)) => {
            Err(RefusedReason::backend_type(backend, BACKEND_VXLAN))
        }
        (None, LeaseBackend::Vxlan(_) | LeaseBackend::Other(_)) => {
            Err(RefusedReason::backend_type(backend, BACKEND_HOST_GW))
        }
    }
}

fn judge_vxlan(ours: Vni, own: Option<Mac>, data: VxlanData) -> Result<Mac, RefusedReason> {
    if Some(data.vtep_mac) == own {
        return Err(RefusedReason::OurVtepMac);
    }
    if !data.vtep_mac.is_station() {
        return Err(RefusedReason::UnusableVtepMac);
    }
    match data.vni {
        Some(theirs) if theirs != ours => Err(RefusedReason::OtherVni { theirs, ours }),
        Some(_) | None => Ok(data.vtep_mac),
    }
}

type Candidate<'a> = (&'a Lease, Option<Mac>);

/// Senders are known by their address, so an address stands for one subnet.
fn keep_one_per_address<'a>(
    mut candidates: Vec<Candidate<'a>>,
    result: &mut Peers,
) -> Vec<Candidate<'a>> {
    // Stable, on top of the total order: first comes the lease that was renewed last.
    candidates.sort_by(|(left, _), (right, _)| {
        right.renewed_at.cmp(&left.renewed_at).then_with(|| by_claim(left, right))
    });
    let mut holders: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    candidates.retain(|(lease, _)| match holders.get(&lease.public_ip) {
        None => {
            holders.insert(lease.public_ip, &lease.node_name);
            true
        }
        Some(winner) => {
            result.refuse(lease, RefusedReason::SharedAddress { winner: (*winner).to_owned() });
            false
        }
    });
    candidates
}

/// Takes claims from the oldest to the youngest; what overlaps an earlier one is refused.
fn keep_oldest_claims(
    mut candidates: Vec<Candidate<'_>>,
    result: &mut Peers,
) -> BTreeMap<PodCidr, Peer> {
    candidates.sort_by(|(left, _), (right, _)| by_claim(left, right));
    let mut usable: BTreeMap<PodCidr, Peer> = BTreeMap::new();
    for (lease, vtep_mac) in candidates {
        // All have the same prefix length by now, so overlapping means being equal.
        match usable.get(&lease.subnet) {
            Some(winner) => {
                let winner = winner.node_name.clone();
                result.refuse(lease, RefusedReason::OverlapsPeer { winner });
            }
            None => {
                usable.insert(lease.subnet, peer(lease, vtep_mac));
            }
        }
    }
    usable
}

fn by_claim(left: &Lease, right: &Lease) -> Ordering {
    let rank = |lease: &Lease| (lease.claimed_at, lease.node_name.clone(), lease.subnet);
    rank(left).cmp(&rank(right))
}

fn peer(lease: &Lease, vtep_mac: Option<Mac>) -> Peer {
    Peer {
        subnet: lease.subnet,
        public_ip: lease.public_ip,
        vtep_mac,
        node_name: lease.node_name.clone(),
    }
}
