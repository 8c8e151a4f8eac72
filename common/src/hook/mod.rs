//! One decision function per hook.
//!
//! Each takes a frame and the maps and answers with a plan; applying the plan
//! (helpers, redirects) is all that the kernel program does. The only side
//! effect is on the flow entries, through [`Maps`].

mod overlay_egress;
mod overlay_ingress;
mod pod_egress;
mod pod_ingress;
mod uplink_ingress;

pub use overlay_egress::{OverlayEgress, overlay_egress};
pub use overlay_ingress::{OverlayIngress, TunnelKey, overlay_ingress};
pub use pod_egress::{PodEgress, pod_egress};
pub use pod_ingress::pod_ingress;
pub use uplink_ingress::{UNJUDGED, UplinkIngress, uplink_ingress};

use crate::NetAddr;
use crate::abi::{FlowKey, FlowState, NodeConfig, NodeEntry, Peer, PodEntry};
use crate::event::Event;
use crate::flow::{Kind, Phase, Segment, Tuple};
use crate::gate::{self, Entry, Step, Way};
use crate::wire::ethernet::ETHERTYPE_IPV4;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::{ETH_LEN, Frame, IPV4_LEN, be16, size};

/// The node's tables.
///
/// # Contract
/// Look-ups have no side effect; `write_flow` and `delete_flow` may fail
/// silently, for a missing entry only means the slow path.
pub trait Maps {
    /// The pod with this address, if it is on this node.
    fn pod(&self, address: NetAddr) -> Option<&PodEntry>;
    /// The peer that leases this subnet.
    fn peer(&self, subnet: NetAddr) -> Option<&Peer>;
    /// The node with this address.
    fn node(&self, address: NetAddr) -> Option<&NodeEntry>;
    /// The entry of a flow.
    fn flow(&self, key: &FlowKey) -> Option<FlowState>;
    /// Writes the entry of a flow.
    fn write_flow(&self, key: &FlowKey, state: FlowState);
    /// Deletes the entry of a flow.
    fn delete_flow(&self, key: &FlowKey);
    /// Counts an event.
    fn count(&self, event: Event);
}

/// What the kernel knows of a packet besides its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Length of the frame in bytes.
    pub len: u32,
    /// Bytes per piece of a GSO packet, else zero.
    pub gso_size: u32,
    /// The interface that it is on.
    pub ifindex: u32,
    /// The tag that an origin hook left, else zero.
    pub tag: u16,
    /// Whether a VLAN tag rides beside the frame: the kernel took it off the bytes.
    pub in_vlan: bool,
}

impl Meta {
    /// Length of the IP packet in bytes.
    #[inline(always)]
    const fn ip_len(&self) -> u32 {
        self.len.saturating_sub(size(ETH_LEN))
    }
}

/// The IPv4 header of a frame, `None` for any other protocol and for cut-off headers.
#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F) -> Option<Ipv4Header> {
    let head = frame.window::<{ ETH_LEN + IPV4_LEN }>(0)?;
    let ip = Ipv4Header::parse(head.last_chunk()?);
    (be16(head, 12) == ETHERTYPE_IPV4 && ip.is_version_4()).then_some(ip)
}

/// Asks the gate at an origin hook and keeps the flow's entry.
#[inline(always)]
fn origin<M: Maps>(maps: &M, config: &NodeConfig, segment: &Segment) -> Way {
    match segment.kind {
        Kind::Of(phase) => origin_of_flow(maps, config, &segment.tuple, phase),
        Kind::ErrorAbout => {
            // Conntrack never saw a direct flow and would call the error INVALID.
            let entry = maps.flow(&segment.tuple.key().0);
            let direct = entry.is_some_and(|state| state.is_direct(config.epoch));
            if direct { Way::Fast } else { Way::Stack }
        }
        Kind::Opaque => Way::Stack,
    }
}

#[inline(always)]
fn origin_of_flow<M: Maps>(maps: &M, config: &NodeConfig, tuple: &Tuple, phase: Phase) -> Way {
    let (key, direction) = tuple.key();
    let entry = maps.flow(&key);
    let Step { way, entry: change } =
        gate::at_origin(config.fast_path(), config.epoch, entry, direction, phase);
    apply(maps, config, &key, entry, change);
    way
}

/// Tells the gate what comes out of the host stack.
#[inline(always)]
fn delivery<M: Maps>(maps: &M, config: &NodeConfig, segment: &Segment, tag: u16) {
    let Kind::Of(phase) = segment.kind else {
        return;
    };
    let (key, direction) = segment.tuple.key();
    let entry = maps.flow(&key);
    let untranslated = tag == gate::tag(&segment.tuple);
    let mode = config.fast_path();
    let change = gate::at_delivery(mode, config.epoch, entry, direction, phase, untranslated);
    apply(maps, config, &key, entry, change);
}

#[inline(always)]
fn apply<M: Maps>(
    maps: &M,
    config: &NodeConfig,
    key: &FlowKey,
    before: Option<FlowState>,
    change: Entry,
) {
    let was_direct = before.is_some_and(|state| state.is_direct(config.epoch));
    match change {
        Entry::Keep => {}
        Entry::Write(state) => {
            maps.write_flow(key, state);
            if !was_direct && state.is_direct(config.epoch) {
                maps.count(Event::GateOpened);
            }
        }
        Entry::Revoke => {
            maps.delete_flow(key);
            if was_direct {
                maps.count(Event::GateRevoked);
            }
        }
    }
}

/// The tag that an origin hook leaves on what it sends into the host stack.
#[inline(always)]
fn tag_of(segment: &Segment) -> u16 {
    match segment.kind {
        Kind::Of(_) => gate::tag(&segment.tuple),
        Kind::ErrorAbout | Kind::Opaque => gate::ACCEPTED,
    }
}
