//! The same judgement for IPv6 leases: each by itself and against ours, then the older claim.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use tartan_common::{Mac, Vni};

use super::RefusedReason;
use crate::{Lease6, LeaseBackend, VxlanData};

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
    /// The usable IPv4 peers: a node of IPv6 over IPv4 is one of them.
    pub ipv4: &'a [super::Peer],
}

impl Observer6<'_> {
    /// Leases as this node uses them. The tunnel's outer family is IPv6 where both nodes have an
    /// IPv6 address, else IPv4; what is not usable over IPv4 is refused there, and no news here.
    fn by_outer_family(&self, leases: &[Lease6]) -> Vec<Lease6> {
        let by_ipv4: BTreeMap<&str, &super::Peer> =
            self.ipv4.iter().map(|peer| (peer.node_name.as_str(), peer)).collect();
        let over_ipv4 = self.own.is_some_and(Lease6::is_over_ipv4);
        let as_used = |lease: &Lease6| {
            let mut lease = lease.clone();
            if lease.node_name == self.node_name || !(over_ipv4 || lease.is_over_ipv4()) {
                return Some(lease);
            }
            let Some(peer) = by_ipv4.get(lease.node_name.as_str()) else {
                // A node of IPv6 alone is told as one that cannot be reached.
                return (!lease.is_over_ipv4()).then_some(lease);
            };
            lease.public_ip = peer.public_ip.to_ipv6_mapped();
            let data = self.vni.zip(peer.vtep_mac).map(|(vni, mac)| VxlanData::new(vni, mac))?;
            Some(Lease6 { backend: LeaseBackend::Vxlan(data), ..lease })
        };
        leases.iter().filter_map(as_used).collect()
    }
}

/// A lease that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer6 {
    /// The node's pods.
    pub subnet: Ipv6Net,
    /// Where packets for the subnet are sent; IPv4-mapped where they go over IPv4.
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
    let leases = observer.by_outer_family(leases);
    for lease in others_by_claim(observer, &leases) {
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
    if lease.is_over_ipv4() {
        // It is a usable peer of IPv4.
        return Ok(lease.backend.vtep_mac());
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

    fn observer<'a>(
        own: Option<&'a Lease6>,
        network: Ipv6Net,
        ipv4: &'a [super::super::Peer],
    ) -> Observer6<'a> {
        Observer6 { node_name: "me", own, network, vni: Some(vni()), ipv4 }
    }

    fn ipv4_peer(node: &str, last: u8) -> super::super::Peer {
        super::super::Peer {
            subnet: format!("10.244.{last}.0/24").parse().unwrap(),
            public_ip: std::net::Ipv4Addr::new(192, 0, 2, last),
            vtep_mac: Some(Mac::local([last; 6])),
            node_name: node.to_owned(),
        }
    }

    fn over_ipv4(lease: Lease6, last: u8) -> Lease6 {
        let public_ip = std::net::Ipv4Addr::new(192, 0, 2, last).to_ipv6_mapped();
        Lease6 { public_ip, ..lease }
    }

    /// Where each peer is reached, and the last byte of its MAC address.
    fn found(peers: &Peers6) -> Vec<(Ipv6Addr, u8)> {
        let last = |peer: &Peer6| peer.vtep_mac.map_or(0, |mac| mac.0[5]);
        peers.usable.iter().map(|peer| (peer.public_ip, last(peer))).collect()
    }

    /// Both with IPv6: over IPv6. One without: over IPv4, if it is a peer there.
    #[test]
    fn the_outer_family_is_ipv6_where_both_nodes_have_it() {
        let network = "fd00::/48".parse().unwrap();
        let ipv4 = [ipv4_peer("b", 2), ipv4_peer("c", 3)];
        let with = lease("b", 2, "fd00:0:0:2::/64", 1);
        let without = over_ipv4(lease("c", 3, "fd00:0:0:3::/64", 1), 3);
        let refused4 = over_ipv4(lease("d", 4, "fd00:0:0:4::/64", 1), 4);
        let alone = lease("e", 5, "fd00:0:0:5::/64", 1);
        let all = [with.clone(), without.clone(), refused4, alone.clone()];
        let (own, own4) = (own(), over_ipv4(own(), 1));
        let ours = observer(Some(&own), network, &ipv4);
        let peers = peers6(ours, &all);
        assert_eq!(
            found(&peers),
            [(with.public_ip, 2), (without.public_ip, 3), (alone.public_ip, 5)]
        );
        assert!(peers.refused.is_empty());
        let ours = observer(Some(&own4), network, &ipv4);
        let peers = peers6(ours, &all);
        let mapped = over_ipv4(with, 2).public_ip;
        assert_eq!(found(&peers), [(mapped, 2), (without.public_ip, 3), (alone.public_ip, 5)]);
        // Whatever address it says it has over IPv4, it is the one of its IPv4 lease.
        let forged = over_ipv4(lease("b", 2, "fd00:0:0:2::/64", 1), 9);
        assert_eq!(found(&peers6(ours, &[forged])), [(mapped, 2)]);
    }

    fn judged(leases: &[Lease6]) -> Peers6 {
        let own = own();
        let network = "fd00::/48".parse().unwrap();
        peers6(observer(Some(&own), network, &[]), leases)
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
        for address in ["::", "::1", "ff02::1"] {
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
            let observer = observer(None, network, &[]);
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
