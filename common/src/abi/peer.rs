//! What it takes to reach another node's pods.

use super::layout::abi;
use crate::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use crate::wire::ipv4::{Ipv4Header, PROTOCOL_UDP, VERSION_IHL};
use crate::wire::{ETH_LEN, IP_AT, L4_AT, OUTER_LEN, VXLAN_AT, checksum, vxlan};
use crate::{Mac, NetAddr, Vni};

abi! {
    /// One peer, keyed by its subnet: everything that encapsulation needs, in one look-up.
    #[repr(C, align(8))]
    pub struct Peer {
        /// Outer Ethernet to inner Ethernet, complete but for lengths, IP id, checksum, ECN and source port.
        pub template: [u8; 64],
        /// The next hop towards the node, on the uplink.
        pub next_hop: NetAddr,
        /// Interface index of the uplink.
        pub uplink_ifindex: u32,
        /// The largest IP packet of a pod, in bytes.
        pub mtu: u32,
        /// Unfolded sum of the template's IP header, its open fields being zero.
        pub ip_sum: u32,
        /// The node's address: where tunnel packets go.
        pub node: NetAddr,
        /// [`PeerMode`] as a number.
        pub mode: u32,
    }
}

/// How a peer is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum PeerMode {
    /// Through the tunnel.
    Tunnel = 0,
    /// As it is, by Ethernet: the node is on the uplink's link.
    Direct = 1,
}

/// What a [`Peer`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// This node's address.
    pub local: NetAddr,
    /// The peer's address.
    pub remote: NetAddr,
    /// This node's VTEP MAC address.
    pub local_mac: Mac,
    /// The peer's VTEP MAC address.
    pub remote_mac: Mac,
    /// Network identifier.
    pub vni: Vni,
    /// UDP destination port.
    pub port: u16,
    /// Hop limit of the outer header (`net.ipv4.ip_default_ttl`).
    pub ttl: u8,
    /// Next hop on the uplink.
    pub next_hop: NetAddr,
    /// Uplink.
    pub uplink_ifindex: u32,
    /// Largest IP packet in bytes: inside of the tunnel, or on the link.
    pub mtu: u32,
    /// How it is reached.
    pub mode: PeerMode,
}

impl Peer {
    /// An entry for a peer that has no tunnel: its node is `node`, the uplink's
    /// `ifindex`, and `mtu` bytes go through.
    #[must_use]
    pub const fn without_tunnel(node: NetAddr, uplink_ifindex: u32, mtu: u32) -> Self {
        Self {
            template: [0; 64],
            next_hop: node,
            uplink_ifindex,
            mtu,
            ip_sum: 0,
            node,
            mode: PeerMode::Direct as u32,
        }
    }

    /// Whether packets go to this peer as they are.
    #[inline(always)]
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.mode == PeerMode::Direct as u32
    }

    /// Whether the peer's node is on the link of this interface, however packets go there.
    #[inline(always)]
    #[must_use]
    pub fn is_on_link(&self, ifindex: u32) -> bool {
        self.next_hop == self.node && self.uplink_ifindex == ifindex
    }

    /// The entry for `spec`.
    #[must_use]
    pub fn new(spec: &PeerSpec) -> Self {
        let template = template(spec);
        let ip_sum = template.get(IP_AT..L4_AT).map_or(0, checksum::sum);
        Self {
            template,
            next_hop: spec.next_hop,
            uplink_ifindex: spec.uplink_ifindex,
            mtu: spec.mtu,
            ip_sum,
            node: spec.remote,
            mode: spec.mode as u32,
        }
    }
}

fn template(spec: &PeerSpec) -> [u8; OUTER_LEN] {
    let mut t = [0; OUTER_LEN];
    // The neighbour subsystem writes the outer addresses; only the type counts.
    let outer = EthernetHeader {
        destination: Mac::default(),
        source: Mac::default(),
        ethertype: ETHERTYPE_IPV4,
    };
    let ip = Ipv4Header {
        version_ihl: VERSION_IHL,
        tos: 0,
        total_length: 0,
        identification: 0,
        fragment: 0,
        ttl: spec.ttl,
        protocol: PROTOCOL_UDP,
        checksum: 0,
        source: spec.local,
        destination: spec.remote,
    };
    let inner = EthernetHeader {
        destination: spec.remote_mac,
        source: spec.local_mac,
        ethertype: ETHERTYPE_IPV4,
    };
    if let Some(b) = t.first_chunk_mut::<ETH_LEN>() {
        outer.write(b);
    }
    if let Some(b) = t[IP_AT..].first_chunk_mut() {
        ip.write(b);
    }
    t[L4_AT + 2..L4_AT + 4].copy_from_slice(&spec.port.to_be_bytes());
    t[VXLAN_AT..VXLAN_AT + 8].copy_from_slice(&vxlan::header(spec.vni.get()));
    if let Some(b) = t.last_chunk_mut::<ETH_LEN>() {
        inner.write(b);
    }
    t
}
