//! Both ways through the overlay device, for IPv6 pods.

use super::uplink_ingress::{by_ipv6, over_ipv4};
use super::{Maps6, ipv6};
use crate::abi::{NodeConfig, Peer6};
use crate::flow::classify;
use crate::gate;
use crate::hook::{Meta, TunnelKey, delivery, origin, tag_of};
use crate::reason::Reason;
use crate::tunnel::accept_inner6;
use crate::wire::ethernet::EthernetHeader;
use crate::wire::{ETH_LEN, Frame};
use crate::{NetAddr, NetAddr6};

/// What becomes of a packet that the host stack, or a pod's hook, sent to the overlay device.
#[derive(Clone, Copy, Debug)]
pub enum OverlayEgress6<'m> {
    /// Nothing of the pod network's: the device's, untouched (it has nowhere to send it).
    Foreign,
    /// A pod's hook decided about it: the device's, with the tunnel key that it has.
    Keyed,
    /// Drop it.
    Drop(Reason),
    /// The device encapsulates.
    Device(&'m Peer6),
}

/// Decides about one packet whose frame says that it is IPv6.
///
/// The outer UDP checksum of a packet that is not cut up could be had from the
/// headers alone if its own checksum were known to be open, which no program
/// can see: the device encapsulates all of them.
#[inline(always)]
pub fn overlay_egress6<'m, F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
) -> OverlayEgress6<'m> {
    if meta.tag == gate::KEYED {
        return OverlayEgress6::Keyed;
    }
    let Some(ip) = ipv6(frame) else {
        return OverlayEgress6::Foreign;
    };
    // The kernel's own discovery on the device has no one to discover.
    if !config.ipv6.is_configured() || !config.ipv6.is_in_network(ip.destination) {
        return OverlayEgress6::Foreign;
    }
    delivery(maps, config, &classify(frame, &ip), meta.tag);
    match maps.peer6(ip.destination.masked(config.ipv6.subnet_mask)) {
        Some(peer) => OverlayEgress6::Device(peer),
        None => OverlayEgress6::Drop(Reason::NoPeer),
    }
}

/// What the kernel kept of the outer headers of a tunnel over IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKey6 {
    /// Outer source.
    pub sender: NetAddr6,
    /// Outer destination.
    pub receiver: NetAddr6,
    /// Network identifier.
    pub vni: u32,
}

/// What the kernel kept of the outer headers around an IPv6 packet, whatever family they are of.
///
/// No enum of the two keys: what one of them lacks would be undefined in the other's place, on a
/// path that the verifier of Linux 6.1 follows and refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyKey {
    is_ipv4: bool,
    /// Unspecified over IPv6.
    sender4: NetAddr,
    /// Those of IPv4 in their mapped form.
    sender: NetAddr6,
    receiver: NetAddr6,
    vni: u32,
}

impl AnyKey {
    /// That of a tunnel over IPv6.
    #[inline(always)]
    #[must_use]
    pub const fn v6(key: TunnelKey6) -> Self {
        let TunnelKey6 { sender, receiver, vni } = key;
        Self { is_ipv4: false, sender4: NetAddr::UNSPECIFIED, sender, receiver, vni }
    }

    /// That of a tunnel over IPv4.
    #[inline(always)]
    #[must_use]
    pub const fn v4(key: TunnelKey) -> Self {
        Self {
            is_ipv4: true,
            sender4: key.sender,
            sender: NetAddr6::mapped(key.sender),
            receiver: NetAddr6::mapped(key.receiver),
            vni: key.vni,
        }
    }
}

/// What becomes of a packet that comes up from the overlay device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayIngress6 {
    /// Judged here: into the host stack with this tag.
    Accept(u16),
    /// Drop it.
    Drop(Reason),
}

/// Decides about one packet whose frame says that it is IPv6, and that has a tunnel key. The kernel
/// has merged ECN already.
#[inline(always)]
pub fn overlay_ingress6<F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    key: AnyKey,
    config: &NodeConfig,
    maps: &M,
) -> OverlayIngress6 {
    match judge(frame, key, config, maps) {
        Ok(tag) => OverlayIngress6::Accept(tag),
        Err(reason) => OverlayIngress6::Drop(reason),
    }
}

#[inline(always)]
fn judge<F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    key: AnyKey,
    config: &NodeConfig,
    maps: &M,
) -> Result<u16, Reason> {
    let eth = frame.window::<ETH_LEN>(0).ok_or(Reason::Truncated)?;
    let to = EthernetHeader::parse(eth).destination;
    // Compared here with what is at a fixed place: to choose the address and compare it later
    // would be a variable offset, which the verifier refuses without CAP_PERFMON.
    let (for_us, to_vtep) = if key.is_ipv4 {
        (key.receiver == NetAddr6::mapped(config.node), to == config.vtep_mac)
    } else {
        (key.receiver == config.ipv6.node, to == config.ipv6.vtep_mac)
    };
    if !for_us {
        return Err(Reason::NotForThisNode);
    }
    if key.vni != config.vni {
        return Err(Reason::WrongVni);
    }
    // Over IPv4 the node has no IPv6 address that an inner packet could come from.
    let (entry, own) = if key.is_ipv4 {
        (over_ipv4(maps, key.sender4)?, NetAddr6::UNSPECIFIED)
    } else {
        (by_ipv6(maps, key.sender)?, key.sender)
    };
    if !to_vtep {
        return Err(Reason::WrongVtepMac);
    }
    let ip = ipv6(frame).ok_or(Reason::InnerMalformed)?;
    accept_inner6(&ip, own, 0, config, entry)?;
    let segment = classify(frame, &ip);
    // Seen untranslated: this hook is an origin for what the uplink's could not take.
    let _ = origin(maps, config, &segment);
    Ok(tag_of(&segment))
}
