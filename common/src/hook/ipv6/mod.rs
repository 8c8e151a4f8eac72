//! The same hooks for IPv6 pods.
//!
//! The gate is the same code; what is here is what differs from IPv4: the
//! sources that a host on a link may use, neighbour discovery, and a tunnel
//! whose outer UDP checksum only the kernel's device can compute.

mod overlay;
mod pod_egress;
mod source;
mod uplink_egress;
mod uplink_ingress;

pub use overlay::{
    AnyKey, OverlayEgress6, OverlayIngress6, TunnelKey6, overlay_egress6, overlay_ingress6,
};
pub use pod_egress::{PodEgress6, pod_egress6};
pub use uplink_egress::uplink_egress6;
pub use uplink_ingress::{UplinkIngress6, uplink_ingress6};

use super::{Flows, Maps, Meta, delivery};
use crate::NetAddr6;
use crate::abi::{FlowKey6, FlowState, NodeConfig, NodeEntry6, Peer6, PodEntry};
use crate::event::Event;
use crate::flow::classify;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::{ETH_LEN, Frame, Header as _, IP_AT, be16};

/// The node's tables of IPv6.
///
/// # Contract
/// That of [`Maps`].
pub trait Maps6: Maps {
    /// The pod with this address, if it is on this node.
    fn pod6(&self, address: NetAddr6) -> Option<&PodEntry>;
    /// The peer that leases this subnet.
    fn peer6(&self, subnet: NetAddr6) -> Option<&Peer6>;
    /// The node with this address.
    fn node6(&self, address: NetAddr6) -> Option<&NodeEntry6>;
    /// The entry of a flow; [`FlowState::UNKNOWN`] without one.
    fn flow6(&self, key: &FlowKey6) -> FlowState;
    /// Writes the entry of a flow.
    fn write_flow6(&self, key: &FlowKey6, state: FlowState);
    /// Deletes the entry of a flow.
    fn delete_flow6(&self, key: &FlowKey6);
}

impl<M: Maps6> Flows<NetAddr6> for M {
    #[inline(always)]
    fn entry(&self, key: &FlowKey6) -> FlowState {
        self.flow6(key)
    }

    #[inline(always)]
    fn write(&self, key: &FlowKey6, state: FlowState) {
        self.write_flow6(key, state);
    }

    #[inline(always)]
    fn delete(&self, key: &FlowKey6) {
        self.delete_flow6(key);
    }

    #[inline(always)]
    fn time(&self) -> u64 {
        self.now()
    }

    #[inline(always)]
    fn happened(&self, event: Event) {
        self.count(event);
    }
}

/// The EtherType of a frame; zero where it has none.
#[inline(always)]
pub fn ether_type<F: Frame + ?Sized>(frame: &F) -> u16 {
    frame.window::<ETH_LEN>(0).map_or(0, |eth| be16(eth, 12))
}

/// The header of a frame that says it is IPv6; `None` where it is cut off or lies.
#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F) -> Option<Ipv6Header> {
    Ipv6Header::read(frame, IP_AT).filter(Ipv6Header::is_version_6)
}

/// Keeps the gate honest about what the host stack delivers to a pod; every packet goes on.
#[inline(always)]
pub fn pod_ingress6<F: Frame + ?Sized, M: Maps6>(
    frame: &F,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) {
    if config.ipv6.is_configured()
        && let Some(ip) = ipv6(frame)
    {
        delivery(maps, config, &classify(frame, &ip), meta.tag);
    }
}
