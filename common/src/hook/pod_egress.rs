//! What a pod sends: the ingress of its veth's host end.

use super::{Maps, Meta, ipv4 as header, origin, tag_of};
use crate::NetAddr;
use crate::abi::{NodeConfig, NodeEntry, Peer, PodEntry};
use crate::flow::{Segment, classify};
use crate::gate::Way;
use crate::path::Path;
use crate::reason::Reason;
use crate::tunnel::{Fit, Open, fits, open_fields};
use crate::wire::ethernet::{ETHERTYPES_VLAN, EthernetHeader};
use crate::wire::ipv4::{self, Ipv4Header, PROTOCOL_UDP};
use crate::wire::transport::L4_PEEK;
use crate::wire::{ETH_LEN, Frame, IP_AT, IPV4_LEN, L4_AT, be16};

/// What becomes of a pod's packet.
#[derive(Clone, Copy, Debug)]
pub enum PodEgress<'m> {
    /// Not IPv4: the host stack's, untouched.
    Foreign,
    /// Drop it.
    Drop(Reason),
    /// Into the host stack with this tag.
    Stack(Path, u16),
    /// Into another pod of this node.
    Local(&'m PodEntry),
    /// Onto the wire.
    Encapsulate(&'m Peer, Open),
    /// Onto the wire as it is.
    Direct(&'m Peer),
}

/// Decides about one packet.
///
/// `port_at` reads 16 bits at an offset that varies.
#[inline(always)]
pub fn pod_egress<'m, F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
    port_at: impl FnOnce(usize) -> Option<u16>,
) -> PodEgress<'m> {
    let Some(ip) = header(frame) else {
        return foreign(frame);
    };
    let Some(pod) = maps.pod(ip.source).filter(|pod| pod.ifindex == meta.ifindex) else {
        return PodEgress::Drop(Reason::SpoofedSource);
    };
    if speaks_tunnel(frame, &ip, config, port_at, |address| maps.node(address).copied()) {
        return PodEgress::Drop(Reason::PodSpeaksTunnel);
    }
    let segment = classify(frame, &ip);
    if !ip.destination.is_in(config.network, config.network_mask) {
        return PodEgress::Stack(Path::PodElsewhere, tag_of(&segment));
    }
    let stack = PodEgress::Stack(Path::PodToStack, tag_of(&segment));
    // The stack answers an expiring packet with ICMP, knows which VLANs there are, and drops or
    // trims what is not as its header says; we only forward.
    if ip.ttl <= 1 || meta.in_vlan || !pod.may_be_fast() || !is_whole(frame, meta, &ip) {
        return stack;
    }
    if ip.destination.is_in(config.subnet, config.subnet_mask) {
        return local(maps, config, &segment, ip.destination).unwrap_or(stack);
    }
    remote(maps, meta, config, &ip, &segment).unwrap_or(stack)
}

/// Whether the packet is as long as its header says, and the header as it was sent.
#[inline(always)]
fn is_whole<F: Frame + ?Sized>(frame: &F, meta: &Meta, ip: &Ipv4Header) -> bool {
    u32::from(ip.total_length) == meta.ip_len()
        && frame.window::<IPV4_LEN>(IP_AT).is_some_and(ipv4::is_intact)
}

/// A frame that is not IPv4, as far as its bytes say. The kernel takes off one
/// VLAN tag before this hook and another one behind it, where nobody checks.
#[inline(always)]
fn foreign<'m, F: Frame + ?Sized>(frame: &F) -> PodEgress<'m> {
    let ethertype = frame.window::<ETH_LEN>(0).map(|eth| EthernetHeader::parse(eth).ethertype);
    match ethertype {
        Some(inner) if ETHERTYPES_VLAN.contains(&inner) => PodEgress::Drop(Reason::StackedTags),
        Some(_) | None => PodEgress::Foreign,
    }
}

#[inline(always)]
fn local<'m, M: Maps>(
    maps: &'m M,
    config: &NodeConfig,
    segment: &Segment,
    destination: NetAddr,
) -> Option<PodEgress<'m>> {
    let pod = maps.pod(destination).filter(|pod| pod.may_be_fast())?;
    match origin(maps, config, segment) {
        Way::Fast => Some(PodEgress::Local(pod)),
        Way::Stack => None,
    }
}

#[inline(always)]
fn remote<'m, M: Maps>(
    maps: &'m M,
    meta: &Meta,
    config: &NodeConfig,
    ip: &Ipv4Header,
    segment: &Segment,
) -> Option<PodEgress<'m>> {
    let peer = maps.peer(ip.destination.masked(config.subnet_mask))?;
    // The gate is asked first: a packet that is too big counts as seen, too.
    match origin(maps, config, segment) {
        Way::Fast => {}
        Way::Stack => return None,
    }
    match fits(meta.ip_len(), meta.gso_size, segment.headers_len, peer.mtu) {
        Fit::Fits => {}
        Fit::TooBig => return None,
    }
    if peer.is_direct() {
        return Some(PodEgress::Direct(peer));
    }
    let open = open_fields(config, meta.ip_len(), ip.tos, segment.tuple.hash())?;
    Some(PodEgress::Encapsulate(peer, open))
}

/// Whether this is UDP to a node's tunnel port: masquerading would turn the
/// pod into a trusted sender.
#[inline(always)]
fn speaks_tunnel<F: Frame + ?Sized>(
    frame: &F,
    ip: &Ipv4Header,
    config: &NodeConfig,
    port_at: impl FnOnce(usize) -> Option<u16>,
    node: impl FnOnce(NetAddr) -> Option<NodeEntry>,
) -> bool {
    if ip.protocol != PROTOCOL_UDP || !ip.has_transport_header() || !config.has_tunnel() {
        return false;
    }
    let port = if ip.is_plain() {
        frame.window::<L4_PEEK>(L4_AT).map(|udp| be16(udp, 2))
    } else {
        port_at(IP_AT + ip.header_len() + 2)
    };
    // A port that cannot be read is no port that a host would deliver to.
    port == Some(config.port)
        && (ip.destination == config.node
            || node(ip.destination).is_some()
            || is_vtep(ip.destination, config))
}

/// Whether `address` is the VTEP address of a node: the first of its subnet.
#[inline(always)]
fn is_vtep(address: NetAddr, config: &NodeConfig) -> bool {
    address.is_in(config.network, config.network_mask)
        && address == address.masked(config.subnet_mask)
}
