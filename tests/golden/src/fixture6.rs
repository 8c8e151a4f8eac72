//! The same node, pods and peers over IPv6.

use std::collections::BTreeMap;

use tartan_common::abi::{
    Abi as _, FlowKey6, FlowState, Ipv6Config, NodeConfig, NodeEntry6, Peer6, PeerMode, PodEntry,
};
use tartan_common::flow::Tuple;
use tartan_common::hook::Maps6;
use tartan_common::{Mac, NetAddr, NetAddr6};

use crate::fixture::{HOST_MAC, MTU, Memory, PEER_VTEP, POD_IFINDEX, POD_MAC, VTEP};

/// An address of the documentation's prefix, or of ours.
const fn addr(head: [u8; 2], subnet: u8, host: u8) -> NetAddr6 {
    let [a, b] = head;
    NetAddr6::from_octets([a, b, 0, 0x10, 2, 0x44, 0, subnet, 0, 0, 0, 0, 0, 0, 0, host])
}

/// This node's address.
pub const NODE: NetAddr6 = addr([0xfd, 0x30], 0, 0x11);
/// The peer's address.
pub const PEER: NetAddr6 = addr([0xfd, 0x30], 0, 0x12);
/// An address that no lease names.
pub const STRANGER: NetAddr6 = addr([0xfd, 0x30], 0, 0x99);
/// A pod of this node.
pub const POD: NetAddr6 = addr([0xfd, 0], 1, 2);
/// Another pod of this node.
pub const NEIGHBOUR: NetAddr6 = addr([0xfd, 0], 1, 3);
/// What pods route by.
pub const GATEWAY: NetAddr6 = addr([0xfd, 0], 1, 1);
/// A pod of the peer.
pub const REMOTE: NetAddr6 = addr([0xfd, 0], 2, 2);
/// The peer's VTEP.
pub const REMOTE_VTEP: NetAddr6 = addr([0xfd, 0], 2, 0);
/// A node on the link, reached without a tunnel.
pub const LINKED: NetAddr6 = addr([0xfd, 0x30], 0, 0x13);
/// A pod of the node on the link.
pub const LINK_POD: NetAddr6 = addr([0xfd, 0], 3, 2);
/// A node behind a router.
pub const ROUTED: NetAddr6 = addr([0xfd, 0x30], 9, 0x14);
/// A pod of the node behind a router.
pub const FAR_POD: NetAddr6 = addr([0xfd, 0], 4, 2);
/// A node without an IPv6 address, reached over IPv4.
pub const CROSSED_NODE: NetAddr = NetAddr::from_octets([172, 30, 0, 15]);
/// A pod of the node without an IPv6 address.
pub const CROSSED_POD: NetAddr6 = addr([0xfd, 0], 5, 2);
/// A pod of nobody.
pub const NOWHERE: NetAddr6 = addr([0xfd, 0], 77, 2);
/// Somewhere outside the pod network.
pub const OUTSIDE: NetAddr6 = addr([0x20, 1], 0, 1);
/// A pod's address on its link.
pub const LINK_LOCAL: NetAddr6 =
    NetAddr6::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
/// All nodes on the link.
pub const ALL_NODES: NetAddr6 =
    NetAddr6::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// The peer's VTEP of IPv6: another than that of IPv4, as flannel has it.
pub const PEER_VTEP6: Mac = Mac([2, 0, 0, 6, 2, 0]);
/// This node's VTEP of IPv6.
pub const VTEP6: Mac = Mac([2, 0, 0, 6, 1, 0]);

/// What the configuration says about IPv6.
#[must_use]
pub fn ipv6_config() -> Ipv6Config {
    Ipv6Config {
        node: NODE,
        network: addr([0xfd, 0], 0, 0),
        network_mask: NetAddr6::mask(56),
        subnet: addr([0xfd, 0], 1, 0),
        subnet_mask: NetAddr6::mask(64),
        vtep_mac: VTEP6,
        unused: [0; 2],
    }
}

/// `PODS6`.
#[must_use]
pub fn pods() -> BTreeMap<NetAddr6, PodEntry> {
    let pod = PodEntry { ifindex: POD_IFINDEX, flags: 0, pod_mac: POD_MAC, host_mac: HOST_MAC };
    BTreeMap::from([(POD, pod), (NEIGHBOUR, pod)])
}

/// `PEERS6`.
#[must_use]
pub fn peers() -> BTreeMap<NetAddr6, Peer6> {
    let peer = Peer6 {
        node: PEER,
        mtu: MTU - 20,
        vtep_mac: PEER_VTEP6,
        hop_limit: 64,
        mode: PeerMode::Tunnel as u8,
        link_ifindex: 1,
    };
    let linked = Peer6 { node: LINKED, mtu: MTU, mode: PeerMode::Direct as u8, ..peer };
    let routed = Peer6 { node: ROUTED, link_ifindex: 0, ..peer };
    let node = NetAddr6::mapped(CROSSED_NODE);
    let crossed = Peer6 { node, mtu: MTU, vtep_mac: PEER_VTEP, link_ifindex: 0, ..peer };
    BTreeMap::from([
        (addr([0xfd, 0], 5, 0), crossed),
        (addr([0xfd, 0], 2, 0), peer),
        (addr([0xfd, 0], 3, 0), linked),
        (addr([0xfd, 0], 4, 0), routed),
    ])
}

/// `NODES6`.
#[must_use]
pub fn nodes() -> BTreeMap<NetAddr6, NodeEntry6> {
    let entry = NodeEntry6 { subnet: addr([0xfd, 0], 2, 0), mask: NetAddr6::mask(64) };
    let crossed = NodeEntry6 { subnet: addr([0xfd, 0], 5, 0), ..entry };
    BTreeMap::from([(PEER, entry), (NetAddr6::mapped(CROSSED_NODE), crossed)])
}

/// The peer's view of the fixture.
#[must_use]
pub fn mirrored(config: NodeConfig) -> (NodeConfig, Memory) {
    let ipv6 = Ipv6Config {
        node: PEER,
        subnet: addr([0xfd, 0], 2, 0),
        vtep_mac: PEER_VTEP6,
        ..config.ipv6
    };
    let mut maps = Memory::new();
    let pod = PodEntry { ifindex: POD_IFINDEX, flags: 0, pod_mac: POD_MAC, host_mac: HOST_MAC };
    maps.pods6 = BTreeMap::from([(REMOTE, pod)]);
    let entry = NodeEntry6 { subnet: addr([0xfd, 0], 1, 0), mask: NetAddr6::mask(64) };
    maps.nodes6 = BTreeMap::from([(NODE, entry)]);
    (NodeConfig { ipv6, vtep_mac: VTEP, ..config }, maps)
}

impl Memory {
    /// Makes the IPv6 flow of `tuple` direct under `config`.
    pub fn make_direct6(&self, config: &NodeConfig, tuple: &Tuple<NetAddr6>) {
        let (key, _) = tuple.key();
        self.write_flow6(&key, config.regime(&key, || self.now).state(3));
    }
}

impl Maps6 for Memory {
    fn pod6(&self, address: NetAddr6) -> Option<&PodEntry> {
        self.pods6.get(&address)
    }

    fn peer6(&self, subnet: NetAddr6) -> Option<&Peer6> {
        self.peers6.get(&subnet)
    }

    fn node6(&self, address: NetAddr6) -> Option<&NodeEntry6> {
        self.nodes6.get(&address)
    }

    fn flow6(&self, key: &FlowKey6) -> FlowState {
        self.flows6.borrow().get(&key.to_bytes()).copied().unwrap_or(FlowState::UNKNOWN)
    }

    fn write_flow6(&self, key: &FlowKey6, state: FlowState) {
        self.flows6.borrow_mut().insert(key.to_bytes(), state);
    }

    fn delete_flow6(&self, key: &FlowKey6) {
        self.flows6.borrow_mut().remove(&key.to_bytes());
    }
}
