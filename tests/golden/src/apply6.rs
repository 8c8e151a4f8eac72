//! The IPv6 half of [`run`](crate::run): what the programs do with what IPv4
//! calls foreign.

use tartan_common::Mac;
use tartan_common::abi::NodeConfig;
use tartan_common::hook::{
    self, Maps6, Meta, OverlayEgress6, PodEgress6, UplinkIngress6, ether_type,
};
use tartan_common::wire::ethernet::{ETHERTYPE_IPV6, EthernetHeader};
use tartan_common::wire::{ETH_LEN, IPV6_LEN, OUTER6_LEN, ipv6};

use crate::Verdict;

pub(crate) fn pod_egress<M: Maps6>(
    frame: &mut [u8],
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Verdict {
    if !is_ipv6(frame) {
        return Verdict::Next;
    }
    match hook::pod_egress6(frame, meta, config, maps) {
        PodEgress6::Foreign | PodEgress6::Stack(..) => Verdict::Next,
        PodEgress6::Drop(reason) => Verdict::Drop(reason),
        PodEgress6::Local(pod) => {
            forward(frame, pod.host_mac, pod.pod_mac, None, true);
            Verdict::ToPod
        }
        PodEgress6::Tunnel(peer) => {
            forward(frame, config.ipv6.vtep_mac, peer.vtep_mac, None, true);
            Verdict::ToTunnel
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
) -> Verdict {
    if !is_ipv6(frame) {
        return Verdict::Next;
    }
    match hook::overlay_egress6(frame, meta, config, maps) {
        OverlayEgress6::Foreign | OverlayEgress6::Keyed => Verdict::Next,
        OverlayEgress6::Drop(reason) => Verdict::Drop(reason),
        OverlayEgress6::Device(peer) => {
            forward(frame, config.ipv6.vtep_mac, peer.vtep_mac, None, false);
            Verdict::Next
        }
    }
}

pub(crate) fn uplink_ingress<M: Maps6>(
    frame: &mut Vec<u8>,
    meta: &Meta,
    config: &NodeConfig,
    maps: &M,
) -> Verdict {
    if !is_ipv6(frame) {
        return Verdict::Next;
    }
    match hook::uplink_ingress6(&frame[..], meta, config, maps) {
        UplinkIngress6::Foreign => Verdict::Next,
        UplinkIngress6::Device(tag) => Verdict::ToDevice(tag),
        UplinkIngress6::Drop(reason) => Verdict::Drop(reason),
        UplinkIngress6::Pod(pod, class) => {
            frame.drain(ETH_LEN..OUTER6_LEN);
            forward(frame, pod.host_mac, pod.pod_mac, class, true);
            Verdict::ToPod
        }
        UplinkIngress6::Stack(_, class) => {
            frame.drain(ETH_LEN..OUTER6_LEN);
            forward(frame, config.ipv6.vtep_mac, config.vtep_mac, class, false);
            Verdict::ToStack
        }
    }
}

fn is_ipv6(frame: &[u8]) -> bool {
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
