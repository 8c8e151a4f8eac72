//! What the host stack routed to the pod network.

use super::{Maps, Meta, delivery, ipv4};
use crate::abi::{NodeConfig, Peer};
use crate::flow::classify;
use crate::reason::Reason;
use crate::tunnel::{Open, open_fields};
use crate::wire::Frame;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub enum OverlayEgress<'m> {
    /// Not IPv4: the device's, untouched (it has nowhere to send it).
    Foreign,
    /// Drop it.
    Drop(Reason),
    /// Onto the wire.
    Encapsulate(&'m Peer, Open),
    /// Larger than the program can express: the device encapsulates.
    Device(&'m Peer),
}

/// Decides about one packet.
#[inline(always)]
pub fn overlay_egress<'m, F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &'m M,
) -> OverlayEgress<'m> {
    let Some(ip) = ipv4(frame) else {
        return OverlayEgress::Foreign;
    };
    let segment = classify(frame, &ip);
    delivery(maps, config, &segment, meta.tag);
    let Some(peer) = maps.peer(ip.destination.masked(config.subnet_mask)) else {
        return OverlayEgress::Drop(Reason::NoPeer);
    };
    // All fragments of a packet share one hash: their tuple has no ports.
    match open_fields(config, meta.ip_len(), ip.tos, segment.tuple.hash()) {
        Some(open) => OverlayEgress::Encapsulate(peer, open),
        None => OverlayEgress::Device(peer),
    }
}
