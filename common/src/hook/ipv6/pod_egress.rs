//! What a pod sends over IPv6.

use super::source::{Speaker, speaker};
use super::{Maps6, ipv6};
use crate::NetAddr6;
use crate::abi::{NodeConfig, Peer6, PodEntry};
use crate::flow::{Segment, classify};
use crate::gate::{self, Way};
use crate::hook::{Meta, origin, tag_of};
use crate::path::Path;
use crate::reason::Reason;
use crate::tunnel::{Fit, fits};
use crate::wire::ipv4::PROTOCOL_UDP;
use crate::wire::ipv6::{Ipv6Header, NEXT_FRAGMENT, is_extension};
use crate::wire::transport::L4_PEEK;
use crate::wire::{Frame, IPV6_LEN, L4_AT6, be16, size};

/// What becomes of a pod's packet.
#[derive(Clone, Copy, Debug)]
pub enum PodEgress6<'m> {
    /// This node has no IPv6 pods: the host stack's, untouched.
    Foreign,
    /// Drop it.
    Drop(Reason),
    /// Into the host stack with this tag.
    Stack(Path, u16),
    /// Into another pod of this node.
    Local(&'m PodEntry),
    /// Straight to the overlay device, which encapsulates.
    Tunnel(&'m Peer6),
    /// Onto the wire as it is.
    Direct(&'m Peer6),
}

/// Decides about one packet whose frame says that it is IPv6.
#[inline(always)]
pub fn pod_egress6<'m, F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
) -> PodEgress6<'m> {
    let Some(ip) = ipv6(frame) else {
        // No stack takes it for a packet of the version that the frame claims.
        return PodEgress6::Foreign;
    };
    let speaker = match speaker(frame, &ip) {
        Ok(speaker) => speaker,
        Err(Reason::RogueRouter) => return PodEgress6::Drop(Reason::RogueRouter),
        Err(_) if !config.ipv6.is_configured() => return PodEgress6::Foreign,
        Err(reason) => return PodEgress6::Drop(reason),
    };
    if !config.ipv6.is_configured() {
        return PodEgress6::Foreign;
    }
    match speaker {
        Speaker::Link => PodEgress6::Stack(Path::PodElsewhere, gate::ACCEPTED),
        Speaker::Pod => of_a_pod(frame, meta, config, maps, &ip),
    }
}

#[inline(always)]
fn of_a_pod<'m, F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
    ip: &Ipv6Header,
) -> PodEgress6<'m> {
    let Some(pod) = maps.pod6(ip.source).filter(|pod| pod.ifindex == meta.ifindex) else {
        return PodEgress6::Drop(Reason::SpoofedSource);
    };
    if speaks_tunnel(frame, ip, config, |address| maps.node6(address).is_some()) {
        return PodEgress6::Drop(Reason::PodSpeaksTunnel);
    }
    let segment = classify(frame, ip);
    if !config.ipv6.is_in_network(ip.destination) {
        return PodEgress6::Stack(Path::PodElsewhere, tag_of(&segment));
    }
    let stack = PodEgress6::Stack(Path::PodToStack, tag_of(&segment));
    // As in IPv4: the stack answers what expires, and knows which VLANs there are.
    if ip.hop_limit <= 1 || meta.in_vlan || !pod.may_be_fast() || !is_whole(meta, ip) {
        return stack;
    }
    if config.ipv6.is_in_subnet(ip.destination) {
        return local(maps, config, &segment, ip.destination).unwrap_or(stack);
    }
    remote(maps, meta, config, ip.destination, &segment).unwrap_or(stack)
}

/// Whether the packet is as long as its header says: else the stack cuts it, or drops and counts
/// it, as in any other router.
#[inline(always)]
fn is_whole(meta: &Meta, ip: &Ipv6Header) -> bool {
    size(IPV6_LEN) + u32::from(ip.payload_length) == meta.ip_len()
}

#[inline(always)]
fn local<'m, M: Maps6>(
    maps: &'m M,
    config: &NodeConfig,
    segment: &Segment<NetAddr6>,
    destination: NetAddr6,
) -> Option<PodEgress6<'m>> {
    let pod = maps.pod6(destination).filter(|pod| pod.may_be_fast())?;
    match origin(maps, config, segment) {
        Way::Fast => Some(PodEgress6::Local(pod)),
        Way::Stack => None,
    }
}

#[inline(always)]
fn remote<'m, M: Maps6>(
    maps: &'m M,
    meta: &Meta,
    config: &NodeConfig,
    destination: NetAddr6,
    segment: &Segment<NetAddr6>,
) -> Option<PodEgress6<'m>> {
    let peer = maps.peer6(destination.masked(config.ipv6.subnet_mask))?;
    // The gate is asked first: a packet that is too big counts as seen, too.
    match origin(maps, config, segment) {
        Way::Fast => {}
        Way::Stack => return None,
    }
    match fits(meta.ip_len(), meta.gso_size, segment.headers_len, peer.mtu) {
        Fit::Fits if peer.is_direct() => Some(PodEgress6::Direct(peer)),
        Fit::Fits => Some(PodEgress6::Tunnel(peer)),
        Fit::TooBig => None,
    }
}

/// Whether this is, or may be, UDP to a node's tunnel port: masquerading would turn the pod into
/// a trusted sender.
#[inline(always)]
fn speaks_tunnel<F: Frame + ?Sized>(
    frame: &F,
    ip: &Ipv6Header,
    config: &NodeConfig,
    is_node: impl FnOnce(NetAddr6) -> bool,
) -> bool {
    config.has_tunnel()
        && may_reach_port(frame, ip, config.port)
        && (ip.destination == config.ipv6.node
            || is_vtep(ip.destination, config)
            || is_node(ip.destination))
}

/// Whether a host could find UDP to `port` in this packet. What hides behind extension headers
/// might be anything; only a fragment header in front of UDP is looked behind.
#[inline(always)]
fn may_reach_port<F: Frame + ?Sized>(frame: &F, ip: &Ipv6Header, port: u16) -> bool {
    let at = if ip.next_header == PROTOCOL_UDP {
        frame.window::<L4_PEEK>(L4_AT6)
    } else if ip.next_header == NEXT_FRAGMENT {
        let Some(fragment) = frame.window::<L4_PEEK>(L4_AT6) else {
            return false;
        };
        if fragment[0] != PROTOCOL_UDP {
            return is_extension(fragment[0]);
        }
        // A later fragment is nothing without the first one.
        if be16(fragment, 2) >> 3 != 0 {
            return false;
        }
        frame.window::<L4_PEEK>(L4_AT6 + L4_PEEK)
    } else {
        return is_extension(ip.next_header);
    };
    // A port that cannot be read is no port that a host would deliver to.
    at.is_some_and(|udp| be16(udp, 2) == port)
}

/// Whether `address` is the VTEP address of a node: the first of its subnet.
#[inline(always)]
fn is_vtep(address: NetAddr6, config: &NodeConfig) -> bool {
    config.ipv6.is_in_network(address) && address == address.masked(config.ipv6.subnet_mask)
}
