//! A node's right to an IPv6 subnet.
//!
//! The two families of a node are independent: a node that lacks one, or
//! publishes nonsense in one, keeps the other.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use tartan_common::Mac;

use crate::{Lease, LeaseBackend, Timestamp};

/// The IPv6 half of a node's lease, as its node published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease6 {
    /// The node's pods; without host bits.
    pub subnet: Ipv6Net,
    /// Where tunnel packets for the subnet are sent; the IPv4-mapped form of the node's IPv4 address
    /// where it has no IPv6 address, and they are sent over IPv4.
    pub public_ip: Ipv6Addr,
    /// The node's name.
    pub node_name: String,
    /// How the node wants to be reached.
    pub backend: LeaseBackend,
    /// When the node was made; of two overlapping claims, the older one holds.
    pub claimed_at: Timestamp,
}

impl Lease6 {
    /// That of a node without an IPv6 address, which is reached as its IPv4 lease says.
    #[must_use]
    pub fn over_ipv4(subnet: Ipv6Net, v4: &Lease) -> Self {
        Self {
            subnet,
            public_ip: v4.public_ip.to_ipv6_mapped(),
            node_name: v4.node_name.clone(),
            backend: v4.backend.clone(),
            claimed_at: v4.claimed_at,
        }
    }

    /// Whether the node is reached over IPv4.
    #[must_use]
    pub fn is_over_ipv4(&self) -> bool {
        self.public_ip.to_ipv4_mapped().is_some()
    }

    /// The MAC address of the node's IPv6 VTEP, if it has one.
    #[must_use]
    pub fn vtep_mac(&self) -> Option<Mac> {
        self.backend.vtep_mac().filter(|_| !self.is_over_ipv4())
    }
}
