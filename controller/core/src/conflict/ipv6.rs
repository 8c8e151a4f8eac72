//! The same judgement for IPv6 leases: each by itself and against ours, then the older claim.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use tartan_common::{Mac, Vni};

use super::RefusedReason;
use crate::Lease6;

/// What this node knows about itself and the cluster.
#[derive(Debug, Clone, Copy)]
pub struct Observer6<'a> {
    /// This node's name.
    pub node_name: &'a str,
    /// This node's own lease, if it has one.
    pub own: Option<&'a Lease6>,
    /// The IPv6 pod network.
    pub network: Ipv6Net,
    /// The network identifier of the cluster's tunnel, if it has one.
    pub vni: Option<Vni>,
}

/// A lease that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer6 {
    /// The node's pods.
    pub subnet: Ipv6Net,
    /// Where packets for the subnet are sent.
    pub public_ip: Ipv6Addr,
    /// The address that inner frames for the node carry; `None` where there is no tunnel.
    pub vtep_mac: Option<Mac>,
    /// The node's name.
    pub node_name: String,
}

/// A lease that is no peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused6 {
    /// The lease.
    pub lease: Lease6,
    /// Why.
    pub why: RefusedReason,
}

/// All leases but our own, told apart; both lists are in the order of their subnets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peers6 {
    /// No two of them overlap or share an address, none touches ours.
    pub usable: Vec<Peer6>,
    /// The others.
    pub refused: Vec<Refused6>,
}

/// Tells usable peers from leases that cannot be used. Of two that share an address or overlap,
/// the older claim holds, and any tie is decided by the node's name.
#[must_use]
pub fn peers6(observer: Observer6<'_>, leases: &[Lease6]) -> Peers6 {
    let mut result = Peers6::default();
    let mut taken = Taken::default();
    for lease in others_by_claim(observer, leases) {
        let judged = judge_alone(observer, lease);
        match judged.and_then(|vtep_mac| taken.claim(lease).map(|()| vtep_mac)) {
            Ok(vtep_mac) => result.usable.push(peer(lease, vtep_mac)),
            Err(why) => result.refused.push(Refused6 { lease: lease.clone(), why }),
        }
    }
    result.usable.sort_by_key(|peer| peer.subnet);
    // Stable, on top of the order of the claims.
    result.refused.sort_by_key(|refused| refused.lease.subnet);
    result
}

/// Every lease that is not ours, once, the oldest first.
fn others_by_claim<'a>(observer: Observer6<'_>, leases: &'a [Lease6]) -> Vec<&'a Lease6> {
    let is_own = |lease: &Lease6| {
        lease.node_name == observer.node_name
            && observer.own.is_some_and(|own| own.subnet == lease.subnet)
    };
    let mut others: Vec<&Lease6> = leases.iter().filter(|lease| !is_own(lease)).collect();
    others.sort_by_cached_key(|lease| {
        let backend = format!("{:?}", lease.backend);
        (lease.claimed_at, lease.node_name.clone(), lease.subnet, lease.public_ip, backend)
    });
    others.dedup();
    others
}

fn judge_alone(observer: Observer6<'_>, lease: &Lease6) -> Result<Option<Mac>, RefusedReason> {
    if lease.node_name == observer.node_name {
        return Err(RefusedReason::OurNodeName);
    }
    if let Some(own) = observer.own {
        judge_against_ours(own, lease)?;
    }
    let network = observer.network;
    if !network.contains(&lease.subnet) {
        return Err(RefusedReason::OutsideNetwork { network: network.into() });
    }
    judge_address(network, lease.public_ip)?;
    let own = observer.own.and_then(|own| own.backend.vtep_mac());
    super::judge_backend(observer.vni, own, &lease.backend)
}

fn judge_against_ours(own: &Lease6, lease: &Lease6) -> Result<(), RefusedReason> {
    if lease.public_ip == own.public_ip {
        return Err(RefusedReason::OurAddress);
    }
    if lease.subnet.contains(&own.subnet) || own.subnet.contains(&lease.subnet) {
        return Err(RefusedReason::OverlapsOurs { ours: own.subnet.into() });
    }
    let wanted = own.subnet.prefix_len();
    if lease.subnet.prefix_len() != wanted {
        return Err(RefusedReason::PrefixLength { wanted });
    }
    Ok(())
}

fn judge_address(network: Ipv6Net, address: Ipv6Addr) -> Result<(), RefusedReason> {
    let is_usable = !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.to_ipv4_mapped().is_some());
    if !is_usable {
        return Err(RefusedReason::UnusableAddress);
    }
    if network.contains(&address) {
        return Err(RefusedReason::AddressInNetwork { network: network.into() });
    }
    Ok(())
}

/// Addresses and subnets of the claims that hold so far, each with its node.
#[derive(Default)]
struct Taken<'a> {
    addresses: BTreeMap<Ipv6Addr, &'a str>,
    /// First to last address of each subnet; no two overlap.
    subnets: BTreeMap<Ipv6Addr, (Ipv6Addr, &'a str)>,
}

impl<'a> Taken<'a> {
    fn claim(&mut self, lease: &'a Lease6) -> Result<(), RefusedReason> {
        let name = lease.node_name.as_str();
        if let Some(winner) = self.addresses.get(&lease.public_ip) {
            return Err(RefusedReason::SharedAddress { winner: (*winner).to_owned() });
        }
        self.addresses.insert(lease.public_ip, name);
        let (first, last) = (lease.subnet.network(), lease.subnet.broadcast());
        let below = self.subnets.range(..=last).next_back();
        if let Some((_, (end, winner))) = below
            && *end >= first
        {
            return Err(RefusedReason::OverlapsPeer { winner: (*winner).to_owned() });
        }
        self.subnets.insert(first, (last, name));
        Ok(())
    }
}

fn peer(lease: &Lease6, vtep_mac: Option<Mac>) -> Peer6 {
    Peer6 {
        subnet: lease.subnet,
        public_ip: lease.public_ip,
        vtep_mac,
        node_name: lease.node_name.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Timestamp;
    use crate::{LeaseBackend, VxlanData};

    fn vni() -> Vni {
        Vni::new(1).unwrap()
    }

    fn lease(node: &str, last: u8, subnet: &str, claimed: u64) -> Lease6 {
        Lease6 {
            subnet: subnet.parse().unwrap(),
            public_ip: format!("2001:db8::{last}").parse().unwrap(),
            node_name: node.to_owned(),
            backend: LeaseBackend::Vxlan(VxlanData::new(vni(), Mac::local([last; 6]))),
            claimed_at: Timestamp::from_unix_seconds(claimed),
        }
    }

    fn own() -> Lease6 {
        lease("me", 1, "fd00:0:0:1::/64", 100)
    }

    fn judged(leases: &[Lease6]) -> Peers6 {
        let own = own();
        let network = "fd00::/48".parse().unwrap();
        peers6(Observer6 { node_name: "me", own: Some(&own), network, vni: Some(vni()) }, leases)
    }

    fn why(lease: Lease6) -> RefusedReason {
        let mut judged = judged(&[own(), lease]);
        assert!(judged.usable.is_empty());
        judged.refused.remove(0).why
    }

    #[test]
    fn each_fault_has_its_own_reason() {
        let good = || lease("b", 2, "fd00:0:0:2::/64", 100);
        assert_eq!(judged(&[good(), own()]).usable.len(), 1);
        let network = "fd00::/48".parse().unwrap();
        let ours = own().subnet.into();
        let with = |subnet: &str| lease("b", 2, subnet, 100);
        assert_eq!(why(lease("me", 2, "fd00:0:0:2::/64", 1)), RefusedReason::OurNodeName);
        assert_eq!(why(lease("b", 1, "fd00:0:0:2::/64", 1)), RefusedReason::OurAddress);
        assert_eq!(why(with("fd00::/60")), RefusedReason::OverlapsOurs { ours });
        assert_eq!(why(with("fd01::/64")), RefusedReason::OutsideNetwork { network });
        assert_eq!(why(with("fd00:0:0:2::/65")), RefusedReason::PrefixLength { wanted: 64 });
        let at = |address: &str| why(Lease6 { public_ip: address.parse().unwrap(), ..good() });
        for address in ["::", "::1", "ff02::1", "::ffff:192.0.2.1"] {
            assert_eq!(at(address), RefusedReason::UnusableAddress, "{address}");
        }
        assert_eq!(at("fd00:0:0:9::1"), RefusedReason::AddressInNetwork { network });
        assert_eq!(why(Lease6 { backend: own().backend, ..good() }), RefusedReason::OurVtepMac);
    }

    #[test]
    fn the_older_claim_holds_subnet_and_address() {
        let older = lease("z", 9, "fd00:0:0:2::/64", 50);
        let younger = lease("b", 2, "fd00:0:0:2::/64", 60);
        let same_address = lease("c", 9, "fd00:0:0:3::/64", 70);
        let judged = judged(&[younger, same_address, older]);
        assert_eq!(judged.usable.iter().map(|peer| &peer.node_name).collect::<Vec<_>>(), ["z"]);
        let winner = || "z".to_owned();
        assert_eq!(judged.refused[0].why, RefusedReason::OverlapsPeer { winner: winner() });
        assert_eq!(judged.refused[1].why, RefusedReason::SharedAddress { winner: winner() });
    }

    fn any_lease() -> impl Strategy<Value = Lease6> {
        (0_u16..5, 60_u8..=66, 0_u8..6, "[a-d]", 0_u64..4).prop_map(
            |(part, length, last, name, claimed)| {
                let net = Ipv6Net::new(Ipv6Addr::new(0xfd00, 0, 0, part, 0, 0, 0, 0), length);
                let subnet = net.unwrap().trunc().to_string();
                lease(&name, last, &subnet, claimed)
            },
        )
    }

    proptest! {
        #[test]
        fn usable_peers_share_nothing_whatever_the_order(
            (leases, shuffled) in prop::collection::vec(any_lease(), 0..14)
                .prop_flat_map(|leases| (Just(leases.clone()), Just(leases).prop_shuffle())),
        ) {
            // Without a lease of our own, lengths may differ.
            let network = "fd00::/48".parse().unwrap();
            let observer = Observer6 { node_name: "me", own: None, network, vni: Some(vni()) };
            let judged = peers6(observer, &leases);
            for (index, peer) in judged.usable.iter().enumerate() {
                for other in &judged.usable[index + 1..] {
                    prop_assert!(!peer.subnet.contains(&other.subnet));
                    prop_assert!(!other.subnet.contains(&peer.subnet));
                    prop_assert_ne!(peer.public_ip, other.public_ip);
                }
            }
            prop_assert_eq!(peers6(observer, &shuffled), judged);
        }
    }
}
