//! Acceptance of IPv6 packets in the tunnel over IPv4: from nodes that are reached over IPv4
//! alone, or to a node that is. The same rule in the same order as for the others.

use super::Refusal;
use super::accept6::{Accepted6, accept_inner6};
use crate::abi::{NodeConfig, NodeEntry6};
use crate::reason::Reason;
use crate::wire::ethernet::{ETHERTYPE_IPV6, EthernetHeader};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::{ETH_LEN, Frame, Header as _, INNER_AT, IPV6_LEN, OUTER_LEN, size};
use crate::{NetAddr, NetAddr6};

/// Judges a tunnel packet of `frame_len` bytes whose outer headers and VXLAN header
/// [`accept`](super::accept) found in order before it met an inner protocol that is not IPv4.
///
/// `sender` looks up the outer source among the nodes that carry IPv6 over IPv4.
///
/// # Errors
/// The reason to refuse it.
#[inline(always)]
pub fn accept_crossed<F: Frame + ?Sized>(
    frame: &F,
    outer: &Ipv4Header,
    frame_len: u32,
    gso_size: u32,
    config: &NodeConfig,
    sender: impl FnOnce(NetAddr) -> Result<NodeEntry6, Refusal>,
) -> Result<Accepted6, Refusal> {
    let eth = frame.window::<ETH_LEN>(INNER_AT).ok_or(Reason::Truncated)?;
    let eth = EthernetHeader::parse(eth);
    if eth.ethertype != ETHERTYPE_IPV6 {
        return Err(Reason::InnerProtocol);
    }
    let entry = sender(outer.source)?;
    let inner = Ipv6Header::read(frame, OUTER_LEN).ok_or(Reason::Truncated)?;
    if !inner.is_version_6() {
        return Err(Reason::InnerMalformed);
    }
    let inner_len = size(IPV6_LEN) + u32::from(inner.payload_length);
    let room = frame_len.saturating_sub(size(OUTER_LEN));
    if inner_len > room || (gso_size > 0 && inner_len != room) {
        return Err(Reason::BadLength);
    }
    if eth.destination != config.vtep_mac {
        return Err(Reason::WrongVtepMac);
    }
    // The node has no IPv6 address that an inner packet could come from.
    accept_inner6(&inner, NetAddr6::UNSPECIFIED, outer.tos, config, &entry)
}
