//! What arrives on the uplink.

use super::{Maps, Meta, ipv4 as header, origin, tag_of};
use crate::NetAddr;
use crate::abi::{NodeConfig, NodeEntry, PodEntry};
use crate::flow::{Segment, classify};
use crate::gate::{self, Way};
use crate::reason::Reason;
use crate::tunnel::{self, Accepted, Outer};
use crate::wire::ethernet::EthernetHeader;
use crate::wire::ipv4::{self, Ipv4Header};
use crate::wire::{ETH_LEN, Frame, INNER_AT, IP_AT, IPV4_LEN, Inner};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub enum UplinkIngress<'m> {
    /// Not the tunnel's: untouched.
    Foreign,
    /// The tunnel's, for the kernel's device: its bytes untouched, with this tag.
    ///
    /// [`UNJUDGED`] where only the whole packet can be judged.
    Device(u16),
    /// Drop it.
    Drop(Reason),
    /// Decapsulated into a pod.
    Pod(&'m PodEntry, Option<u8>),
    /// Decapsulated into the host stack, with this tag.
    Stack(u16, Option<u8>),
    /// Decapsulated by the XDP program, into a pod.
    BarePod(&'m PodEntry),
    /// Decapsulated by the XDP program, into the host stack with this tag.
    BareStack(u16),
    /// A tunnel packet whose outer headers are in order, around something that is not IPv4:
    /// for [`uplink_ingress6`](super::uplink_ingress6).
    Crossed(Ipv4Header),
    /// From a node on this link, without a tunnel, into a pod.
    LinkPod(&'m PodEntry),
    /// From a node on this link, without a tunnel, into the host stack with this tag.
    LinkStack(u16),
}

/// The tag of a packet that was not judged here: `overlay_ingress` passes it
/// only if the device gives it a tunnel key to be judged by.
pub const UNJUDGED: u16 = 0;

/// Decides about one packet.
///
/// `port_at` reads 16 bits at an offset that varies.
#[inline(always)]
pub fn uplink_ingress<'m, F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
    port_at: impl FnOnce(usize) -> Option<u16>,
) -> UplinkIngress<'m> {
    // A tagged frame belongs to another device on top of this one; a priority tag alone takes
    // the packet to the kernel's device and its guard.
    if meta.in_vlan {
        return UplinkIngress::Foreign;
    }
    if config.xdp_is_trusted() && was_judged(frame, config) {
        return bare(frame, config, maps);
    }
    let sender = |address: NetAddr| -> Option<NodeEntry> { maps.node(address).copied() };
    let ip = match tunnel::outer(frame, config, port_at) {
        Outer::Foreign => return from_link(frame, meta, config, maps),
        Outer::LaterFragment => return UplinkIngress::Device(UNJUDGED),
        Outer::Options => return UplinkIngress::Drop(Reason::OuterOptions),
        Outer::Truncated => return UplinkIngress::Drop(Reason::Truncated),
        Outer::FirstFragment(ip) => {
            return match tunnel::accept_first_fragment(frame, &ip, config, sender) {
                // A device without tunnel keys has nothing else to be judged by than what the
                // first fragment shows; the reassembled packet keeps its tag.
                Ok(true) => UplinkIngress::Device(gate::ACCEPTED),
                Ok(false) => UplinkIngress::Device(UNJUDGED),
                Err(reason) => UplinkIngress::Drop(reason),
            };
        }
        Outer::Tunnel(ip) => ip,
    };
    match tunnel::accept(frame, &ip, meta.len, meta.gso_size, config, sender) {
        Err(Reason::InnerProtocol) if config.ipv6.is_configured() => UplinkIngress::Crossed(ip),
        Err(reason) => UplinkIngress::Drop(reason),
        Ok(accepted) => deliver(frame, meta, config, maps, &accepted),
    }
}

#[inline(always)]
fn deliver<'m, F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
    accepted: &Accepted,
) -> UplinkIngress<'m> {
    let inner = Inner::new(frame, INNER_AT);
    let segment = classify(&inner, &accepted.inner);
    if let Some(pod) = fast_pod(&inner, config, maps, &accepted.inner, &segment)
        && meta.is_as_sockets_take_it(accepted.inner.protocol)
    {
        return UplinkIngress::Pod(pod, accepted.tos);
    }
    // The stack may have to cut this one up again, and only the kernel's own
    // decapsulation leaves a GSO packet without traces of the tunnel.
    if meta.gso_size > 0 {
        return UplinkIngress::Device(tag_of(&segment));
    }
    UplinkIngress::Stack(tag_of(&segment), accepted.tos)
}

#[inline(always)]
fn fast_pod<'m, F: Frame + ?Sized, M: Maps>(
    frame: &F,
    config: &NodeConfig,
    maps: &'m M,
    inner: &Ipv4Header,
    segment: &Segment,
) -> Option<&'m PodEntry> {
    // A node's own address may be masqueraded on the way back: conntrack must see both ways.
    let between_pods = inner.source.is_in(config.network, config.network_mask);
    if !between_pods || inner.ttl <= 1 {
        return None;
    }
    // The host stack is to find and count it, as in any other router.
    if !frame.window::<IPV4_LEN>(IP_AT).is_some_and(ipv4::is_intact) {
        return None;
    }
    let pod = maps.pod(inner.destination).filter(|pod| pod.may_be_fast())?;
    match origin(maps, config, segment) {
        Way::Fast => Some(pod),
        Way::Stack => None,
    }
}

/// Whether the XDP program put its sign on the frame: it takes it off everybody else's.
#[inline(always)]
fn was_judged<F: Frame + ?Sized>(frame: &F, config: &NodeConfig) -> bool {
    frame
        .window::<ETH_LEN>(0)
        .is_some_and(|eth| EthernetHeader::parse(eth).source == config.vtep_mac)
}

/// A packet that the XDP program accepted and decapsulated.
#[inline(always)]
fn bare<'m, F: Frame + ?Sized, M: Maps>(
    frame: &F,
    config: &NodeConfig,
    maps: &'m M,
) -> UplinkIngress<'m> {
    let Some(ip) = header(frame) else {
        return UplinkIngress::Foreign;
    };
    let segment = classify(frame, &ip);
    match fast_pod(frame, config, maps, &ip, &segment) {
        Some(pod) => UplinkIngress::BarePod(pod),
        None => UplinkIngress::BareStack(tag_of(&segment)),
    }
}

/// A packet from a pod's address for a pod of this node that came through no
/// tunnel: from a node on this link that routes it there (flannel's host-gw and
/// `DirectRouting`), or forged.
///
/// Whether this node itself would send without a tunnel plays no role: nodes
/// that are being reconfigured one after the other must understand each other.
#[inline(always)]
fn from_link<'m, F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
) -> UplinkIngress<'m> {
    let Some(ip) = header(frame) else {
        return UplinkIngress::Foreign;
    };
    let is_ours = ip.destination.is_in(config.subnet, config.subnet_mask)
        && ip.source.is_in(config.network, config.network_mask)
        && meta.for_us;
    if !is_ours {
        return UplinkIngress::Foreign;
    }
    let sender = maps.peer(ip.source.masked(config.subnet_mask));
    if !sender.is_some_and(|peer| peer.is_on_link(meta.ifindex)) {
        return if config.accepts_any_source() {
            UplinkIngress::Foreign
        } else {
            UplinkIngress::Drop(Reason::OffLinkSource)
        };
    }
    let segment = classify(frame, &ip);
    match fast_pod(frame, config, maps, &ip, &segment) {
        Some(pod) => UplinkIngress::LinkPod(pod),
        None => UplinkIngress::LinkStack(tag_of(&segment)),
    }
}
