//! One decision function per hook.
//!
//! Each takes a frame and the maps and answers with a plan; applying the plan
//! (helpers, redirects) is all that the kernel program does. The only side
//! effect is on the flow entries, through [`Maps`].

mod ipv6;
mod overlay_egress;
mod overlay_ingress;
mod pod_egress;
mod pod_ingress;
mod uplink_egress;
mod uplink_ingress;
mod uplink_xdp;

pub use ipv6::{
    AnyKey, Maps6, OverlayEgress6, OverlayIngress6, PodEgress6, TunnelKey6, UplinkIngress6,
    ether_type, overlay_egress6, overlay_ingress6, pod_egress6, pod_ingress6, uplink_egress6,
    uplink_ingress6,
};
pub use overlay_egress::{OverlayEgress, overlay_egress};
pub use overlay_ingress::{OverlayIngress, TunnelKey, overlay_ingress};
pub use pod_egress::{PodEgress, pod_egress};
pub use pod_ingress::pod_ingress;
pub use uplink_egress::{UplinkEgress, uplink_egress};
pub use uplink_ingress::{UNJUDGED, UplinkIngress, uplink_ingress};
pub use uplink_xdp::{UplinkXdp, uplink_xdp};

use crate::NetAddr;
use crate::abi::{FastPath, FlowKey, FlowState, NodeConfig, NodeEntry, Peer, PodEntry};
use crate::event::Event;
use crate::flow::{Address, Kind, Phase, Segment, Tuple};
use crate::gate::{self, Entry, Regime, Step, Way};
use crate::wire::ethernet::ETHERTYPE_IPV4;
use crate::wire::ipv4::{Ipv4Header, PROTOCOL_TCP};
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
    /// The entry of a flow; [`FlowState::UNKNOWN`] without one.
    fn flow(&self, key: &FlowKey) -> FlowState;
    /// Writes the entry of a flow.
    fn write_flow(&self, key: &FlowKey, state: FlowState);
    /// Deletes the entry of a flow.
    fn delete_flow(&self, key: &FlowKey);
    /// The time now, in nanoseconds of CLOCK_MONOTONIC, as coarse as a timer tick.
    fn now(&self) -> u64;
    /// Counts an event.
    fn count(&self, event: Event);
}

/// The flows of one family: what the gate asks of [`Maps`] or of [`Maps6`].
trait Flows<A: Address> {
    fn entry(&self, key: &A::Key) -> FlowState;
    fn write(&self, key: &A::Key, state: FlowState);
    fn delete(&self, key: &A::Key);
    fn time(&self) -> u64;
    fn happened(&self, event: Event);
}

impl<M: Maps> Flows<NetAddr> for M {
    #[inline(always)]
    fn entry(&self, key: &FlowKey) -> FlowState {
        self.flow(key)
    }

    #[inline(always)]
    fn write(&self, key: &FlowKey, state: FlowState) {
        self.write_flow(key, state);
    }

    #[inline(always)]
    fn delete(&self, key: &FlowKey) {
        self.delete_flow(key);
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
    /// Whether the frame was addressed to this station, as the kernel found on its arrival.
    pub for_us: bool,
}

impl Meta {
    /// Length of the IP packet in bytes.
    #[inline(always)]
    const fn ip_len(&self) -> u32 {
        self.len.saturating_sub(size(ETH_LEN))
    }

    /// Whether a socket takes the packet although its GSO state still tells of the tunnel that our
    /// programs took off. A stream does; what holds datagrams is cut again in front of the socket,
    /// by that state, and so is lost.
    #[inline(always)]
    const fn is_as_sockets_take_it(&self, protocol: u8) -> bool {
        self.gso_size == 0 || protocol == PROTOCOL_TCP
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
fn origin<A: Address, M: Flows<A>>(maps: &M, config: &NodeConfig, segment: &Segment<A>) -> Way {
    match segment.kind {
        Kind::Of(phase) => origin_of_flow(maps, config, &segment.tuple, phase),
        Kind::ErrorAbout => {
            // Conntrack never saw a direct flow and would call the error INVALID.
            let (key, _) = segment.tuple.key();
            let entry = maps.entry(&key);
            let regime = config.regime(&key, || maps.time());
            if entry.is_direct(&regime) { Way::Fast } else { Way::Stack }
        }
        Kind::Opaque => Way::Stack,
    }
}

#[inline(always)]
fn origin_of_flow<A: Address, M: Flows<A>>(
    maps: &M,
    config: &NodeConfig,
    tuple: &Tuple<A>,
    phase: Phase,
) -> Way {
    let (key, direction) = tuple.key();
    let entry = maps.entry(&key);
    let regime = config.regime(&key, || maps.time());
    let Step { way, entry: change } =
        if phase == Phase::Opening && regime.mode() == FastPath::On && is_served(maps, tuple) {
            gate::opening_beside_a_service(&regime, entry)
        } else {
            gate::at_origin(&regime, entry, direction, phase)
        };
    apply::<A, M>(maps, &regime, &key, entry, change);
    way
}

/// Whether connections of this node are translated to the destination.
#[inline(always)]
fn is_served<A: Address, M: Flows<A>>(maps: &M, tuple: &Tuple<A>) -> bool {
    maps.entry(&tuple.destination_key()).is_known()
}

/// Tells the gate what comes out of the host stack.
#[inline(always)]
fn delivery<A: Address, M: Flows<A>>(
    maps: &M,
    config: &NodeConfig,
    segment: &Segment<A>,
    tag: u16,
) {
    let Kind::Of(phase) = segment.kind else {
        return;
    };
    let (key, direction) = segment.tuple.key();
    let entry = maps.entry(&key);
    let untranslated = tag == gate::tag(&segment.tuple);
    let regime = config.regime(&key, || maps.time());
    // Only a pod's connection can meet another pod's: a host process has no tag.
    let by_a_pod = tag != 0 && tag != gate::ACCEPTED;
    if phase == Phase::Opening && by_a_pod && !untranslated && !is_served(maps, &segment.tuple) {
        maps.write(&segment.tuple.destination_key(), gate::served(&regime));
    }
    let change = gate::at_delivery(&regime, entry, direction, phase, untranslated);
    apply::<A, M>(maps, &regime, &key, entry, change);
}

#[inline(always)]
fn apply<A: Address, M: Flows<A>>(
    maps: &M,
    regime: &Regime,
    key: &A::Key,
    before: FlowState,
    change: Entry,
) {
    let was_direct = before.is_direct(regime);
    match change {
        Entry::Keep => {}
        Entry::Write(state) => {
            maps.write(key, state);
            if !was_direct && state.is_direct(regime) {
                maps.happened(Event::GateOpened);
            }
        }
        Entry::Revoke => {
            maps.delete(key);
            if was_direct {
                maps.happened(Event::GateRevoked);
            }
        }
    }
}

/// The tag that an origin hook leaves on what it sends into the host stack.
#[inline(always)]
fn tag_of<A: Address>(segment: &Segment<A>) -> u16 {
    match segment.kind {
        Kind::Of(_) => gate::tag(&segment.tuple),
        Kind::ErrorAbout | Kind::Opaque => gate::ACCEPTED,
    }
}
