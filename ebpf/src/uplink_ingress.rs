//! Hook: ingress of the node's uplink. Sees everything that arrives.
//!
//! Tunnel packets for this node are judged; accepted ones are decapsulated
//! into their pod, or into the host stack as arriving on the overlay device.
//! Packets between pods that come without a tunnel are judged as well.
//! Exits for everything else: untouched.

use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use tartan_common::Mac;
use tartan_common::abi::NodeConfig;
use tartan_common::gate;
use tartan_common::hook::{self, UplinkIngress};
use tartan_common::marked::Hook;
use tartan_common::path::Path;
use tartan_common::wire::ipv4::Ipv4Header;

use crate::actions::{self, NEXT};
use crate::features::{Feature, has};
use crate::ipv6;
use crate::maps::Tables;
use crate::packet::{Packet, meet};

/// Headers that the decision reads of a tunnel packet that carries TCP.
const PEEK: usize = 98;

/// A frame arrived.
#[classifier]
#[inline(always)]
pub(crate) fn uplink_ingress(ctx: TcContext) -> i32 {
    let Some((packet, config)) = meet(ctx, PEEK, Hook::UplinkIngress) else {
        return NEXT;
    };
    let meta = packet.meta();
    let plan = hook::uplink_ingress(&packet, &meta, config, &Tables, |at| packet.be16_at(at));
    match of_ipv4(&packet, config, plan) {
        Ok(code) => code,
        Err(crossed) => ipv6::uplink_ingress(&packet, &meta, config, crossed),
    }
}

/// Does what IPv4's decision says; `Err` leaves the packet to IPv6's half, with the header of the
/// tunnel over IPv4 that it is in, if it is in one.
#[inline(always)]
fn of_ipv4(
    packet: &Packet,
    config: &NodeConfig,
    plan: UplinkIngress<'_>,
) -> Result<i32, Option<Ipv4Header>> {
    Ok(match plan {
        UplinkIngress::Foreign => return Err(None),
        UplinkIngress::Crossed(ip) => return Err(Some(ip)),
        UplinkIngress::Device(tag) => to_device(packet, tag),
        UplinkIngress::Drop(reason) => actions::drop(packet, reason),
        UplinkIngress::Pod(_, tos) if !has(Feature::RedirectPeer) => {
            to_stack(packet, config, gate::ACCEPTED, tos)
        }
        UplinkIngress::Pod(pod, tos) => {
            if !actions::decapsulate(packet) {
                return Ok(to_device(packet, gate::ACCEPTED));
            }
            actions::into_pod(packet, pod, tos, Path::UplinkPodFast)
        }
        UplinkIngress::Stack(tag, tos) => to_stack(packet, config, tag, tos),
        // A packet that needs no device's help: there are no traces of the tunnel on it.
        UplinkIngress::BarePod(pod) if has(Feature::RedirectPeer) => {
            actions::into_pod(packet, pod, None, Path::UplinkPodFast)
        }
        UplinkIngress::BarePod(_) => bare_to_stack(packet, config, gate::ACCEPTED),
        UplinkIngress::BareStack(tag) => bare_to_stack(packet, config, tag),
        UplinkIngress::LinkPod(_) if !has(Feature::RedirectPeer) => {
            packet.set_tag(gate::ACCEPTED);
            actions::pass(packet, Path::LinkToStack)
        }
        UplinkIngress::LinkPod(pod) => actions::into_pod(packet, pod, None, Path::LinkPodFast),
        UplinkIngress::LinkStack(tag) => {
            packet.set_tag(tag);
            actions::pass(packet, Path::LinkToStack)
        }
    })
}

/// The tag is written even where it is zero: one that came along with the packet proves nothing.
#[inline(always)]
fn to_device(packet: &Packet, tag: u16) -> i32 {
    packet.set_tag(tag);
    actions::pass(packet, Path::UplinkToDevice)
}

#[inline(always)]
fn to_stack(packet: &Packet, config: &NodeConfig, tag: u16, tos: Option<u8>) -> i32 {
    if !actions::decapsulate(packet) {
        return to_device(packet, tag);
    }
    packet.set_tag(tag);
    onto_overlay(packet, config, tos)
}

#[inline(always)]
fn bare_to_stack(packet: &Packet, config: &NodeConfig, tag: u16) -> i32 {
    packet.set_tag(tag);
    onto_overlay(packet, config, None)
}

#[inline(always)]
fn onto_overlay(packet: &Packet, config: &NodeConfig, tos: Option<u8>) -> i32 {
    if !actions::rewrite(packet, Mac::default(), config.vtep_mac, tos, false) {
        return actions::lost();
    }
    actions::into_stack(packet, config.overlay_ifindex, Path::UplinkToStack)
}
