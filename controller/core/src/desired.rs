//! The desired state of a node's kernel tables: a pure function of the
//! configuration, the leases and what the host is like.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use tartan_common::abi::{self, NodeConfig, NodeEntry, PeerSpec};
use tartan_common::{Mac, Mtu, NetAddr};

use crate::conflict::Peer;
use crate::{Lease, NetConf};

/// How a node is reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// The router on the way, or the node itself where it is on the link.
    pub via: Ipv4Addr,
    /// The interface.
    pub ifindex: u32,
}

/// What the host is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The uplink's address: source of our tunnel packets, destination of the peers'.
    pub node: Ipv4Addr,
    /// Interface index of the overlay device.
    pub overlay_ifindex: u32,
    /// MAC address of the overlay device.
    pub vtep_mac: Mac,
    /// MTU of the overlay device.
    pub overlay_mtu: Mtu,
    /// `net.ipv4.ip_default_ttl`.
    pub ttl: u8,
    /// `net.ipv4.ip_local_port_range`: first and last.
    pub ports: (u16, u16),
    /// How each node is reached, by its address; absent where there is no route.
    pub next_hops: BTreeMap<Ipv4Addr, NextHop>,
}

/// What the kernel's tables shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The configuration, in epoch 0: the epoch is the writer's. The limit of the right to `on`
    /// and the fingerprint of the rules are zero: who looks at netfilter fills them in.
    pub config: NodeConfig,
    /// By the network address of the subnet.
    pub peers: BTreeMap<Ipv4Addr, abi::Peer>,
    /// By the node's address.
    pub nodes: BTreeMap<Ipv4Addr, NodeEntry>,
    /// Peers that no route leads to.
    pub unreachable: Vec<Peer>,
}

/// Computes the desired state.
#[must_use]
pub fn desired(
    conf: &NetConf,
    own: &Lease,
    peers: &[Peer],
    facts: &HostFacts,
    fast_path: abi::FastPath,
) -> Desired {
    let mut result = Desired {
        config: config(conf, own, facts, fast_path),
        peers: BTreeMap::new(),
        nodes: BTreeMap::new(),
        unreachable: Vec::new(),
    };
    for peer in peers {
        // Who may send is independent of where we could answer to.
        result.nodes.insert(peer.public_ip, node_entry(peer));
        match facts.next_hops.get(&peer.public_ip) {
            Some(hop) => {
                let entry = abi::Peer::new(&spec(conf, peer, facts, *hop));
                result.peers.insert(peer.subnet.first_address(), entry);
            }
            None => result.unreachable.push(peer.clone()),
        }
    }
    result
}

fn config(conf: &NetConf, own: &Lease, facts: &HostFacts, fast_path: abi::FastPath) -> NodeConfig {
    let (low, high) = facts.ports;
    NodeConfig {
        node: facts.node.into(),
        network: conf.network().network().into(),
        network_mask: NetAddr::mask(conf.network().prefix_len()),
        subnet: own.subnet.first_address().into(),
        subnet_mask: NetAddr::mask(own.subnet.prefix_len()),
        overlay_ifindex: facts.overlay_ifindex,
        vni: conf.backend.vni.get(),
        fast_path: fast_path as u32,
        source_check: conf.backend.source_check as u32,
        epoch: 0,
        on_until: 0,
        port_low: u32::from(low),
        // The kernel never uses the last port of the range; nor do we.
        port_span: u32::from(high.saturating_sub(low)).max(1),
        port: conf.backend.port,
        vtep_mac: facts.vtep_mac,
        rules: 0,
        unused: [0; 4],
    }
}

fn node_entry(peer: &Peer) -> NodeEntry {
    NodeEntry {
        subnet: peer.subnet.first_address().into(),
        mask: NetAddr::mask(peer.subnet.prefix_len()),
    }
}

fn spec(conf: &NetConf, peer: &Peer, facts: &HostFacts, hop: NextHop) -> PeerSpec {
    PeerSpec {
        local: facts.node.into(),
        remote: peer.public_ip.into(),
        local_mac: facts.vtep_mac,
        remote_mac: peer.vtep_mac,
        vni: conf.backend.vni,
        port: conf.backend.port,
        ttl: facts.ttl,
        next_hop: hop.via.into(),
        uplink_ifindex: hop.ifindex,
        mtu: u32::from(facts.overlay_mtu.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LeaseBackend, NetConf, PodCidr, Timestamp, VxlanData};

    fn conf() -> NetConf {
        NetConf::parse(r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#).unwrap().conf
    }

    fn cidr(text: &str) -> PodCidr {
        PodCidr::new(text.parse().unwrap()).unwrap()
    }

    fn own() -> Lease {
        Lease {
            subnet: cidr("10.244.1.0/24"),
            public_ip: Ipv4Addr::new(172, 30, 0, 11),
            node_name: "node1".to_owned(),
            backend: LeaseBackend::Vxlan(VxlanData {
                vni: None,
                vtep_mac: Mac([2, 0, 0, 0, 0, 1]),
            }),
            claimed_at: Timestamp::from_unix_seconds(0),
            renewed_at: None,
        }
    }

    fn peer(n: u8) -> Peer {
        Peer {
            subnet: cidr(&format!("10.244.{n}.0/24")),
            public_ip: Ipv4Addr::new(172, 30, 0, 10 + n),
            vtep_mac: Mac([2, 0, 0, 0, 0, n]),
            node_name: format!("node{n}"),
        }
    }

    fn facts(reachable: &[u8]) -> HostFacts {
        let hop = |n: &u8| {
            let via = Ipv4Addr::new(172, 30, 0, 10 + n);
            (via, NextHop { via, ifindex: 2 })
        };
        HostFacts {
            node: Ipv4Addr::new(172, 30, 0, 11),
            overlay_ifindex: 7,
            vtep_mac: Mac([2, 0, 0, 0, 0, 1]),
            overlay_mtu: Mtu::new(1450).unwrap(),
            ttl: 64,
            ports: (32768, 60999),
            next_hops: reachable.iter().map(hop).collect(),
        }
    }

    #[test]
    fn an_unreachable_peer_may_still_send() {
        let state = desired(&conf(), &own(), &[peer(2), peer(3)], &facts(&[2]), abi::FastPath::On);
        assert_eq!(state.peers.keys().collect::<Vec<_>>(), [&Ipv4Addr::new(10, 244, 2, 0)]);
        assert_eq!(state.nodes.len(), 2);
        assert_eq!(state.unreachable, [peer(3)]);
    }

    #[test]
    fn the_state_does_not_depend_on_the_order_of_leases() {
        let (a, b) = ([peer(2), peer(3), peer(4)], [peer(4), peer(2), peer(3)]);
        let facts = facts(&[2, 3, 4]);
        assert_eq!(
            desired(&conf(), &own(), &a, &facts, abi::FastPath::Off),
            desired(&conf(), &own(), &b, &facts, abi::FastPath::Off)
        );
    }
}
