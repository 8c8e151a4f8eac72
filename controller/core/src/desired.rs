//! The desired state of a node's kernel tables: a pure function of the
//! configuration, the leases and what the host is like.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use tartan_common::abi::{self, NodeConfig, NodeEntry, PeerMode, PeerSpec};
use tartan_common::{Mac, Mtu, NetAddr};

use crate::conflict::Peer;
use crate::desired6::Desired6;
use crate::{Lease, NetConf};

/// How a node is reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop<A = Ipv4Addr> {
    /// The router on the way, or the node itself where it is on the link.
    pub via: A,
    /// The interface.
    pub ifindex: u32,
}

/// What the host is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// The uplink's address: source of our tunnel packets, destination of the peers'; unspecified
    /// on a node of IPv6 alone.
    pub node: Ipv4Addr,
    /// Interface index of the uplink.
    pub uplink_ifindex: u32,
    /// MTU of the uplink, or what the configuration says instead.
    pub link_mtu: Mtu,
    /// This node's end of the tunnel, where there is one.
    pub tunnel: Option<TunnelFacts>,
    /// `net.ipv4.ip_default_ttl`.
    pub ttl: u8,
    /// `net.ipv4.ip_local_port_range`: first and last.
    pub ports: (u16, u16),
    /// How each node is reached, by its address; absent where there is no route.
    pub next_hops: BTreeMap<Ipv4Addr, NextHop>,
}

/// This node's end of the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelFacts {
    /// Interface index of the overlay device.
    pub overlay_ifindex: u32,
    /// MAC address of the overlay device.
    pub vtep_mac: Mac,
    /// MTU of the overlay device.
    pub overlay_mtu: Mtu,
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
    /// The host stack's routes to peers that are reached without a tunnel: their nodes, all of
    /// them on the uplink's link.
    pub routes: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// Peers that nothing can be sent to.
    pub unreachable: Vec<Unreachable>,
    /// The tables of IPv6; empty until who knows the IPv6 lease fills them in, as he does with
    /// the configuration's half.
    pub ipv6: Desired6,
}

/// A peer that nothing can be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable {
    /// The peer.
    pub peer: Peer,
    /// Why.
    pub why: Obstacle,
}

/// Why nothing can be sent to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// No route leads to its node.
    NoRoute,
    /// Its node is not on the uplink's link, and there is no tunnel.
    OffLink,
    /// It has IPv6 alone, and this node no IPv6 address.
    OtherFamily,
}

/// Computes the desired state.
#[must_use]
pub fn desired(
    conf: &NetConf,
    own: Option<&Lease>,
    peers: &[Peer],
    facts: &HostFacts,
    fast_path: abi::FastPath,
) -> Desired {
    let mut result = Desired {
        config: config(conf, own, facts, fast_path),
        peers: BTreeMap::new(),
        nodes: BTreeMap::new(),
        routes: BTreeMap::new(),
        unreachable: Vec::new(),
        ipv6: Desired6::default(),
    };
    for peer in peers {
        // Who may send is independent of where we could answer to.
        result.nodes.insert(peer.public_ip, node_entry(peer));
        match entry(conf, peer, facts) {
            Ok(entry) => {
                if entry.is_direct() {
                    result.routes.insert(peer.subnet.net(), peer.public_ip);
                }
                result.peers.insert(peer.subnet.first_address(), entry);
            }
            Err(why) => result.unreachable.push(Unreachable { peer: peer.clone(), why }),
        }
    }
    result
}

/// The one address that no packet on a wire is for: the network of a node without IPv4.
const NO_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 32);

fn config(
    conf: &NetConf,
    own: Option<&Lease>,
    facts: &HostFacts,
    fast_path: abi::FastPath,
) -> NodeConfig {
    let (low, high) = facts.ports;
    let tunnel = conf.backend.vxlan();
    let network = conf.network().unwrap_or(NO_NETWORK);
    let subnet = own.map_or(NO_NETWORK, |lease| lease.subnet.net());
    NodeConfig {
        node: facts.node.into(),
        network: network.network().into(),
        network_mask: NetAddr::mask(network.prefix_len()),
        subnet: subnet.network().into(),
        subnet_mask: NetAddr::mask(subnet.prefix_len()),
        overlay_ifindex: facts.tunnel.map_or(0, |tunnel| tunnel.overlay_ifindex),
        vni: tunnel.map_or(0, |tunnel| tunnel.vni.get()),
        fast_path: fast_path as u32,
        source_check: conf.backend.source_check() as u32,
        epoch: 0,
        on_until: 0,
        port_low: u32::from(low),
        // The kernel never uses the last port of the range; nor do we.
        port_span: u32::from(high.saturating_sub(low)).max(1),
        port: tunnel.map_or(0, |tunnel| tunnel.port),
        vtep_mac: facts.tunnel.map_or(Mac::default(), |tunnel| tunnel.vtep_mac),
        rules: 0,
        xdp: 0,
        reserved: 0,
        ipv6: abi::Ipv6Config::NONE,
    }
}

fn node_entry(peer: &Peer) -> NodeEntry {
    NodeEntry {
        subnet: peer.subnet.first_address().into(),
        mask: NetAddr::mask(peer.subnet.prefix_len()),
    }
}

/// How a peer is reached.
fn entry(conf: &NetConf, peer: &Peer, facts: &HostFacts) -> Result<abi::Peer, Obstacle> {
    let hop = *facts.next_hops.get(&peer.public_ip).ok_or(Obstacle::NoRoute)?;
    let is_on_link = hop.via == peer.public_ip && hop.ifindex == facts.uplink_ifindex;
    let mode =
        if conf.backend.is_direct() && is_on_link { PeerMode::Direct } else { PeerMode::Tunnel };
    let link_mtu = u32::from(facts.link_mtu.get());
    match (conf.backend.vxlan(), facts.tunnel, peer.vtep_mac) {
        (Some(vxlan), Some(tunnel), Some(remote_mac)) => Ok(abi::Peer::new(&PeerSpec {
            local: facts.node.into(),
            remote: peer.public_ip.into(),
            local_mac: tunnel.vtep_mac,
            remote_mac,
            vni: vxlan.vni,
            port: vxlan.port,
            ttl: facts.ttl,
            next_hop: hop.via.into(),
            uplink_ifindex: hop.ifindex,
            mtu: match mode {
                PeerMode::Tunnel => u32::from(tunnel.overlay_mtu.get()),
                PeerMode::Direct => link_mtu,
            },
            mode,
        })),
        (None, _, _) | (_, None, _) | (_, _, None) if is_on_link => {
            Ok(abi::Peer::without_tunnel(peer.public_ip.into(), hop.ifindex, link_mtu))
        }
        (None, _, _) | (_, None, _) | (_, _, None) => Err(Obstacle::OffLink),
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
            vtep_mac: Some(Mac([2, 0, 0, 0, 0, n])),
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
            uplink_ifindex: 2,
            link_mtu: Mtu::new(1500).unwrap(),
            tunnel: Some(TunnelFacts {
                overlay_ifindex: 7,
                vtep_mac: Mac([2, 0, 0, 0, 0, 1]),
                overlay_mtu: Mtu::new(1450).unwrap(),
            }),
            ttl: 64,
            ports: (32768, 60999),
            next_hops: reachable.iter().map(hop).collect(),
        }
    }

    #[test]
    fn an_unreachable_peer_may_still_send() {
        let state =
            desired(&conf(), Some(&own()), &[peer(2), peer(3)], &facts(&[2]), abi::FastPath::On);
        assert_eq!(state.peers.keys().collect::<Vec<_>>(), [&Ipv4Addr::new(10, 244, 2, 0)]);
        assert_eq!(state.nodes.len(), 2);
        assert_eq!(state.unreachable, [Unreachable { peer: peer(3), why: Obstacle::NoRoute }]);
        assert!(state.routes.is_empty());
    }

    #[test]
    fn the_state_does_not_depend_on_the_order_of_leases() {
        let (a, b) = ([peer(2), peer(3), peer(4)], [peer(4), peer(2), peer(3)]);
        let facts = facts(&[2, 3, 4]);
        assert_eq!(
            desired(&conf(), Some(&own()), &a, &facts, abi::FastPath::Off),
            desired(&conf(), Some(&own()), &b, &facts, abi::FastPath::Off)
        );
    }

    /// Node 2 on the link, node 3 behind a router, node 4 on another interface.
    fn mixed() -> HostFacts {
        let mut facts = facts(&[2, 3, 4]);
        let router = Ipv4Addr::new(172, 30, 0, 1);
        facts.next_hops.insert(peer(3).public_ip, NextHop { via: router, ifindex: 2 });
        facts.next_hops.insert(peer(4).public_ip, NextHop { via: peer(4).public_ip, ifindex: 3 });
        facts
    }

    fn with_backend(backend: &str, facts: &HostFacts) -> Desired {
        let text = format!(r#"{{"Network":"10.244.0.0/16","Backend":{backend}}}"#);
        let conf = NetConf::parse(&text).unwrap().conf;
        let mac = |peer| Peer { vtep_mac: conf.backend.vxlan().and(Some(Mac([2; 6]))), ..peer };
        let peers = [peer(2), peer(3), peer(4)].map(mac);
        desired(&conf, Some(&own()), &peers, facts, abi::FastPath::On)
    }

    fn modes(state: &Desired) -> Vec<(bool, u32)> {
        state.peers.values().map(|peer| (peer.is_direct(), peer.mtu)).collect()
    }

    #[test]
    fn direct_routing_leaves_the_tunnel_to_nodes_behind_a_router_or_another_interface() {
        let state = with_backend(r#"{"Type":"vxlan","DirectRouting":true}"#, &mixed());
        assert_eq!(modes(&state), [(true, 1500), (false, 1450), (false, 1450)]);
        let routes = BTreeMap::from([(peer(2).subnet.net(), peer(2).public_ip)]);
        assert_eq!((state.routes, state.unreachable), (routes, Vec::new()));
    }

    #[test]
    fn without_direct_routing_everything_goes_through_the_tunnel() {
        let state = with_backend(r#"{"Type":"vxlan"}"#, &mixed());
        assert_eq!(modes(&state), [(false, 1450); 3]);
        assert!(state.routes.is_empty());
    }

    #[test]
    fn host_gw_reaches_nodes_on_the_link_alone() {
        let facts = HostFacts { tunnel: None, ..mixed() };
        let state = with_backend(r#"{"Type":"host-gw"}"#, &facts);
        assert_eq!(modes(&state), [(true, 1500)]);
        assert_eq!(state.routes.len(), 1);
        let why: Vec<_> = state.unreachable.iter().map(|one| one.why).collect();
        assert_eq!(why, [Obstacle::OffLink; 2]);
        assert!(!state.config.has_tunnel());
    }
}
