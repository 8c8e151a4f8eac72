//! What the host stack delivers to a pod: the egress of its veth's host end.

use super::{Maps, Meta, delivery, ipv4};
use crate::abi::NodeConfig;
use crate::flow::classify;
use crate::wire::Frame;

/// Keeps the gate honest; every packet goes on.
#[inline(always)]
pub fn pod_ingress<F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) {
    if let Some(ip) = ipv4(frame) {
        delivery(maps, config, &classify(frame, &ip), meta.tag);
    }
}
