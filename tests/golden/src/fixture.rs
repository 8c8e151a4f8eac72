//! One node, its two pods and its peers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use tartan_common::abi::{
    Abi, FastPath, FlowKey, FlowKey6, FlowState, NodeConfig, NodeEntry, NodeEntry6, Peer, Peer6,
    PeerMode, PeerSpec, PodEntry, SourceCheck,
};
use tartan_common::event::Event;
use tartan_common::flow::Tuple;
use tartan_common::hook::Maps;
use tartan_common::{Mac, NetAddr, NetAddr6, Vni};

use crate::fixture6;

/// This node's address.
pub const NODE: NetAddr = NetAddr::from_octets([172, 30, 0, 11]);
/// The peer's address.
pub const PEER: NetAddr = NetAddr::from_octets([172, 30, 0, 12]);
/// An address that no lease names.
pub const STRANGER: NetAddr = NetAddr::from_octets([172, 30, 0, 99]);
/// A pod of this node.
pub const POD: NetAddr = NetAddr::from_octets([10, 244, 1, 2]);
/// Another pod of this node.
pub const NEIGHBOUR: NetAddr = NetAddr::from_octets([10, 244, 1, 3]);
/// A pod of the peer.
pub const REMOTE: NetAddr = NetAddr::from_octets([10, 244, 2, 2]);
/// A node on the link, reached without a tunnel.
pub const LINKED: NetAddr = NetAddr::from_octets([172, 30, 0, 13]);
/// A pod of the node on the link.
pub const LINK_POD: NetAddr = NetAddr::from_octets([10, 244, 3, 2]);
/// A node behind a router.
pub const ROUTED: NetAddr = NetAddr::from_octets([172, 31, 0, 14]);
/// A pod of the node behind a router.
pub const FAR_POD: NetAddr = NetAddr::from_octets([10, 244, 4, 2]);
/// The router.
pub const ROUTER: NetAddr = NetAddr::from_octets([172, 30, 0, 1]);
/// A pod of nobody.
pub const NOWHERE: NetAddr = NetAddr::from_octets([10, 244, 77, 2]);
/// Somewhere outside the pod network.
pub const OUTSIDE: NetAddr = NetAddr::from_octets([192, 0, 2, 1]);
/// This node's VTEP.
pub const VTEP: Mac = Mac([2, 0, 0, 0, 1, 0]);
/// The peer's VTEP.
pub const PEER_VTEP: Mac = Mac([2, 0, 0, 0, 2, 0]);
/// The pod's end of its veth.
pub const POD_MAC: Mac = Mac([2, 0, 0, 1, 0, 2]);
/// The host's end of the pod's veth.
pub const HOST_MAC: Mac = Mac([2, 0, 0, 1, 0, 1]);
/// UDP port of the tunnel.
pub const PORT: u16 = 8472;
/// Network identifier.
pub const VNI: u32 = 1;
/// The interface that the kernel's test run puts packets on: loopback.
pub const POD_IFINDEX: u32 = 1;
/// The gate's epoch.
pub const EPOCH: u32 = 5;
/// Largest inner packet in bytes.
pub const MTU: u32 = 1450;

/// The node's configuration.
#[must_use]
pub fn config() -> NodeConfig {
    NodeConfig {
        node: NODE,
        network: NetAddr::from_octets([10, 244, 0, 0]),
        network_mask: NetAddr::mask(16),
        subnet: NetAddr::from_octets([10, 244, 1, 0]),
        subnet_mask: NetAddr::mask(24),
        overlay_ifindex: 1,
        vni: VNI,
        fast_path: FastPath::On as u32,
        source_check: SourceCheck::Strict as u32,
        epoch: EPOCH,
        on_until: 0,
        port_low: 32_768,
        port_span: 28_231,
        port: PORT,
        vtep_mac: VTEP,
        rules: 0,
        xdp: 0,
        reserved: 0,
        ipv6: fixture6::ipv6_config(),
    }
}

/// The node's tables in memory.
#[derive(Debug)]
pub struct Memory {
    /// `PODS`.
    pub pods: BTreeMap<NetAddr, PodEntry>,
    /// `PEERS`.
    pub peers: BTreeMap<NetAddr, Peer>,
    /// `NODES`.
    pub nodes: BTreeMap<NetAddr, NodeEntry>,
    /// `FLOWS`, by the bytes of the key.
    pub flows: RefCell<BTreeMap<<FlowKey as Abi>::Bytes, FlowState>>,
    /// `PODS6`.
    pub pods6: BTreeMap<NetAddr6, PodEntry>,
    /// `PEERS6`.
    pub peers6: BTreeMap<NetAddr6, Peer6>,
    /// `NODES6`.
    pub nodes6: BTreeMap<NetAddr6, NodeEntry6>,
    /// `FLOWS6`, by the bytes of the key.
    pub flows6: RefCell<BTreeMap<<FlowKey6 as Abi>::Bytes, FlowState>>,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub now: u64,
    /// What happened, in order.
    pub events: RefCell<Vec<Event>>,
}

impl Memory {
    /// The tables, without flows.
    #[must_use]
    pub fn new() -> Self {
        let pod = PodEntry { ifindex: POD_IFINDEX, flags: 0, pod_mac: POD_MAC, host_mac: HOST_MAC };
        let subnet = NetAddr::from_octets([10, 244, 2, 0]);
        Self {
            pods: BTreeMap::from([(POD, pod), (NEIGHBOUR, pod)]),
            peers: BTreeMap::from([
                (subnet, peer(PEER, PEER, PeerMode::Tunnel)),
                (NetAddr::from_octets([10, 244, 3, 0]), peer(LINKED, LINKED, PeerMode::Direct)),
                (NetAddr::from_octets([10, 244, 4, 0]), peer(ROUTED, ROUTER, PeerMode::Tunnel)),
            ]),
            nodes: BTreeMap::from([(PEER, NodeEntry { subnet, mask: NetAddr::mask(24) })]),
            flows: RefCell::default(),
            pods6: fixture6::pods(),
            peers6: fixture6::peers(),
            nodes6: fixture6::nodes(),
            flows6: RefCell::default(),
            now: 0,
            events: RefCell::default(),
        }
    }

    /// Makes the flow of `tuple` direct under `config`.
    pub fn make_direct(&self, config: &NodeConfig, tuple: &Tuple) {
        let (key, _) = tuple.key();
        self.write_flow(&key, config.regime(&key, || self.now).state(3));
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

fn peer(remote: NetAddr, next_hop: NetAddr, mode: PeerMode) -> Peer {
    let vni = Vni::new(u64::from(VNI));
    Peer::new(&PeerSpec {
        local: NODE,
        remote,
        local_mac: VTEP,
        remote_mac: PEER_VTEP,
        vni: vni.unwrap_or_else(|_| unreachable!("the fixture's identifier is legal")),
        port: PORT,
        ttl: 64,
        next_hop,
        uplink_ifindex: 1,
        mtu: MTU,
        mode,
    })
}

impl Maps for Memory {
    fn pod(&self, address: NetAddr) -> Option<&PodEntry> {
        self.pods.get(&address)
    }

    fn peer(&self, subnet: NetAddr) -> Option<&Peer> {
        self.peers.get(&subnet)
    }

    fn node(&self, address: NetAddr) -> Option<&NodeEntry> {
        self.nodes.get(&address)
    }

    fn flow(&self, key: &FlowKey) -> FlowState {
        self.flows.borrow().get(&key.to_bytes()).copied().unwrap_or(FlowState::UNKNOWN)
    }

    fn write_flow(&self, key: &FlowKey, state: FlowState) {
        self.flows.borrow_mut().insert(key.to_bytes(), state);
    }

    fn delete_flow(&self, key: &FlowKey) {
        self.flows.borrow_mut().remove(&key.to_bytes());
    }

    fn now(&self) -> u64 {
        self.now
    }

    fn count(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }
}
