//! The host's half: the decision functions, and what the programs do with
//! their answers, on a vector of bytes.

use tartan_common::Mac;
use tartan_common::abi::{NodeConfig, Peer};
use tartan_common::hook::{
    self, AnyKey, Maps6, Meta, OverlayEgress, OverlayIngress, PodEgress, TunnelKey, TunnelKey6,
    UplinkEgress, UplinkIngress,
};
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_common::tunnel::{Open, write_outer};
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use tartan_common::wire::{ETH_LEN, Frame as _, IPV4_LEN, OUTER_LEN, TUNNEL_OVERHEAD, be16, ipv4};

use crate::{Hook, apply6};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on to the host stack, its bytes untouched.
    Next,
    /// Goes on to the kernel's own device, its bytes untouched, with this tag.
    ToDevice(u16),
    /// Dropped.
    Drop(Reason),
    /// Into a local pod.
    ToPod,
    /// Onto the wire, encapsulated.
    ToWire,
    /// Onto the wire as it is.
    ToLink,
    /// To the overlay device, with a tunnel key.
    ToTunnel,
    /// Into the host stack, decapsulated.
    ToStack,
}

impl Verdict {
    /// What the program returns to the kernel: `TCX_NEXT`, `TCX_DROP` or `TCX_REDIRECT`.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Next | Self::ToDevice(_) => -1,
            Self::Drop(_) => 2,
            Self::ToPod | Self::ToWire | Self::ToLink | Self::ToTunnel | Self::ToStack => 7,
        }
    }
}

/// What became of a frame, and the way that it is counted under; what is dropped is counted under
/// its reason, and what is none of ours not at all.
pub type Outcome = (Verdict, Option<Path>);

/// Runs one frame through a hook on the host; `frame` becomes what leaves it.
///
/// `identification` is the outer IP identification, the one field that the
/// programs take from a counter.
pub fn run<M: Maps6>(
    hook: Hook,
    frame: &mut Vec<u8>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
    identification: u16,
) -> Verdict {
    run_counted(hook, frame, meta, config, maps, identification).0
}

/// As [`run`], and says how the packet is counted.
pub fn run_counted<M: Maps6>(
    hook: Hook,
    frame: &mut Vec<u8>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
    identification: u16,
) -> Outcome {
    match hook {
        Hook::PodEgress => pod_egress(frame, meta, config, maps, identification),
        Hook::PodIngress => {
            hook::pod_ingress(&frame[..], meta, config, maps);
            apply6::pod_ingress(frame, meta, config, maps);
            (Verdict::Next, Some(Path::PodDelivered))
        }
        Hook::OverlayEgress => overlay_egress(frame, meta, config, maps, identification),
        Hook::UplinkIngress => uplink_ingress(frame, meta, config, maps),
        Hook::UplinkEgress => match hook::uplink_egress(&frame[..], meta, config, maps) {
            UplinkEgress::Foreign => apply6::uplink_egress(frame, meta, config, maps),
            UplinkEgress::Delivered => (Verdict::Next, Some(Path::StackToLink)),
        },
    }
}

/// The tunnel key of a packet that the kernel decapsulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// Of a tunnel over IPv4.
    V4(TunnelKey),
    /// Of a tunnel over IPv6.
    V6(TunnelKey6),
}

/// Runs one frame through the guard behind the kernel's own decapsulation.
pub fn guard<M: Maps6>(
    frame: &[u8],
    meta: &Meta,
    key: Option<Key>,
    config: &NodeConfig,
    maps: &M,
) -> Outcome {
    let key = match key {
        Some(Key::V6(key)) if apply6::is_ipv6(frame) => {
            return apply6::guard(frame, AnyKey::v6(key), config, maps);
        }
        Some(Key::V4(key)) if apply6::is_ipv6(frame) => {
            return apply6::guard(frame, AnyKey::v4(key), config, maps);
        }
        Some(Key::V6(_)) | None => None,
        Some(Key::V4(key)) => Some(key),
    };
    match hook::overlay_ingress(frame, meta, key, config, maps) {
        OverlayIngress::Judged => (Verdict::Next, None),
        OverlayIngress::Drop(reason) => (Verdict::Drop(reason), None),
        OverlayIngress::Accept(_) => (Verdict::Next, Some(Path::OverlayAccepted)),
    }
}

fn port_at(frame: &[u8], at: usize) -> Option<u16> {
    frame.window::<2>(at).map(|bytes| be16(bytes, 0))
}

fn pod_egress<M: Maps6>(
    frame: &mut Vec<u8>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
    identification: u16,
) -> Outcome {
    match hook::pod_egress(&frame[..], meta, config, maps, |at| port_at(frame, at)) {
        PodEgress::Foreign => apply6::pod_egress(frame, meta, config, maps),
        PodEgress::Stack(path, _) => (Verdict::Next, Some(path)),
        PodEgress::Drop(reason) => (Verdict::Drop(reason), None),
        PodEgress::Local(pod) => {
            forward(frame, pod.host_mac, pod.pod_mac, None, true);
            (Verdict::ToPod, Some(Path::PodLocalFast))
        }
        PodEgress::Direct(_) => {
            if let Some(ip) = frame[ETH_LEN..].first_chunk_mut::<IPV4_LEN>() {
                ipv4::decrement_ttl(ip);
            }
            (Verdict::ToLink, Some(Path::PodDirectFast))
        }
        PodEgress::Encapsulate(peer, open) => {
            encapsulate(frame, peer, open, identification, true);
            (Verdict::ToWire, Some(Path::PodRemoteFast))
        }
    }
}

fn overlay_egress<M: Maps6>(
    frame: &mut Vec<u8>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
    identification: u16,
) -> Outcome {
    match hook::overlay_egress(&frame[..], meta, config, maps) {
        OverlayEgress::Foreign => apply6::overlay_egress(frame, meta, config, maps),
        OverlayEgress::Device(peer) => {
            if let Some(inner) = peer.template.last_chunk::<ETH_LEN>().map(EthernetHeader::parse) {
                forward(frame, inner.source, inner.destination, None, false);
            }
            (Verdict::Next, Some(Path::OverlayDevice))
        }
        OverlayEgress::Drop(reason) => (Verdict::Drop(reason), None),
        OverlayEgress::Encapsulate(peer, open) => {
            encapsulate(frame, peer, open, identification, false);
            (Verdict::ToWire, Some(Path::OverlayEncap))
        }
    }
}

fn uplink_ingress<M: Maps6>(
    frame: &mut Vec<u8>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Outcome {
    match hook::uplink_ingress(&frame[..], meta, config, maps, |at| port_at(frame, at)) {
        UplinkIngress::Foreign => apply6::uplink_ingress(frame, meta, config, maps),
        UplinkIngress::Crossed(ip) => apply6::crossed_ingress(frame, &ip, meta, config, maps),
        UplinkIngress::LinkStack(_) => (Verdict::Next, Some(Path::LinkToStack)),
        UplinkIngress::Device(tag) => (Verdict::ToDevice(tag), Some(Path::UplinkToDevice)),
        UplinkIngress::Drop(reason) => (Verdict::Drop(reason), None),
        UplinkIngress::Pod(pod, tos) => {
            frame.drain(ETH_LEN..OUTER_LEN);
            forward(frame, pod.host_mac, pod.pod_mac, tos, true);
            (Verdict::ToPod, Some(Path::UplinkPodFast))
        }
        UplinkIngress::LinkPod(pod) => {
            forward(frame, pod.host_mac, pod.pod_mac, None, true);
            (Verdict::ToPod, Some(Path::LinkPodFast))
        }
        UplinkIngress::BarePod(pod) => {
            forward(frame, pod.host_mac, pod.pod_mac, None, true);
            (Verdict::ToPod, Some(Path::UplinkPodFast))
        }
        UplinkIngress::BareStack(_) => {
            forward(frame, Mac::default(), config.vtep_mac, None, false);
            (Verdict::ToStack, Some(Path::UplinkToStack))
        }
        UplinkIngress::Stack(_, tos) => {
            frame.drain(ETH_LEN..OUTER_LEN);
            forward(frame, Mac::default(), config.vtep_mac, tos, false);
            (Verdict::ToStack, Some(Path::UplinkToStack))
        }
    }
}

fn encapsulate(frame: &mut Vec<u8>, peer: &Peer, open: Open, identification: u16, decrement: bool) {
    frame.splice(0..0, [0; TUNNEL_OVERHEAD]);
    if let Some(outer) = frame.first_chunk_mut::<OUTER_LEN>() {
        write_outer(outer, peer, open, identification);
    }
    if decrement && let Some(ip) = frame[OUTER_LEN..].first_chunk_mut::<IPV4_LEN>() {
        ipv4::decrement_ttl(ip);
    }
}

fn forward(frame: &mut [u8], from: Mac, to: Mac, tos: Option<u8>, decrement: bool) {
    let header = EthernetHeader { destination: to, source: from, ethertype: ETHERTYPE_IPV4 };
    if let Some(eth) = frame.first_chunk_mut::<ETH_LEN>() {
        header.write(eth);
    }
    if let Some(ip) = frame[ETH_LEN..].first_chunk_mut::<IPV4_LEN>() {
        if let Some(tos) = tos {
            ipv4::set_tos(ip, tos);
        }
        if decrement {
            ipv4::decrement_ttl(ip);
        }
    }
}
