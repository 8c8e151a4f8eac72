//! Acceptance: which tunnel packets may come in.
//!
//! flannel accepts any sender; a tunnel without authentication must at least
//! check what it can. All of the following must hold, in this order, and each
//! failure has its own [`Reason`]. The order goes from the cheapest to forge
//! to the hardest, so that the reason names the first thing that is wrong.

use crate::NetAddr;
use crate::abi::{NodeConfig, NodeEntry};
use crate::reason::Reason;
use crate::wire::ecn::{self, Decapsulated};
use crate::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use crate::wire::ipv4::{self, Ipv4Header, PROTOCOL_UDP};
use crate::wire::transport::L4_PEEK;
use crate::wire::{
    ETH_LEN, Frame, INNER_AT, IP_AT, IPV4_LEN, L4_AT, OUTER_LEN, UDP_LEN, VXLAN_AT, VXLAN_LEN,
    be16, size, vxlan,
};

/// What a frame on the uplink is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outer {
    /// No tunnel packet for this node: none of our business.
    Foreign,
    /// A later fragment of something addressed to this node: the kernel reassembles.
    LaterFragment,
    /// The first fragment of a tunnel packet.
    FirstFragment(Ipv4Header),
    /// A tunnel packet, or what pretends to be one.
    Tunnel(Ipv4Header),
    /// Addressed to this node's tunnel, with IP options.
    Options,
    /// UDP to this node that ends before its header does.
    Truncated,
}

/// A refused packet.
pub type Refusal = Reason;

/// A tunnel packet that may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The inner IP header.
    pub inner: Ipv4Header,
    /// The TOS to write into the inner header, where RFC 6040 changes it.
    pub tos: Option<u8>,
}

/// Tells tunnel packets for this node from everything else.
///
/// `options_port` reads the UDP destination port of a packet whose header
/// length, in bytes, is not twenty: an offset that varies.
#[inline(always)]
pub fn outer<F: Frame + ?Sized>(
    frame: &F,
    config: &NodeConfig,
    options_port: impl FnOnce(usize) -> Option<u16>,
) -> Outer {
    let Some(head) = frame.window::<{ ETH_LEN + IPV4_LEN }>(0) else {
        return Outer::Foreign;
    };
    let Some(ip) = head.last_chunk::<IPV4_LEN>().map(Ipv4Header::parse) else {
        return Outer::Foreign;
    };
    let is_for_us = be16(head, 12) == ETHERTYPE_IPV4
        && ip.protocol == PROTOCOL_UDP
        && ip.destination == config.node
        && config.has_tunnel()
        && ip.is_version_4();
    if !is_for_us {
        return Outer::Foreign;
    }
    if !ip.has_transport_header() {
        return Outer::LaterFragment;
    }
    if !ip.is_plain() {
        let at = IP_AT + ip.header_len();
        let is_tunnel = options_port(at + 2) == Some(config.port);
        return if is_tunnel { Outer::Options } else { Outer::Foreign };
    }
    let Some(udp) = frame.window::<L4_PEEK>(L4_AT) else {
        return Outer::Truncated;
    };
    match (be16(udp, 2) == config.port, ip.is_fragment()) {
        (false, _) => Outer::Foreign,
        (true, true) => Outer::FirstFragment(ip),
        // The host stack drops it, as it would have without us.
        (true, false) if !head.last_chunk().is_some_and(ipv4::is_intact) => Outer::Foreign,
        (true, false) => Outer::Tunnel(ip),
    }
}

/// Judges a whole tunnel packet of `frame_len` bytes.
///
/// `sender` looks up the outer source among the known nodes. `gso_size` is
/// zero unless GRO or the sender's GSO made this packet out of several.
///
/// # Errors
/// The reason to refuse it.
#[inline(always)]
pub fn accept<F: Frame + ?Sized>(
    frame: &F,
    ip: &Ipv4Header,
    frame_len: u32,
    gso_size: u32,
    config: &NodeConfig,
    sender: impl FnOnce(NetAddr) -> Option<NodeEntry>,
) -> Result<Accepted, Refusal> {
    let udp = frame.window::<UDP_LEN>(L4_AT).ok_or(Reason::Truncated)?;
    let vxlan = frame.window::<VXLAN_LEN>(VXLAN_AT).ok_or(Reason::Truncated)?;
    check_lengths(frame_len, ip, be16(udp, 4))?;
    check_vxlan(vxlan, config)?;
    let inner_eth = frame.window::<ETH_LEN>(INNER_AT).ok_or(Reason::Truncated)?;
    let inner_ip = inner_ip(frame, EthernetHeader::parse(inner_eth).ethertype)?;
    // Two UDP datagrams glued together by a GRO that knows no tunnel are not one packet.
    let inner_len = u32::from(inner_ip.total_length);
    let room = frame_len - size(OUTER_LEN);
    if inner_len > room || (gso_size > 0 && inner_len != room) {
        return Err(Reason::BadLength);
    }
    let entry = sender(ip.source).ok_or(Reason::UnknownSender)?;
    if EthernetHeader::parse(inner_eth).destination != config.vtep_mac {
        return Err(Reason::WrongVtepMac);
    }
    accept_inner(&inner_ip, ip.source, ip.tos, config, &entry)
}

/// Judges the inner header of a packet from the known node `sender`.
///
/// # Errors
/// The reason to refuse it.
#[inline(always)]
pub fn accept_inner(
    inner: &Ipv4Header,
    sender: NetAddr,
    outer_tos: u8,
    config: &NodeConfig,
    entry: &NodeEntry,
) -> Result<Accepted, Refusal> {
    let is_its_own = inner.source.is_in(entry.subnet, entry.mask) || inner.source == sender;
    if !is_its_own && !config.accepts_any_source() {
        return Err(Reason::ForeignSource);
    }
    if !inner.destination.is_in(config.subnet, config.subnet_mask) {
        return Err(Reason::InnerDestination);
    }
    let tos = match ecn::decapsulated(outer_tos, inner.tos) {
        Decapsulated::Drop => return Err(Reason::EcnCorrupted),
        Decapsulated::Keep => None,
        Decapsulated::Set(tos) => Some(tos),
    };
    Ok(Accepted { inner: *inner, tos })
}

#[inline(always)]
fn check_lengths(frame_len: u32, ip: &Ipv4Header, udp_length: u16) -> Result<(), Refusal> {
    let total = u32::from(ip.total_length);
    if frame_len < size(OUTER_LEN) + size(IPV4_LEN) || total + size(ETH_LEN) > frame_len {
        return Err(Reason::Truncated);
    }
    // A UDP length that leaves room behind it is what smuggles bytes past a check.
    if u32::from(udp_length) + size(IPV4_LEN) != total
        || total < size(OUTER_LEN - ETH_LEN + IPV4_LEN)
    {
        return Err(Reason::BadLength);
    }
    Ok(())
}

#[inline(always)]
pub(super) fn check_vxlan(header: &[u8; VXLAN_LEN], config: &NodeConfig) -> Result<(), Refusal> {
    let (flags, vni) = vxlan::words(header);
    if flags != vxlan::FLAGS_WORD || vni & 0xff != 0 {
        return Err(Reason::WrongVxlanFlags);
    }
    if vni != vxlan::vni_word(config.vni) {
        return Err(Reason::WrongVni);
    }
    Ok(())
}

#[inline(always)]
fn inner_ip<F: Frame + ?Sized>(frame: &F, ethertype: u16) -> Result<Ipv4Header, Refusal> {
    if ethertype != ETHERTYPE_IPV4 {
        return Err(Reason::InnerProtocol);
    }
    let bytes = frame.window::<IPV4_LEN>(OUTER_LEN).ok_or(Reason::Truncated)?;
    let ip = Ipv4Header::parse(bytes);
    let is_sound = ip.is_version_4()
        && ip.header_len() >= IPV4_LEN
        && usize::from(ip.total_length) >= ip.header_len();
    if is_sound { Ok(ip) } else { Err(Reason::InnerMalformed) }
}

/// Judges the first fragment of a tunnel packet: the kernel reassembles it
/// only when what it shows of the tunnel's headers is in order.
///
/// `true` says that it shows the inner headers as well and that they may come
/// in. Else they are judged when the whole packet comes up through an overlay
/// device that keeps the tunnel's key.
///
/// # Errors
/// [`Reason::OuterFragment`], whatever was wrong: a fragment is no place for details.
#[inline(always)]
pub fn accept_first_fragment<F: Frame + ?Sized>(
    frame: &F,
    ip: &Ipv4Header,
    config: &NodeConfig,
    sender: impl FnOnce(NetAddr) -> Option<NodeEntry>,
) -> Result<bool, Refusal> {
    let is_sound = frame
        .window::<VXLAN_LEN>(VXLAN_AT)
        .is_some_and(|header| check_vxlan(header, config).is_ok());
    match sender(ip.source) {
        Some(entry) if is_sound => Ok(accepts_shown(frame, ip, config, &entry)),
        Some(_) | None => Err(Reason::OuterFragment),
    }
}

/// Whether the inner headers are all there and may come in. The kernel merges ECN.
#[inline(always)]
fn accepts_shown<F: Frame + ?Sized>(
    frame: &F,
    ip: &Ipv4Header,
    config: &NodeConfig,
    entry: &NodeEntry,
) -> bool {
    let Some(eth) = frame.window::<ETH_LEN>(INNER_AT).map(EthernetHeader::parse) else {
        return false;
    };
    let Ok(inner) = inner_ip(frame, eth.ethertype) else {
        return false;
    };
    eth.destination == config.vtep_mac && accept_inner(&inner, ip.source, 0, config, entry).is_ok()
}
