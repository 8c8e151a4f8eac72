//! Acceptance of tunnel packets over IPv6: the same rule in the same order as
//! over IPv4, for IPv6 pods. The one condition that is new is the UDP
//! checksum, which must be there (RFC 8200 section 8.1).

use super::accept::{Refusal, check_vxlan};
use crate::NetAddr6;
use crate::abi::{NodeConfig, NodeEntry6};
use crate::reason::Reason;
use crate::wire::ecn::{self, Decapsulated};
use crate::wire::ethernet::{ETHERTYPE_IPV6, EthernetHeader};
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::ipv6::{Ipv6Header, NEXT_FRAGMENT};
use crate::wire::transport::L4_PEEK;
use crate::wire::{
    ETH_LEN, Frame, Header as _, INNER_AT6, IP_AT, IPV6_LEN, L4_AT6, OUTER6_LEN, UDP_LEN,
    VXLAN_AT6, VXLAN_LEN, be16, size,
};

/// What an IPv6 frame on the uplink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer6 {
    /// No tunnel packet for this node: none of our business.
    Foreign,
    /// A fragment of UDP to this node: the kernel reassembles, and the overlay device's guard
    /// judges what comes up.
    Fragment,
    /// A tunnel packet, or what pretends to be one.
    Tunnel(Ipv6Header),
    /// UDP to this node that ends before its header does.
    Truncated,
}

/// A tunnel packet that may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted6 {
    /// The inner IP header.
    pub inner: Ipv6Header,
    /// The traffic class to write into the inner header, where RFC 6040 changes it.
    pub class: Option<u8>,
}

/// Tells tunnel packets for this node from everything else.
///
/// UDP behind extension headers is foreign here: the kernel takes it to the
/// overlay device, whose guard judges it by its tunnel key.
#[inline(always)]
pub fn outer6<F: Frame + ?Sized>(frame: &F, config: &NodeConfig) -> Outer6 {
    let Some(ip) = Ipv6Header::read(frame, IP_AT) else {
        return Outer6::Foreign;
    };
    if ip.destination != config.ipv6.node || !ip.is_version_6() || !config.has_tunnel() {
        return Outer6::Foreign;
    }
    if ip.next_header == NEXT_FRAGMENT {
        let next = frame.window::<L4_PEEK>(L4_AT6).map(|header| header[0]);
        return if next == Some(PROTOCOL_UDP) { Outer6::Fragment } else { Outer6::Foreign };
    }
    if ip.next_header != PROTOCOL_UDP {
        return Outer6::Foreign;
    }
    match frame.window::<L4_PEEK>(L4_AT6).map(|udp| be16(udp, 2) == config.port) {
        Some(true) => Outer6::Tunnel(ip),
        Some(false) => Outer6::Foreign,
        None => Outer6::Truncated,
    }
}

/// Judges a whole tunnel packet of `frame_len` bytes, as [`accept`](super::accept) does.
///
/// # Errors
/// The reason to refuse it.
#[inline(always)]
pub fn accept6<F: Frame + ?Sized>(
    frame: &F,
    ip: &Ipv6Header,
    frame_len: u32,
    gso_size: u32,
    config: &NodeConfig,
    sender: impl FnOnce(NetAddr6) -> Option<NodeEntry6>,
) -> Result<Accepted6, Refusal> {
    let udp = frame.window::<UDP_LEN>(L4_AT6).ok_or(Reason::Truncated)?;
    let vxlan = frame.window::<VXLAN_LEN>(VXLAN_AT6).ok_or(Reason::Truncated)?;
    check_lengths(frame_len, ip, be16(udp, 4))?;
    check_vxlan(vxlan, config)?;
    if be16(udp, 6) == 0 {
        return Err(Reason::NoOuterChecksum);
    }
    let inner_eth = frame.window::<ETH_LEN>(INNER_AT6).ok_or(Reason::Truncated)?;
    let eth = EthernetHeader::parse(inner_eth);
    let inner = inner_ip(frame, eth.ethertype)?;
    // Two UDP datagrams glued together by a GRO that knows no tunnel are not one packet.
    let inner_len = size(IPV6_LEN) + u32::from(inner.payload_length);
    let room = frame_len - size(OUTER6_LEN);
    if inner_len > room || (gso_size > 0 && inner_len != room) {
        return Err(Reason::BadLength);
    }
    let entry = sender(ip.source).ok_or(Reason::UnknownSender)?;
    if eth.destination != config.ipv6.vtep_mac {
        return Err(Reason::WrongVtepMac);
    }
    accept_inner6(&inner, ip.source, ip.traffic_class(), config, &entry)
}

/// Judges the inner header of a packet from the known node `sender`.
///
/// # Errors
/// The reason to refuse it.
#[inline(always)]
pub fn accept_inner6(
    inner: &Ipv6Header,
    sender: NetAddr6,
    outer_class: u8,
    config: &NodeConfig,
    entry: &NodeEntry6,
) -> Result<Accepted6, Refusal> {
    let is_its_own = inner.source.is_in(entry.subnet, entry.mask) || inner.source == sender;
    // Whatever source is allowed: what is a link's own comes from no other link.
    let is_of_a_link = inner.source.is_link_local() || inner.source.is_unspecified();
    if is_of_a_link || (!is_its_own && !config.accepts_any_source()) {
        return Err(Reason::ForeignSource);
    }
    if !config.ipv6.is_in_subnet(inner.destination) {
        return Err(Reason::InnerDestination);
    }
    let class = match ecn::decapsulated(outer_class, inner.traffic_class()) {
        Decapsulated::Drop => return Err(Reason::EcnCorrupted),
        Decapsulated::Keep => None,
        Decapsulated::Set(class) => Some(class),
    };
    Ok(Accepted6 { inner: *inner, class })
}

#[inline(always)]
fn check_lengths(frame_len: u32, ip: &Ipv6Header, udp_length: u16) -> Result<(), Refusal> {
    let total = u32::from(ip.payload_length) + size(IPV6_LEN);
    if frame_len < size(OUTER6_LEN) + size(IPV6_LEN) || total + size(ETH_LEN) > frame_len {
        return Err(Reason::Truncated);
    }
    if udp_length != ip.payload_length || total < size(OUTER6_LEN - ETH_LEN + IPV6_LEN) {
        return Err(Reason::BadLength);
    }
    Ok(())
}

#[inline(always)]
fn inner_ip<F: Frame + ?Sized>(frame: &F, ethertype: u16) -> Result<Ipv6Header, Refusal> {
    if ethertype != ETHERTYPE_IPV6 {
        return Err(Reason::InnerProtocol);
    }
    let ip = Ipv6Header::read(frame, OUTER6_LEN).ok_or(Reason::Truncated)?;
    if ip.is_version_6() { Ok(ip) } else { Err(Reason::InnerMalformed) }
}
