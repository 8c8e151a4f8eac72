//! The same answer for a packet between IPv6 pods: which program meets it, what it decides, why.

mod packet;

use std::net::Ipv6Addr;

use anyhow::{Result, bail, ensure};
use tartan_common::NetAddr6;
use tartan_common::abi::{Ipv6Config, Peer6, PodEntry};
use tartan_common::hook::{
    OverlayEgress6, PodEgress6, UplinkIngress6, overlay_egress6, pod_egress6, uplink_ingress6,
};
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_common::wire::size;

use super::answer::{Answer, Verdict, meta, why_gate};
use super::question::Protocol;
use super::scene::Scene;

/// A packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question6 {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) protocol: Protocol,
    /// Destination port; ICMP has none.
    pub(super) port: u16,
}

/// Explains one packet.
///
/// # Errors
/// When this node would not meet it, or carries no IPv6 pods.
pub(super) fn answer6(question: &Question6, scene: &Scene) -> Result<Answer> {
    let config = &scene.config.ipv6;
    ensure!(
        config.is_configured(),
        "this node carries no IPv6 pods; `tartanctl status` says why, if it should"
    );
    let source = NetAddr6::from(question.source);
    if let Some(pod) = scene.pods6.get(&source) {
        return Ok(from_pod(question, scene, pod));
    }
    if source == config.node || source == config.subnet {
        return from_host(question, scene);
    }
    if config.is_in_subnet(source) {
        let step = format!("pod_egress: no pod of this node has the address {}", question.source);
        return Ok(Answer::dropped(Reason::SpoofedSource, vec![step]));
    }
    if let Some(peer) = direct_peer(scene, source) {
        return Ok(from_link(question, scene, peer));
    }
    match scene.sender6_of(source) {
        Some(sender) => Ok(from_tunnel(question, scene, sender)),
        None => bail!(
            "{} is no pod and no address of this node, and no lease names it: run this on the node \
             that sends the packet; `tartanctl peers` lists the subnets",
            question.source
        ),
    }
}

fn from_pod(question: &Question6, scene: &Scene, pod: &PodEntry) -> Answer {
    let frame = packet::frame(question);
    let met = format!("pod_egress on {}: the address is this pod's", scene.link(pod.ifindex));
    let meta = meta(size(frame.len()), pod.ifindex);
    match pod_egress6(&frame[..], &meta, &scene.config, scene) {
        PodEgress6::Drop(reason) => Answer::dropped(reason, vec![met]),
        PodEgress6::Local(to) => {
            let into = format!("straight into the pod behind {}", scene.link(to.ifindex));
            Answer::goes(Verdict::Fast, Path::PodLocalFast, vec![met, into])
        }
        PodEgress6::Tunnel(peer) => {
            let steps = vec![met, through_tunnel(scene, peer)];
            Answer::goes(Verdict::Fast, Path::PodRemoteFast, steps)
        }
        PodEgress6::Direct(peer) => {
            let steps = vec![met, onto_link(scene, peer)];
            Answer::goes(Verdict::Fast, Path::PodDirectFast, steps)
        }
        PodEgress6::Foreign => Answer::goes(Verdict::Stack, Path::PodElsewhere, vec![met]),
        PodEgress6::Stack(path, tag) => {
            let to_stack = format!("into the host stack: {}", why_stack(question, scene, pod));
            behind_stack(question, scene, path, tag, vec![met, to_stack])
        }
    }
}

/// Why a pod's packet does not skip the host stack.
fn why_stack(question: &Question6, scene: &Scene, pod: &PodEntry) -> String {
    let (config, shown) = (&scene.config.ipv6, question.destination);
    let destination = NetAddr6::from(shown);
    if !config.is_in_network(destination) {
        return format!(
            "{shown} is outside the pod network; routes, Services and masquerading are its"
        );
    }
    if let Some(why) = scene.why_slow(question.source, pod) {
        return why;
    }
    if !config.is_in_subnet(destination) {
        let is_leased = scene.peers6.contains_key(&destination.masked(config.subnet_mask));
        return if is_leased { why_gate(scene) } else { no_lease(shown) };
    }
    match scene.pods6.get(&destination) {
        None => format!("no pod of this node has the address {shown}"),
        Some(to) => scene.why_slow(shown, to).unwrap_or_else(|| why_gate(scene)),
    }
}

fn no_lease(address: Ipv6Addr) -> String {
    format!("no node leases the subnet of {address}")
}

/// What the programs behind the host stack do with a packet that it forwards unchanged.
fn behind_stack(
    question: &Question6,
    scene: &Scene,
    path: Path,
    tag: u16,
    mut steps: Vec<String>,
) -> Answer {
    let config = &scene.config.ipv6;
    let destination = NetAddr6::from(question.destination);
    if !config.is_in_network(destination) {
        return Answer::goes(Verdict::Stack, path, steps);
    }
    if config.is_in_subnet(destination) {
        if let Some(to) = scene.pods6.get(&destination) {
            steps.push(format!("its route leads to the pod behind {}", scene.link(to.ifindex)));
        }
        return Answer::goes(Verdict::Stack, path, steps);
    }
    if let Some(peer) = direct_peer(scene, destination) {
        let link = scene.link(peer.link_ifindex);
        steps.push(format!("its route leads to {link}: uplink_egress"));
        steps.push(onto_link(scene, peer));
        return Answer::goes(Verdict::Stack, path, steps);
    }
    let frame = packet::frame(question);
    let mut meta = meta(size(frame.len()), scene.config.overlay_ifindex);
    meta.tag = tag;
    steps.push(format!("its route leads to {}: overlay_egress", scene.link(meta.ifindex)));
    match overlay_egress6(&frame[..], &meta, &scene.config, scene) {
        OverlayEgress6::Drop(reason) => Answer::dropped(reason, steps),
        OverlayEgress6::Device(peer) => {
            steps.push(through_tunnel(scene, peer));
            Answer::goes(Verdict::Stack, path, steps)
        }
        OverlayEgress6::Foreign | OverlayEgress6::Keyed => {
            Answer::goes(Verdict::Stack, path, steps)
        }
    }
}

fn from_host(question: &Question6, scene: &Scene) -> Result<Answer> {
    let (config, shown) = (&scene.config.ipv6, question.destination);
    let destination = NetAddr6::from(shown);
    if !config.is_in_network(destination) {
        bail!("{shown} is outside the pod network: `ip -6 route get {shown}` tells more");
    }
    let path = if config.is_in_subnet(destination) {
        Path::PodDelivered
    } else if direct_peer(scene, destination).is_some() {
        Path::StackToLink
    } else {
        Path::OverlayDevice
    };
    let sent = "a process of this node sends it; the host stack routes it".to_owned();
    Ok(behind_stack(question, scene, path, 0, vec![sent]))
}

fn from_tunnel(question: &Question6, scene: &Scene, sender: NetAddr6) -> Answer {
    let node = scene.node(Ipv6Addr::from(sender));
    let (plan, over) = if let Some(address) = sender.ipv4() {
        let (frame, outer) = packet::crossed_frame(question, address, &scene.config);
        let meta = meta(size(frame.len()), 0);
        (uplink_ingress6(&frame[..], Some(&outer), &meta, &scene.config, scene), ", over IPv4")
    } else {
        let frame = packet::tunnel_frame(question, sender, &scene.config);
        let meta = meta(size(frame.len()), 0);
        (uplink_ingress6(&frame[..], None, &meta, &scene.config, scene), "")
    };
    let met = format!("uplink_ingress: a tunnel packet of node {node}{over}");
    match plan {
        UplinkIngress6::Drop(reason) => Answer::dropped(reason, vec![met]),
        UplinkIngress6::Pod(pod, _) => {
            let into = format!("straight into the pod behind {}", scene.link(pod.ifindex));
            Answer::goes(Verdict::Fast, Path::UplinkPodFast, vec![met, into])
        }
        UplinkIngress6::Stack(..) => {
            let why = why_not_into_pod(question, scene, &scene.config.ipv6);
            let steps = vec![met, format!("decapsulated into the host stack: {why}")];
            Answer::goes(Verdict::Stack, Path::UplinkToStack, steps)
        }
        UplinkIngress6::Device(_)
        | UplinkIngress6::Foreign
        | UplinkIngress6::LinkPod(_)
        | UplinkIngress6::LinkStack(_) => {
            Answer::goes(Verdict::Stack, Path::UplinkToDevice, vec![met])
        }
    }
}

/// A packet of a node that sends to this one without a tunnel.
fn from_link(question: &Question6, scene: &Scene, peer: &Peer6) -> Answer {
    let frame = packet::frame(question);
    let meta = meta(size(frame.len()), peer.link_ifindex);
    let node = scene.node(Ipv6Addr::from(peer.node));
    let met = format!("uplink_ingress: a packet of node {node}, on the link without a tunnel");
    match uplink_ingress6(&frame[..], None, &meta, &scene.config, scene) {
        UplinkIngress6::Drop(reason) => Answer::dropped(reason, vec![met]),
        UplinkIngress6::LinkPod(pod) => {
            let into = format!("straight into the pod behind {}", scene.link(pod.ifindex));
            Answer::goes(Verdict::Fast, Path::LinkPodFast, vec![met, into])
        }
        UplinkIngress6::LinkStack(_)
        | UplinkIngress6::Foreign
        | UplinkIngress6::Device(_)
        | UplinkIngress6::Pod(..)
        | UplinkIngress6::Stack(..) => {
            let why = why_not_into_pod(question, scene, &scene.config.ipv6);
            let steps = vec![met, format!("into the host stack: {why}")];
            Answer::goes(Verdict::Stack, Path::LinkToStack, steps)
        }
    }
}

/// The peer whose pod has this address, if it is reached without a tunnel.
fn direct_peer(scene: &Scene, address: NetAddr6) -> Option<&Peer6> {
    let peer = scene.peers6.get(&address.masked(scene.config.ipv6.subnet_mask));
    peer.filter(|peer| peer.is_direct())
}

/// From the pod to the wire, without a tunnel.
fn onto_link(scene: &Scene, peer: &Peer6) -> String {
    let (node, link) = (scene.node(Ipv6Addr::from(peer.node)), scene.link(peer.link_ifindex));
    format!("sent as it is by {link} to node {node}, packets of at most {} bytes", peer.mtu)
}

/// Why a packet from the tunnel does not go straight into its pod.
fn why_not_into_pod(question: &Question6, scene: &Scene, config: &Ipv6Config) -> String {
    if !config.is_in_network(question.source.into()) {
        return format!("{} is a node, whose packets may be masqueraded ones", question.source);
    }
    match scene.pods6.get(&NetAddr6::from(question.destination)) {
        None => format!("no pod of this node has the address {}", question.destination),
        Some(pod) => scene.why_slow(question.destination, pod).unwrap_or_else(|| why_gate(scene)),
    }
}

/// The outer headers are the device's: it alone can make their checksum.
fn through_tunnel(scene: &Scene, peer: &Peer6) -> String {
    let over = match (peer.node.ipv4(), scene.config.ipv6.node.is_unspecified()) {
        (None, _) => "",
        (Some(_), true) => " over IPv4 (this node has no IPv6 address)",
        (Some(_), false) => " over IPv4 (that node publishes no IPv6 address)",
    };
    format!(
        "encapsulated by {} for node {}{over}: VNI {}, UDP port {}, packets of at most {} bytes",
        scene.link(scene.config.overlay_ifindex),
        scene.node(Ipv6Addr::from(peer.node)),
        scene.config.vni,
        scene.config.port,
        peer.mtu
    )
}

#[cfg(test)]
mod tests;
