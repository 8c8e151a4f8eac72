//! What arrives on the uplink over IPv6.

use super::{Maps6, ipv6};
use crate::abi::{NodeConfig, NodeEntry6, PodEntry};
use crate::flow::{Segment, classify};
use crate::gate::Way;
use crate::hook::{Meta, UNJUDGED, origin, tag_of};
use crate::reason::Reason;
use crate::tunnel::{Accepted6, Outer6, accept_crossed, accept6, outer6};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::{Frame, INNER_AT, INNER_AT6, Inner};
use crate::{NetAddr, NetAddr6};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub enum UplinkIngress6<'m> {
    /// Not the tunnel's: untouched.
    Foreign,
    /// The tunnel's, for the kernel's device: its bytes untouched, with this tag.
    Device(u16),
    /// Drop it.
    Drop(Reason),
    /// Decapsulated into a pod.
    Pod(&'m PodEntry, Option<u8>),
    /// Decapsulated into the host stack, with this tag.
    Stack(u16, Option<u8>),
    /// From a node on this link, without a tunnel, into a pod.
    LinkPod(&'m PodEntry),
    /// From a node on this link, without a tunnel, into the host stack with this tag.
    LinkStack(u16),
}

/// Decides about one packet: whose frame says that it is IPv6, or in the tunnel over IPv4 around
/// something that is not IPv4. Then `crossed` is the outer header.
#[inline(always)]
pub fn uplink_ingress6<'m, F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    crossed: Option<&Ipv4Header>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
) -> UplinkIngress6<'m> {
    let judged = if let Some(outer) = crossed {
        let sender = |node: NetAddr| over_ipv4(maps, node).copied();
        accept_crossed(frame, outer, meta.len, meta.gso_size, config, sender)
            .map(|accepted| (accepted, classify(&Inner::new(frame, INNER_AT), &accepted.inner)))
    } else {
        if meta.in_vlan || !config.ipv6.is_configured() {
            return UplinkIngress6::Foreign;
        }
        let ip = match outer6(frame, config) {
            Outer6::Foreign => return from_link(frame, meta, config, maps),
            Outer6::Fragment => return UplinkIngress6::Device(UNJUDGED),
            Outer6::Truncated => return UplinkIngress6::Drop(Reason::Truncated),
            Outer6::Tunnel(ip) => ip,
        };
        let sender = |node: NetAddr6| by_ipv6(maps, node).ok().copied();
        accept6(frame, &ip, meta.len, meta.gso_size, config, sender)
            .map(|accepted| (accepted, classify(&Inner::new(frame, INNER_AT6), &accepted.inner)))
    };
    match judged {
        Err(reason) => UplinkIngress6::Drop(reason),
        Ok((accepted, segment)) => deliver(meta, config, maps, &accepted, &segment),
    }
}

/// The node that sends over IPv6. A mapped address is no sender's, whatever a packet says: it
/// stands for the IPv4 address of a node that sends over IPv4.
#[inline(always)]
pub(super) fn by_ipv6<M: Maps6>(maps: &M, node: NetAddr6) -> Result<&NodeEntry6, Reason> {
    let entry = if node.ipv4().is_some() { None } else { maps.node6(node) };
    entry.ok_or(Reason::UnknownSender)
}

/// The node that sends IPv6 over IPv4.
#[inline(always)]
pub(super) fn over_ipv4<M: Maps6>(maps: &M, node: NetAddr) -> Result<&NodeEntry6, Reason> {
    match maps.node6(NetAddr6::mapped(node)) {
        Some(entry) => Ok(entry),
        // A peer, of which IPv6 is expected over IPv6 or not at all.
        None if maps.node(node).is_some() => Err(Reason::InnerProtocol),
        None => Err(Reason::UnknownSender),
    }
}

#[inline(always)]
fn deliver<'m, M: Maps6>(
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
    accepted: &Accepted6,
    segment: &Segment<NetAddr6>,
) -> UplinkIngress6<'m> {
    if let Some(pod) = fast_pod(config, maps, &accepted.inner, segment)
        && meta.is_as_sockets_take_it(accepted.inner.next_header)
    {
        return UplinkIngress6::Pod(pod, accepted.class);
    }
    // As in IPv4: only the kernel's own decapsulation leaves a GSO packet without traces.
    if meta.gso_size > 0 {
        return UplinkIngress6::Device(tag_of(segment));
    }
    UplinkIngress6::Stack(tag_of(segment), accepted.class)
}

#[inline(always)]
fn fast_pod<'m, M: Maps6>(
    config: &NodeConfig,
    maps: &'m M,
    inner: &Ipv6Header,
    segment: &Segment<NetAddr6>,
) -> Option<&'m PodEntry> {
    // A node's own address may be masqueraded on the way back: conntrack must see both ways.
    if !config.ipv6.is_in_network(inner.source) || inner.hop_limit <= 1 {
        return None;
    }
    let pod = maps.pod6(inner.destination).filter(|pod| pod.may_be_fast())?;
    match origin(maps, config, segment) {
        Way::Fast => Some(pod),
        Way::Stack => None,
    }
}

/// A packet from a pod's address for a pod of this node that came through no tunnel, by the rule
/// of IPv4: its sender's node is on this very link.
#[inline(always)]
fn from_link<'m, F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
) -> UplinkIngress6<'m> {
    let Some(ip) = ipv6(frame) else {
        return UplinkIngress6::Foreign;
    };
    let is_ours = config.ipv6.is_in_subnet(ip.destination)
        && config.ipv6.is_in_network(ip.source)
        && meta.for_us;
    if !is_ours {
        return UplinkIngress6::Foreign;
    }
    let sender = maps.peer6(ip.source.masked(config.ipv6.subnet_mask));
    if !sender.is_some_and(|peer| peer.is_on_link(meta.ifindex)) {
        return if config.accepts_any_source() {
            UplinkIngress6::Foreign
        } else {
            UplinkIngress6::Drop(Reason::OffLinkSource)
        };
    }
    let segment = classify(frame, &ip);
    match fast_pod(config, maps, &ip, &segment) {
        Some(pod) => UplinkIngress6::LinkPod(pod),
        None => UplinkIngress6::LinkStack(tag_of(&segment)),
    }
}
