//! The IPv6 half of [`run`](crate::run): what the programs do with what IPv4
//! calls foreign.

use tartan_common::Mac;
use tartan_common::abi::NodeConfig;
use tartan_common::hook::{
    self, AnyKey, Maps6, Meta, OverlayEgress6, OverlayIngress6, PodEgress6, UplinkEgress,
    UplinkIngress6, ether_type,
};
use tartan_common::path::Path;
use tartan_common::wire::ethernet::{ETHERTYPE_IPV6, EthernetHeader};
use tartan_common::wire::ipv4::Ipv4Header;
use tartan_common::wire::{ETH_LEN, IPV6_LEN, OUTER_LEN, OUTER6_LEN, ipv6};

use crate::apply::{Outcome, Verdict};

pub(crate) fn pod_egress<M: Maps6>(
    frame: &mut [u8],
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Outcome {
    if !is_ipv6(frame) {
        return (Verdict::Next, None);
    }
    match hook::pod_egress6(frame, meta, config, maps) {
        PodEgress6::Foreign => (Verdict::Next, None),
        PodEgress6::Stack(path, _) => (Verdict::Next, Some(path)),
        PodEgress6::Drop(reason) => (Verdict::Drop(reason), None),
        PodEgress6::Local(pod) => {
            forward(frame, pod.host_mac, pod.pod_mac, None, true);
            (Verdict::ToPod, Some(Path::PodLocalFast))
        }
        PodEgress6::Tunnel(peer) => {
            forward(frame, config.ipv6.vtep_mac, peer.vtep_mac, None, true);
            (Verdict::ToTunnel, Some(Path::PodRemoteFast))
        }
        PodEgress6::Direct(_) => {
            if let Some(ip) = frame[ETH_LEN..].first_chunk_mut::<IPV6_LEN>() {
                ipv6::decrement_hop_limit(ip);
            }
            (Verdict::ToLink, Some(Path::PodDirectFast))
        }
    }
}

pub(crate) fn pod_ingress<M: Maps6>(frame: &[u8], meta: &Meta, config: &NodeConfig, maps: &M) {
    if is_ipv6(frame) {
        hook::pod_ingress6(frame, meta, config, maps);
    }
}

pub(crate) fn overlay_egress<M: Maps6>(
    frame: &mut [u8],
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Outcome {
    if !is_ipv6(frame) {
        return (Verdict::Next, None);
    }
    match hook::overlay_egress6(frame, meta, config, maps) {
        OverlayEgress6::Foreign | OverlayEgress6::Keyed => (Verdict::Next, None),
        OverlayEgress6::Drop(reason) => (Verdict::Drop(reason), None),
        OverlayEgress6::Device(peer) => {
            forward(frame, config.ipv6.vtep_mac, peer.vtep_mac, None, false);
            (Verdict::Next, Some(Path::OverlayDevice))
        }
    }
}

pub(crate) fn uplink_ingress<M: Maps6>(
    frame: &mut Vec<u8>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Outcome {
    if !is_ipv6(frame) {
        return (Verdict::Next, None);
    }
    let plan = hook::uplink_ingress6(&frame[..], None, meta, config, maps);
    arrived(frame, plan, config, OUTER6_LEN)
}

pub(crate) fn crossed_ingress<M: Maps6>(
    frame: &mut Vec<u8>,
    outer: &Ipv4Header,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Outcome {
    let plan = hook::uplink_ingress6(&frame[..], Some(outer), meta, config, maps);
    arrived(frame, plan, config, OUTER_LEN)
}

fn arrived(
    frame: &mut Vec<u8>,
    plan: UplinkIngress6<'_>,
    config: &NodeConfig,
    outer_len: usize,
) -> Outcome {
    match plan {
        UplinkIngress6::Foreign => (Verdict::Next, None),
        UplinkIngress6::Device(tag) => (Verdict::ToDevice(tag), Some(Path::UplinkToDevice)),
        UplinkIngress6::Drop(reason) => (Verdict::Drop(reason), None),
        UplinkIngress6::Pod(pod, class) => {
            frame.drain(ETH_LEN..outer_len);
            forward(frame, pod.host_mac, pod.pod_mac, class, true);
            (Verdict::ToPod, Some(Path::UplinkPodFast))
        }
        UplinkIngress6::Stack(_, class) => {
            frame.drain(ETH_LEN..outer_len);
            forward(frame, config.ipv6.vtep_mac, config.vtep_mac, class, false);
            (Verdict::ToStack, Some(Path::UplinkToStack))
        }
        UplinkIngress6::LinkPod(pod) => {
            forward(frame, pod.host_mac, pod.pod_mac, None, true);
            (Verdict::ToPod, Some(Path::LinkPodFast))
        }
        UplinkIngress6::LinkStack(_) => (Verdict::Next, Some(Path::LinkToStack)),
    }
}

pub(crate) fn uplink_egress<M: Maps6>(
    frame: &[u8],
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Outcome {
    if !is_ipv6(frame) {
        return (Verdict::Next, None);
    }
    match hook::uplink_egress6(frame, meta, config, maps) {
        UplinkEgress::Foreign => (Verdict::Next, None),
        UplinkEgress::Delivered => (Verdict::Next, Some(Path::StackToLink)),
    }
}

pub(crate) fn guard<M: Maps6>(frame: &[u8], key: AnyKey, config: &NodeConfig, maps: &M) -> Outcome {
    match hook::overlay_ingress6(frame, key, config, maps) {
        OverlayIngress6::Drop(reason) => (Verdict::Drop(reason), None),
        OverlayIngress6::Accept(_) => (Verdict::Next, Some(Path::OverlayAccepted)),
    }
}

pub(crate) fn is_ipv6(frame: &[u8]) -> bool {
    ether_type(frame) == ETHERTYPE_IPV6
}

fn forward(frame: &mut [u8], from: Mac, to: Mac, class: Option<u8>, decrement: bool) {
    let header = EthernetHeader { destination: to, source: from, ethertype: ETHERTYPE_IPV6 };
    if let Some(eth) = frame.first_chunk_mut::<ETH_LEN>() {
        header.write(eth);
    }
    if let Some(ip) = frame[ETH_LEN..].first_chunk_mut::<IPV6_LEN>() {
        if let Some(class) = class {
            ipv6::set_traffic_class(ip, class);
        }
        if decrement {
            ipv6::decrement_hop_limit(ip);
        }
    }
}
