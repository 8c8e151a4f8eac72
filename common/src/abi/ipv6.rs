//! What IPv6 pods need besides what IPv4 has: its own addresses, in maps of their own.
//!
//! The two families share configuration, counters and the states of flows, and
//! nothing else: an IPv4 packet meets no wider key than it did without IPv6.

use super::PeerMode;
use super::layout::{Abi, Field, abi};
use crate::{Mac, NetAddr6};

abi! {
    /// The IPv6 half of a node's configuration; all zero on a node without an IPv6 subnet.
    #[repr(C)]
    pub struct Ipv6Config {
        /// The address that tunnel packets over IPv6 to this node carry; zero where it has none.
        pub node: NetAddr6,
        /// The cluster's IPv6 pod network.
        pub network: NetAddr6,
        /// Mask of `network`.
        pub network_mask: NetAddr6,
        /// The IPv6 subnet that this node leases.
        pub subnet: NetAddr6,
        /// Mask of every node's IPv6 subnet.
        pub subnet_mask: NetAddr6,
        /// MAC address that peers write as inner destination of IPv6 packets.
        pub vtep_mac: Mac,
        /// Zero.
        pub unused: [u8; 2],
    }
}

impl Ipv6Config {
    /// That of a node without IPv6.
    pub const NONE: Self = Self {
        node: NetAddr6::UNSPECIFIED,
        network: NetAddr6::UNSPECIFIED,
        network_mask: NetAddr6::UNSPECIFIED,
        subnet: NetAddr6::UNSPECIFIED,
        subnet_mask: NetAddr6::UNSPECIFIED,
        vtep_mac: Mac([0; 6]),
        unused: [0; 2],
    };

    /// Whether this node has an IPv6 subnet.
    #[inline(always)]
    #[must_use]
    pub const fn is_configured(&self) -> bool {
        self.subnet_mask.halves().0 != 0
    }

    /// Whether `address` belongs to a pod of the cluster, or to a VTEP.
    #[inline(always)]
    #[must_use]
    pub const fn is_in_network(&self, address: NetAddr6) -> bool {
        address.is_in(self.network, self.network_mask)
    }

    /// Whether `address` lies in this node's subnet.
    #[inline(always)]
    #[must_use]
    pub const fn is_in_subnet(&self, address: NetAddr6) -> bool {
        address.is_in(self.subnet, self.subnet_mask)
    }
}

impl Field for Ipv6Config {
    fn put(self, out: &mut [u8]) {
        self.to_bytes().put(out);
    }
    fn take(bytes: &[u8]) -> Self {
        Self::from_bytes(&Field::take(bytes))
    }
}

abi! {
    /// One known sender, keyed by its IPv6 address; by its IPv4-mapped address where IPv6 packets
    /// come from it in the tunnel over IPv4.
    #[repr(C)]
    pub struct NodeEntry6 {
        /// The IPv6 subnet that it leases.
        pub subnet: NetAddr6,
        /// Mask of `subnet`.
        pub mask: NetAddr6,
    }
}

abi! {
    /// One peer, keyed by its IPv6 subnet: what the kernel's device needs for its tunnel, and which
    /// link reaches it without one.
    #[repr(C)]
    pub struct Peer6 {
        /// The node's address: where tunnel packets go; IPv4-mapped where they go over IPv4.
        pub node: NetAddr6,
        /// The largest IP packet of a pod, in bytes.
        pub mtu: u32,
        /// The peer's VTEP MAC address; zero without a tunnel.
        pub vtep_mac: Mac,
        /// Hop limit of the outer header.
        pub hop_limit: u8,
        /// [`PeerMode`] as a number.
        pub mode: u8,
        /// Interface index of the link that the node itself is on; zero where it is on none.
        pub link_ifindex: u32,
    }
}

impl Peer6 {
    /// Whether packets go to this peer as they are.
    #[inline(always)]
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        self.mode == PeerMode::Direct as u8
    }

    /// Whether the peer's node is on the link of this interface, however packets go there.
    #[inline(always)]
    #[must_use]
    pub const fn is_on_link(&self, ifindex: u32) -> bool {
        ifindex != 0 && self.link_ifindex == ifindex
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_an_older_agent_is_in_the_tunnel_and_on_no_link() {
        let mut bytes = [0xff; size_of::<Peer6>()];
        bytes[27..].fill(0);
        let peer = Peer6::from_bytes(&bytes);
        assert!(!peer.is_direct() && !peer.is_on_link(0) && !peer.is_on_link(2));
    }

    #[test]
    fn a_node_on_a_link_is_on_no_other() {
        let near = Peer6 { link_ifindex: 2, ..Peer6::from_bytes(&[0; size_of::<Peer6>()]) };
        assert!(near.is_on_link(2) && !near.is_on_link(3) && !near.is_direct());
        let direct = Peer6 { mode: PeerMode::Direct as u8, ..near };
        assert!(direct.is_direct() && direct.is_on_link(2));
        assert_eq!(Peer6::from_bytes(&direct.to_bytes()), direct);
    }
}
