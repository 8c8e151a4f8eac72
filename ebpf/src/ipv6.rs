//! The IPv6 half of each hook. IPv4 is asked first and pays nothing for it: a
//! hook comes here with what IPv4's decision calls foreign.

use tartan_common::abi::{Counted, NodeConfig};
use tartan_common::event::Event;
use tartan_common::gate;
use tartan_common::hook::{
    self, AnyKey, Meta, OverlayEgress6, OverlayIngress6, PodEgress6, UplinkEgress, UplinkIngress6,
    ether_type,
};
use tartan_common::path::Path;
use tartan_common::wire::ethernet::ETHERTYPE_IPV6;
use tartan_common::wire::ipv4::Ipv4Header;

use crate::actions::{self, NEXT};
use crate::actions6::{self, Outer};
use crate::features::{Feature, has};
use crate::maps::{Tables, count};
use crate::packet::Packet;

/// Headers that a decision reads of an inner packet: Ethernet, IPv6 and eight bytes of transport.
const PEEK: usize = 62;
/// Of a tunnel packet: the same behind seventy bytes of outer headers.
const TUNNEL_PEEK: usize = 132;

/// Whether the frame says that it is IPv6, and its first `peek` bytes can be read.
#[inline(always)]
fn is_ipv6(packet: &Packet, peek: usize) -> bool {
    if ether_type(packet) != ETHERTYPE_IPV6 {
        return false;
    }
    let readable = packet.reach(peek);
    if !readable {
        count(Counted::Event(Event::PullFailed), 0);
    }
    readable
}

/// A pod sent a packet that is not IPv4.
#[inline(always)]
pub(crate) fn pod_egress(packet: &Packet, meta: &Meta, config: &NodeConfig) -> i32 {
    if !is_ipv6(packet, PEEK) {
        return NEXT;
    }
    match hook::pod_egress6(packet, meta, config, &Tables) {
        PodEgress6::Foreign => NEXT,
        PodEgress6::Drop(reason) => actions::drop(packet, reason),
        PodEgress6::Stack(path, tag) => {
            packet.set_tag(tag);
            actions::pass(packet, path)
        }
        PodEgress6::Local(_) if !has(Feature::RedirectPeer) => {
            packet.set_tag(0);
            actions::pass(packet, Path::PodToStack)
        }
        PodEgress6::Local(pod) => actions6::into_pod(packet, pod, None, Path::PodLocalFast),
        PodEgress6::Tunnel(peer) => {
            packet.set_tag(gate::KEYED);
            if !actions6::give_key(packet, config, peer, true) {
                return actions::lost();
            }
            actions6::into_device(packet, config.overlay_ifindex, Path::PodRemoteFast)
        }
        PodEgress6::Direct(_) if !has(Feature::RedirectNeigh) => {
            packet.set_tag(0);
            actions::pass(packet, Path::PodToStack)
        }
        PodEgress6::Direct(peer) => actions6::onto_link(packet, peer),
    }
}

/// The host stack delivers a packet that may be IPv6 to a pod.
#[inline(always)]
pub(crate) fn pod_ingress(packet: &Packet, meta: &Meta, config: &NodeConfig) {
    if is_ipv6(packet, PEEK) {
        hook::pod_ingress6(packet, meta, config, &Tables);
    }
}

/// The host stack sent a packet that is not IPv4 to the pod network.
#[inline(always)]
pub(crate) fn overlay_egress(packet: &Packet, meta: &Meta, config: &NodeConfig) -> i32 {
    if !is_ipv6(packet, PEEK) {
        return NEXT;
    }
    match hook::overlay_egress6(packet, meta, config, &Tables) {
        OverlayEgress6::Foreign | OverlayEgress6::Keyed => NEXT,
        OverlayEgress6::Drop(reason) => actions::drop(packet, reason),
        OverlayEgress6::Device(peer) => {
            if !actions6::give_key(packet, config, peer, false) {
                return actions::lost();
            }
            actions::pass(packet, Path::OverlayDevice)
        }
    }
}

/// A packet that may be IPv6 came up from the overlay device; `None` leaves it to
/// IPv4's half.
#[inline(always)]
pub(crate) fn overlay_ingress(packet: &Packet, config: &NodeConfig) -> Option<i32> {
    if !is_ipv6(packet, PEEK) {
        return None;
    }
    // Without any key IPv4's half knows what to do.
    let key = match actions6::tunnel_key(packet) {
        Some(key) => AnyKey::v6(key),
        None => AnyKey::v4(actions::tunnel_key(packet)?),
    };
    Some(match hook::overlay_ingress6(packet, key, config, &Tables) {
        OverlayIngress6::Drop(reason) => actions::drop(packet, reason),
        OverlayIngress6::Accept(tag) => {
            packet.set_tag(tag);
            actions6::is_for_this_host(packet);
            actions::pass(packet, Path::OverlayAccepted)
        }
    })
}

/// A frame arrived that is no tunnel packet over IPv4, or one around something else than IPv4,
/// whose outer header is `crossed`.
#[inline(always)]
pub(crate) fn uplink_ingress(
    packet: &Packet,
    meta: &Meta,
    config: &NodeConfig,
    crossed: Option<Ipv4Header>,
) -> i32 {
    let outer = if crossed.is_some() {
        if !packet.reach(TUNNEL_PEEK) {
            count(Counted::Event(Event::PullFailed), 0);
        }
        Outer::IPV4
    } else {
        if !is_ipv6(packet, TUNNEL_PEEK) {
            return NEXT;
        }
        Outer::IPV6
    };
    match hook::uplink_ingress6(packet, crossed.as_ref(), meta, config, &Tables) {
        UplinkIngress6::Foreign => NEXT,
        UplinkIngress6::Device(tag) => to_device(packet, tag),
        UplinkIngress6::Drop(reason) => actions::drop(packet, reason),
        UplinkIngress6::Pod(_, class) if !has(Feature::RedirectPeer) => {
            to_stack(packet, config, gate::ACCEPTED, class, outer)
        }
        UplinkIngress6::Pod(pod, class) => {
            if !actions6::decapsulate(packet, outer) {
                return to_device(packet, gate::ACCEPTED);
            }
            actions6::into_pod(packet, pod, class, Path::UplinkPodFast)
        }
        UplinkIngress6::Stack(tag, class) => to_stack(packet, config, tag, class, outer),
        UplinkIngress6::LinkPod(_) if !has(Feature::RedirectPeer) => {
            link_to_stack(packet, gate::ACCEPTED)
        }
        UplinkIngress6::LinkPod(pod) => actions6::into_pod(packet, pod, None, Path::LinkPodFast),
        UplinkIngress6::LinkStack(tag) => link_to_stack(packet, tag),
    }
}

/// A frame leaves the uplink that is not IPv4.
#[inline(always)]
pub(crate) fn uplink_egress(packet: &Packet, meta: &Meta, config: &NodeConfig) -> i32 {
    if !is_ipv6(packet, PEEK) {
        return NEXT;
    }
    match hook::uplink_egress6(packet, meta, config, &Tables) {
        UplinkEgress::Foreign => NEXT,
        UplinkEgress::Delivered => actions::pass(packet, Path::StackToLink),
    }
}

#[inline(always)]
fn link_to_stack(packet: &Packet, tag: u16) -> i32 {
    packet.set_tag(tag);
    actions::pass(packet, Path::LinkToStack)
}

/// The tag is written even where it is zero: one that came along with the packet proves nothing.
#[inline(always)]
fn to_device(packet: &Packet, tag: u16) -> i32 {
    packet.set_tag(tag);
    actions::pass(packet, Path::UplinkToDevice)
}

#[inline(always)]
fn to_stack(
    packet: &Packet,
    config: &NodeConfig,
    tag: u16,
    class: Option<u8>,
    outer: Outer,
) -> i32 {
    if !actions6::decapsulate(packet, outer) {
        return to_device(packet, tag);
    }
    packet.set_tag(tag);
    // Any source would do; zeroes would become a call of memset.
    if !actions6::rewrite(packet, config.ipv6.vtep_mac, config.vtep_mac, class, false) {
        return actions::lost();
    }
    actions::into_stack(packet, config.overlay_ifindex, Path::UplinkToStack)
}
