//! The IPv6 half of the desired state. Fewer facts go into it: the kernel's
//! device encapsulates and looks up the way to a node by itself.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use tartan_common::abi::{Ipv6Config, NodeEntry6, Peer6};
use tartan_common::{Mac, Mtu, NetAddr6};

use crate::Lease6;
use crate::conflict;

/// What the host is like for IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostFacts6 {
    /// The uplink's address: source of our tunnel packets, destination of the peers'.
    pub node: Ipv6Addr,
    /// The MAC address that this node publishes for IPv6.
    pub vtep_mac: Mac,
    /// The largest packet that fits into the tunnel.
    pub mtu: Mtu,
    /// Hop limit of tunnel packets.
    pub hop_limit: u8,
}

/// What the kernel's tables of IPv6 shall hold; empty on a node without an IPv6 subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired6 {
    /// By the network address of the subnet.
    pub peers: BTreeMap<Ipv6Addr, Peer6>,
    /// By the node's address.
    pub nodes: BTreeMap<Ipv6Addr, NodeEntry6>,
}

/// Computes both halves: what goes into the configuration, and the tables.
#[must_use]
pub fn desired6(
    network: Ipv6Net,
    own: &Lease6,
    peers: &[conflict::Peer6],
    facts: &HostFacts6,
) -> (Ipv6Config, Desired6) {
    let config = Ipv6Config {
        node: facts.node.into(),
        network: network.network().into(),
        network_mask: NetAddr6::mask(network.prefix_len()),
        subnet: own.subnet.network().into(),
        subnet_mask: NetAddr6::mask(own.subnet.prefix_len()),
        vtep_mac: facts.vtep_mac,
        unused: [0; 2],
    };
    let tables = Desired6 {
        // A node without a VTEP wants its packets as they are, which IPv6 cannot have yet.
        peers: peers
            .iter()
            .filter_map(|peer| Some((peer.subnet.network(), entry(peer, peer.vtep_mac?, facts))))
            .collect(),
        nodes: peers.iter().map(|peer| (peer.public_ip, node(peer))).collect(),
    };
    (config, tables)
}

fn entry(peer: &conflict::Peer6, vtep_mac: Mac, facts: &HostFacts6) -> Peer6 {
    Peer6 {
        node: peer.public_ip.into(),
        mtu: u32::from(facts.mtu.get()),
        vtep_mac,
        hop_limit: facts.hop_limit,
        unused: [0; 5],
    }
}

fn node(peer: &conflict::Peer6) -> NodeEntry6 {
    NodeEntry6 {
        subnet: peer.subnet.network().into(),
        mask: NetAddr6::mask(peer.subnet.prefix_len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseBackend, Timestamp};

    #[test]
    fn every_usable_peer_has_an_entry_in_both_tables() {
        let own = Lease6 {
            subnet: "fd00:10:244:1::/64".parse().unwrap(),
            public_ip: "fd30::11".parse().unwrap(),
            node_name: "node1".to_owned(),
            backend: LeaseBackend::Other("vxlan".to_owned()),
            claimed_at: Timestamp::from_unix_seconds(0),
        };
        let peer = conflict::Peer6 {
            subnet: "fd00:10:244:2::/64".parse().unwrap(),
            public_ip: "fd30::12".parse().unwrap(),
            vtep_mac: Some(Mac([2, 0, 0, 0, 0, 2])),
            node_name: "node2".to_owned(),
        };
        let facts = HostFacts6 {
            node: own.public_ip,
            vtep_mac: Mac([2, 0, 0, 0, 0, 1]),
            mtu: Mtu::new(1430).unwrap(),
            hop_limit: 64,
        };
        let network = "fd00:10:244::/56".parse().unwrap();
        let (config, tables) = desired6(network, &own, std::slice::from_ref(&peer), &facts);
        assert!(config.is_configured());
        assert!(config.is_in_subnet("fd00:10:244:1::7".parse::<Ipv6Addr>().unwrap().into()));
        let entry = tables.peers[&peer.subnet.network()];
        assert_eq!((entry.node, entry.mtu), (peer.public_ip.into(), 1430));
        assert_eq!(tables.nodes.keys().collect::<Vec<_>>(), [&peer.public_ip]);
    }
}
