//! The IPv6 half of the desired state. Of a tunnel it says less than IPv4's: the kernel's device
//! encapsulates and looks up the way to a node by itself.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use tartan_common::abi::{Ipv6Config, NodeEntry6, Peer6, PeerMode};
use tartan_common::{Mac, Mtu, NetAddr6};

use crate::Lease6;
use crate::conflict;
use crate::desired::{NextHop, Obstacle};

/// What the host is like for IPv6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts6 {
    /// The uplink's address: source of our tunnel packets, destination of the peers'. `None` on a
    /// node without one, whose IPv6 goes in the tunnel over IPv4.
    pub node: Option<Ipv6Addr>,
    /// Interface index of the uplink.
    pub uplink_ifindex: u32,
    /// MTU of the uplink, or what the configuration says instead.
    pub link_mtu: Mtu,
    /// This node's end of the tunnel, where there is one.
    pub tunnel: Option<TunnelFacts6>,
    /// Whether nodes on the same link are sent to without a tunnel.
    pub is_direct: bool,
    /// How each node is reached, by its address; absent where there is no route.
    pub next_hops: BTreeMap<Ipv6Addr, NextHop<Ipv6Addr>>,
}

/// This node's end of the tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelFacts6 {
    /// The MAC address that this node publishes for IPv6; that of IPv4 where it publishes none.
    pub vtep_mac: Mac,
    /// The largest packet that fits into the tunnel over IPv6.
    pub mtu: Mtu,
    /// Hop limit of tunnel packets.
    pub hop_limit: u8,
    /// The largest packet that fits into the tunnel over IPv4.
    pub mtu4: Mtu,
    /// TTL of tunnel packets over IPv4.
    pub ttl: u8,
}

/// What the kernel's tables of IPv6 shall hold; empty on a node without an IPv6 subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired6 {
    /// By the network address of the subnet.
    pub peers: BTreeMap<Ipv6Addr, Peer6>,
    /// By the node's address.
    pub nodes: BTreeMap<Ipv6Addr, NodeEntry6>,
    /// The host stack's routes to peers that are reached without a tunnel: their nodes, all of
    /// them on the uplink's link.
    pub routes: BTreeMap<Ipv6Net, Ipv6Addr>,
    /// Peers that nothing can be sent to.
    pub unreachable: Vec<Unreachable6>,
}

/// A peer that nothing can be sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable6 {
    /// The peer.
    pub peer: conflict::Peer6,
    /// Why.
    pub why: Obstacle,
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
        node: facts.node.map_or(NetAddr6::UNSPECIFIED, NetAddr6::from),
        network: network.network().into(),
        network_mask: NetAddr6::mask(network.prefix_len()),
        subnet: own.subnet.network().into(),
        subnet_mask: NetAddr6::mask(own.subnet.prefix_len()),
        vtep_mac: facts.tunnel.map_or(Mac::default(), |tunnel| tunnel.vtep_mac),
        unused: [0; 2],
    };
    let mut tables = Desired6::default();
    for peer in peers {
        // Who may send is independent of where we could answer to.
        tables.nodes.insert(peer.public_ip, node(peer));
        match entry(peer, facts) {
            Ok(entry) => {
                if entry.is_direct() {
                    tables.routes.insert(peer.subnet, peer.public_ip);
                }
                tables.peers.insert(peer.subnet.network(), entry);
            }
            Err(why) => tables.unreachable.push(Unreachable6 { peer: peer.clone(), why }),
        }
    }
    (config, tables)
}

/// How a peer is reached. The device finds its way to a node that is not on the link, now or
/// later: only where there is no tunnel is a node without a route one without an entry.
fn entry(peer: &conflict::Peer6, facts: &HostFacts6) -> Result<Peer6, Obstacle> {
    if peer.public_ip.to_ipv4_mapped().is_some() {
        return over_ipv4(peer, facts);
    }
    if facts.node.is_none() {
        return Err(Obstacle::OtherFamily);
    }
    let hop = facts.next_hops.get(&peer.public_ip);
    let on_link = hop.filter(|hop| hop.via == peer.public_ip);
    let is_near = on_link.is_some_and(|hop| hop.ifindex == facts.uplink_ifindex);
    let direct = Peer6 {
        node: peer.public_ip.into(),
        mtu: u32::from(facts.link_mtu.get()),
        vtep_mac: Mac::default(),
        hop_limit: 0,
        mode: PeerMode::Direct as u8,
        link_ifindex: on_link.map_or(0, |hop| hop.ifindex),
    };
    match (facts.tunnel, peer.vtep_mac) {
        (Some(tunnel), Some(vtep_mac)) => {
            let tunnelled = Peer6 { vtep_mac, hop_limit: tunnel.hop_limit, ..direct };
            let is_direct = facts.is_direct && is_near;
            let mtu = u32::from(tunnel.mtu.get());
            let through = Peer6 { mtu, mode: PeerMode::Tunnel as u8, ..tunnelled };
            Ok(if is_direct { tunnelled } else { through })
        }
        (None, _) | (_, None) if is_near => Ok(direct),
        (None, _) | (_, None) if hop.is_none() => Err(Obstacle::NoRoute),
        (None, _) | (_, None) => Err(Obstacle::OffLink),
    }
}

/// A peer in the tunnel over IPv4. Without a tunnel its IPv6 pods have no next hop.
fn over_ipv4(peer: &conflict::Peer6, facts: &HostFacts6) -> Result<Peer6, Obstacle> {
    let (Some(tunnel), Some(vtep_mac)) = (facts.tunnel, peer.vtep_mac) else {
        return Err(Obstacle::OffLink);
    };
    Ok(Peer6 {
        node: peer.public_ip.into(),
        mtu: u32::from(tunnel.mtu4.get()),
        vtep_mac,
        hop_limit: tunnel.ttl,
        mode: PeerMode::Tunnel as u8,
        link_ifindex: 0,
    })
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

    fn own() -> Lease6 {
        Lease6 {
            subnet: "fd00:10:244:1::/64".parse().unwrap(),
            public_ip: "fd30::11".parse().unwrap(),
            node_name: "node1".to_owned(),
            backend: LeaseBackend::Other("vxlan".to_owned()),
            claimed_at: Timestamp::from_unix_seconds(0),
        }
    }

    fn peer(n: u8) -> conflict::Peer6 {
        conflict::Peer6 {
            subnet: format!("fd00:10:244:{n}::/64").parse().unwrap(),
            public_ip: format!("fd30::1{n}").parse().unwrap(),
            vtep_mac: Some(Mac([2, 0, 0, 0, 0, n])),
            node_name: format!("node{n}"),
        }
    }

    /// Node 2 on the link, node 3 behind a router, node 4 on another interface, node 5 nowhere.
    fn facts() -> HostFacts6 {
        let router = "fe80::1".parse().unwrap();
        let hop = |n, via, ifindex| (peer(n).public_ip, NextHop { via, ifindex });
        HostFacts6 {
            node: Some(own().public_ip),
            uplink_ifindex: 2,
            link_mtu: Mtu::new(1500).unwrap(),
            tunnel: Some(TunnelFacts6 {
                vtep_mac: Mac([2, 0, 0, 0, 0, 1]),
                mtu: Mtu::new(1430).unwrap(),
                hop_limit: 64,
                mtu4: Mtu::new(1450).unwrap(),
                ttl: 63,
            }),
            is_direct: false,
            next_hops: [
                hop(2, peer(2).public_ip, 2),
                hop(3, router, 2),
                hop(4, peer(4).public_ip, 3),
            ]
            .into(),
        }
    }

    fn computed(peers: &[conflict::Peer6], facts: &HostFacts6) -> (Ipv6Config, Desired6) {
        desired6("fd00:10:244::/56".parse().unwrap(), &own(), peers, facts)
    }

    /// Of each entry: whether it is direct, the MTU, the link.
    fn ways(tables: &Desired6) -> Vec<(bool, u32, u32)> {
        let way = |peer: &Peer6| (peer.is_direct(), peer.mtu, peer.link_ifindex);
        tables.peers.values().map(way).collect()
    }

    #[test]
    fn every_usable_peer_has_an_entry_in_both_tables() {
        let (config, tables) = computed(&[peer(2)], &facts());
        assert!(config.is_configured());
        assert!(config.is_in_subnet("fd00:10:244:1::7".parse::<Ipv6Addr>().unwrap().into()));
        let entry = tables.peers[&peer(2).subnet.network()];
        assert_eq!((entry.node, entry.mtu), (peer(2).public_ip.into(), 1430));
        assert_eq!(tables.nodes.keys().collect::<Vec<_>>(), [&peer(2).public_ip]);
    }

    #[test]
    fn direct_routing_leaves_the_tunnel_to_nodes_behind_a_router_or_another_interface() {
        let all = [peer(2), peer(3), peer(4), peer(5)];
        let (_, tables) = computed(&all, &HostFacts6 { is_direct: true, ..facts() });
        let tunnelled = |link| (false, 1430, link);
        assert_eq!(ways(&tables), [(true, 1500, 2), tunnelled(0), tunnelled(3), tunnelled(0)]);
        assert_eq!(tables.routes, [(peer(2).subnet, peer(2).public_ip)].into());
        assert!(tables.unreachable.is_empty());
        // The tunnel stays ready for what is under way in it.
        assert_eq!(tables.peers[&peer(2).subnet.network()].vtep_mac, Mac([2, 0, 0, 0, 0, 2]));
        let (_, tables) = computed(&all, &facts());
        assert_eq!(ways(&tables), [tunnelled(2), tunnelled(0), tunnelled(3), tunnelled(0)]);
        assert!(tables.routes.is_empty());
    }

    #[test]
    fn a_node_of_the_other_family_is_in_the_tunnel_over_ipv4() {
        let mapped = Ipv6Addr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0203]);
        let crossed = conflict::Peer6 { public_ip: mapped, ..peer(2) };
        let all = [crossed, peer(3)];
        let (config, tables) = computed(&all, &HostFacts6 { is_direct: true, ..facts() });
        assert_eq!(config.node, own().public_ip.into());
        assert_eq!(ways(&tables), [(false, 1450, 0), (false, 1430, 0)]);
        let entry = tables.peers[&peer(2).subnet.network()];
        assert_eq!((entry.node, entry.hop_limit), (mapped.into(), 63));
        assert_eq!(tables.nodes[&mapped], node(&peer(2)));
        let (config, tables) = computed(&all, &HostFacts6 { node: None, ..facts() });
        assert!(config.is_configured() && config.node == NetAddr6::UNSPECIFIED);
        assert_eq!(ways(&tables), [(false, 1450, 0)]);
        let why: Vec<_> = tables.unreachable.iter().map(|one| one.why).collect();
        assert_eq!(why, [Obstacle::OtherFamily]);
    }

    #[test]
    fn host_gw_reaches_nodes_on_the_link_alone() {
        let bare = |n| conflict::Peer6 { vtep_mac: None, ..peer(n) };
        let facts = HostFacts6 { tunnel: None, is_direct: true, ..facts() };
        let (config, tables) = computed(&[bare(2), bare(3), bare(4), bare(5)], &facts);
        assert_eq!(config.vtep_mac, Mac::default());
        assert_eq!(ways(&tables), [(true, 1500, 2)]);
        assert_eq!((tables.routes.len(), tables.nodes.len()), (1, 4));
        let why: Vec<_> = tables.unreachable.iter().map(|one| one.why).collect();
        assert_eq!(why, [Obstacle::OffLink, Obstacle::OffLink, Obstacle::NoRoute]);
    }
}
