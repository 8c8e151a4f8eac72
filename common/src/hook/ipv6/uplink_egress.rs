//! What the host stack sends out of the uplink over IPv6: the delivery hook for peers that are
//! reached without a tunnel.

use super::{Maps6, ipv6};
use crate::abi::NodeConfig;
use crate::flow::classify;
use crate::gate;
use crate::hook::{Meta, UplinkEgress, delivery};
use crate::wire::Frame;

/// Keeps the gate honest about one packet whose frame says that it is IPv6.
#[inline(always)]
pub fn uplink_egress6<F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> UplinkEgress {
    if meta.tag == gate::FORWARDED || !config.ipv6.is_configured() {
        return UplinkEgress::Foreign;
    }
    let Some(ip) = ipv6(frame) else {
        return UplinkEgress::Foreign;
    };
    // Neighbours ask and answer here as well: no pod has their addresses.
    if !config.ipv6.is_in_network(ip.destination) || config.ipv6.is_in_subnet(ip.destination) {
        return UplinkEgress::Foreign;
    }
    delivery(maps, config, &classify(frame, &ip), meta.tag);
    UplinkEgress::Delivered
}
