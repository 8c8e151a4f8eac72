//! A node's right to an IPv6 subnet.
//!
//! The two families of a node are independent: a node that lacks one, or
//! publishes nonsense in one, keeps the other.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;

use crate::{LeaseBackend, Timestamp};

/// The IPv6 half of a node's lease, as its node published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease6 {
    /// The node's pods; without host bits.
    pub subnet: Ipv6Net,
    /// Where tunnel packets for the subnet are sent.
    pub public_ip: Ipv6Addr,
    /// The node's name.
    pub node_name: String,
    /// How the node wants to be reached.
    pub backend: LeaseBackend,
    /// When the node was made; of two overlapping claims, the older one holds.
    pub claimed_at: Timestamp,
}
