//! What the host stack sends out of the uplink: the delivery hook for peers
//! that are reached without a tunnel.

use super::{Maps, Meta, delivery, ipv4};
use crate::abi::NodeConfig;
use crate::flow::classify;
use crate::gate;
use crate::wire::Frame;

/// Whose a packet is. Every packet goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkEgress {
    /// None of the pod network's, or sent there by an origin hook.
    Foreign,
    /// The host stack's, for a pod of another node.
    Delivered,
}

/// Keeps the gate honest.
#[inline(always)]
pub fn uplink_egress<F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> UplinkEgress {
    let Some(ip) = ipv4(frame) else {
        return UplinkEgress::Foreign;
    };
    let is_delivery = ip.destination.is_in(config.network, config.network_mask)
        && !ip.destination.is_in(config.subnet, config.subnet_mask)
        && meta.tag != gate::FORWARDED;
    if !is_delivery {
        return UplinkEgress::Foreign;
    }
    delivery(maps, config, &classify(frame, &ip), meta.tag);
    UplinkEgress::Delivered
}
