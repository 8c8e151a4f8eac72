//! The answer: which program meets the packet, what it decides, and why.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use serde::Serialize;
use tartan_common::NetAddr;
use tartan_common::abi::{FastPath, NodeConfig, Peer, PodEntry};
use tartan_common::hook::{self, Maps as _, Meta, OverlayEgress, PodEgress, UplinkIngress};
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_common::wire::size;

use super::question::{FRAME_LEN, Question, TUNNEL_FRAME_LEN};
use super::scene::Scene;

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// It skips the host stack.
    Fast,
    /// The host stack forwards it.
    Stack,
    /// It is dropped.
    Dropped,
}

impl Verdict {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Stack => "stack",
            Self::Dropped => "dropped",
        }
    }
}

/// What becomes of a packet, and why.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) verdict: Verdict,
    /// The counter that moves: a path of `tartanctl paths` or a reason of `tartanctl drops`.
    pub(super) counter: &'static str,
    pub(super) caption: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<&'static str>,
    /// In the packet's order.
    pub(super) steps: Vec<String>,
}

impl Answer {
    pub(super) fn goes(verdict: Verdict, path: Path, steps: Vec<String>) -> Self {
        let (counter, caption) = (path.name(), path.caption());
        Self { verdict, counter, caption, remedy: None, steps }
    }

    pub(super) fn dropped(reason: Reason, steps: Vec<String>) -> Self {
        let (counter, caption) = (reason.name(), reason.caption());
        let remedy = Some(reason.remedy());
        Self { verdict: Verdict::Dropped, counter, caption, remedy, steps }
    }
}

/// Explains one packet.
///
/// # Errors
/// When this node would not meet it.
pub(super) fn answer(question: &Question, scene: &Scene) -> Result<Answer> {
    let (config, source) = (&scene.config, NetAddr::from(question.source));
    if let Some(pod) = scene.pods.get(&source) {
        return Ok(from_pod(question, scene, pod));
    }
    // The overlay device's own address is the first of the subnet.
    if source == config.node || source == config.subnet {
        return from_host(question, scene);
    }
    if source.is_in(config.subnet, config.subnet_mask) {
        let step = format!("pod_egress: no pod of this node has the address {source}");
        return Ok(Answer::dropped(Reason::SpoofedSource, vec![step]));
    }
    match (direct_peer(scene, source), scene.sender_of(source)) {
        // Nodes on one link send alike: what holds for the way there holds for the way back.
        (Some(peer), _) => Ok(from_link(question, scene, peer)),
        (None, Some(sender)) => from_tunnel(question, scene, sender.into()),
        (None, None) => bail!(
            "{source} is no pod and no address of this node, and no lease names it: run this on \
             the node that sends the packet; `tartanctl peers` lists the subnets"
        ),
    }
}

fn from_pod(question: &Question, scene: &Scene, pod: &PodEntry) -> Answer {
    let (frame, config) = (question.frame(), &scene.config);
    let meta = meta(size(FRAME_LEN), pod.ifindex);
    let plan = hook::pod_egress(&frame[..], &meta, config, scene, |_| None);
    let met = format!("pod_egress on {}: the address is this pod's", scene.link(pod.ifindex));
    match plan {
        PodEgress::Drop(reason) => Answer::dropped(reason, vec![met]),
        PodEgress::Local(to) => {
            let into = format!("straight into the pod behind {}", scene.link(to.ifindex));
            Answer::goes(Verdict::Fast, Path::PodLocalFast, vec![met, into])
        }
        PodEgress::Encapsulate(peer, _) => {
            let mut steps = vec![met];
            steps.extend(through_tunnel(scene, peer));
            Answer::goes(Verdict::Fast, Path::PodRemoteFast, steps)
        }
        PodEgress::Direct(peer) => {
            let steps = vec![met, onto_link(scene, peer)];
            Answer::goes(Verdict::Fast, Path::PodDirectFast, steps)
        }
        PodEgress::Foreign => Answer::goes(Verdict::Stack, Path::PodElsewhere, vec![met]),
        PodEgress::Stack(path, tag) => {
            let to_stack = format!("into the host stack: {}", why_stack(question, scene, pod));
            behind_stack(question, scene, path, tag, vec![met, to_stack])
        }
    }
}

/// Why a pod's packet does not skip the host stack.
fn why_stack(question: &Question, scene: &Scene, pod: &PodEntry) -> String {
    let (config, destination) = (&scene.config, NetAddr::from(question.destination));
    if !destination.is_in(config.network, config.network_mask) {
        return format!(
            "{destination} is outside the pod network; routes, Services and masquerading are its"
        );
    }
    if let Some(why) = scene.why_slow(question.source, pod) {
        return why;
    }
    if is_local(config, destination) {
        match scene.pods.get(&destination) {
            None => return format!("no pod of this node has the address {destination}"),
            Some(to) => {
                if let Some(why) = scene.why_slow(question.destination, to) {
                    return why;
                }
            }
        }
    } else if !scene.peers.contains_key(&destination.masked(config.subnet_mask)) {
        return format!("no node leases the subnet of {destination}");
    }
    why_gate(scene)
}

/// Why the gate is closed for the first packet of a flow.
pub(super) fn why_gate(scene: &Scene) -> String {
    let on = "the next packets skip it after one in each direction was seen untranslated";
    let accept = "the next packets skip it after it accepted one in each direction";
    match scene.config.fast_path() {
        FastPath::Off => "FastPath is off, no flow skips it".to_owned(),
        FastPath::AfterAccept => format!("FastPath is after-accept, {accept}"),
        FastPath::On if scene.config.is_over(scene.now()) => {
            format!("the right to FastPath on has run out, is tartand running? Until then {accept}")
        }
        FastPath::On => format!("FastPath is on, {on}"),
    }
}

/// What the programs behind the host stack do with a packet that it forwards unchanged.
fn behind_stack(
    question: &Question,
    scene: &Scene,
    path: Path,
    tag: u16,
    mut steps: Vec<String>,
) -> Answer {
    let (config, destination) = (&scene.config, NetAddr::from(question.destination));
    if !destination.is_in(config.network, config.network_mask) {
        return Answer::goes(Verdict::Stack, path, steps);
    }
    if is_local(config, destination) {
        if let Some(to) = scene.pods.get(&destination) {
            steps.push(format!("its route leads to the pod behind {}", scene.link(to.ifindex)));
        }
        return Answer::goes(Verdict::Stack, path, steps);
    }
    if let Some(peer) = direct_peer(scene, destination) {
        let link = scene.link(peer.uplink_ifindex);
        steps.push(format!("its route leads to {link}: uplink_egress"));
        steps.push(onto_link(scene, peer));
        return Answer::goes(Verdict::Stack, path, steps);
    }
    let frame = question.frame();
    let mut meta = meta(size(FRAME_LEN), config.overlay_ifindex);
    meta.tag = tag;
    steps.push(format!("its route leads to {}: overlay_egress", scene.link(meta.ifindex)));
    match hook::overlay_egress(&frame[..], &meta, config, scene) {
        OverlayEgress::Drop(reason) => Answer::dropped(reason, steps),
        OverlayEgress::Encapsulate(peer, _) | OverlayEgress::Device(peer) => {
            steps.extend(through_tunnel(scene, peer));
            Answer::goes(Verdict::Stack, path, steps)
        }
        OverlayEgress::Foreign => Answer::goes(Verdict::Stack, path, steps),
    }
}

fn from_host(question: &Question, scene: &Scene) -> Result<Answer> {
    let (config, destination) = (&scene.config, NetAddr::from(question.destination));
    if !destination.is_in(config.network, config.network_mask) {
        bail!("{destination} is outside the pod network: `ip route get {destination}` tells more");
    }
    let sent = "a process of this node sends it; the host stack routes it".to_owned();
    let path = if is_local(config, destination) {
        Path::PodDelivered
    } else if direct_peer(scene, destination).is_some() {
        Path::StackToLink
    } else {
        Path::OverlayEncap
    };
    Ok(behind_stack(question, scene, path, 0, vec![sent]))
}

fn from_tunnel(question: &Question, scene: &Scene, sender: Ipv4Addr) -> Result<Answer> {
    let config = &scene.config;
    let frame = question.tunnel_frame(sender, config)?;
    let meta = meta(size(TUNNEL_FRAME_LEN), 0);
    let plan = hook::uplink_ingress(&frame[..], &meta, config, scene, |_| None);
    let met = format!("uplink_ingress: a tunnel packet of node {}", scene.node(sender));
    Ok(match plan {
        UplinkIngress::Drop(reason) => Answer::dropped(reason, vec![met]),
        UplinkIngress::Pod(pod, _) => {
            let into = format!("straight into the pod behind {}", scene.link(pod.ifindex));
            Answer::goes(Verdict::Fast, Path::UplinkPodFast, vec![met, into])
        }
        UplinkIngress::Stack(..) => {
            let why = why_not_into_pod(question, scene);
            let steps = vec![met, format!("decapsulated into the host stack: {why}")];
            Answer::goes(Verdict::Stack, Path::UplinkToStack, steps)
        }
        UplinkIngress::Device(_)
        | UplinkIngress::Foreign
        | UplinkIngress::Crossed(_)
        | UplinkIngress::BarePod(_)
        | UplinkIngress::BareStack(_)
        | UplinkIngress::LinkPod(_)
        | UplinkIngress::LinkStack(_) => {
            Answer::goes(Verdict::Stack, Path::UplinkToDevice, vec![met])
        }
    })
}

/// A packet of a node that sends to this one without a tunnel.
fn from_link(question: &Question, scene: &Scene, peer: &Peer) -> Answer {
    let frame = question.frame();
    let meta = meta(size(FRAME_LEN), peer.uplink_ifindex);
    let plan = hook::uplink_ingress(&frame[..], &meta, &scene.config, scene, |_| None);
    let node = scene.node(Ipv4Addr::from(peer.node));
    let met = format!("uplink_ingress: a packet of node {node}, on the link without a tunnel");
    match plan {
        UplinkIngress::Drop(reason) => Answer::dropped(reason, vec![met]),
        UplinkIngress::LinkPod(pod) => {
            let into = format!("straight into the pod behind {}", scene.link(pod.ifindex));
            Answer::goes(Verdict::Fast, Path::LinkPodFast, vec![met, into])
        }
        UplinkIngress::LinkStack(_)
        | UplinkIngress::Foreign
        | UplinkIngress::Crossed(_)
        | UplinkIngress::Device(_)
        | UplinkIngress::BarePod(_)
        | UplinkIngress::BareStack(_)
        | UplinkIngress::Pod(..)
        | UplinkIngress::Stack(..) => {
            let why = why_not_into_pod(question, scene);
            let steps = vec![met, format!("into the host stack: {why}")];
            Answer::goes(Verdict::Stack, Path::LinkToStack, steps)
        }
    }
}

/// The peer whose pod has this address, if it is reached without a tunnel.
fn direct_peer(scene: &Scene, address: NetAddr) -> Option<&Peer> {
    let peer = scene.peers.get(&address.masked(scene.config.subnet_mask));
    peer.filter(|peer| peer.is_direct())
}

/// From the pod to the wire, without a tunnel.
fn onto_link(scene: &Scene, peer: &Peer) -> String {
    let (node, link) = (scene.node(Ipv4Addr::from(peer.node)), scene.link(peer.uplink_ifindex));
    format!("sent as it is by {link} to node {node}, packets of at most {} bytes", peer.mtu)
}

/// Why a packet from the tunnel does not go straight into its pod.
fn why_not_into_pod(question: &Question, scene: &Scene) -> String {
    let (config, source) = (&scene.config, NetAddr::from(question.source));
    if !source.is_in(config.network, config.network_mask) {
        return format!("{source} is a node, whose packets may be masqueraded ones");
    }
    match scene.pods.get(&NetAddr::from(question.destination)) {
        None => format!("no pod of this node has the address {}", question.destination),
        Some(pod) => scene.why_slow(question.destination, pod).unwrap_or_else(|| why_gate(scene)),
    }
}

/// From the outer headers to the wire.
fn through_tunnel(scene: &Scene, peer: &Peer) -> [String; 2] {
    let (node, hop) = (Ipv4Addr::from(peer.node), peer.next_hop);
    let NodeConfig { vni, port, .. } = scene.config;
    let mtu = peer.mtu;
    [
        format!(
            "encapsulated for node {}: VNI {vni}, UDP port {port}, packets of at most {mtu} bytes",
            scene.node(node)
        ),
        format!("sent by {} to the next hop {hop}", scene.link(peer.uplink_ifindex)),
    ]
}

fn is_local(config: &NodeConfig, address: NetAddr) -> bool {
    address.is_in(config.subnet, config.subnet_mask)
}

pub(super) const fn meta(len: u32, ifindex: u32) -> Meta {
    Meta { len, gso_size: 0, ifindex, tag: 0, in_vlan: false, for_us: true }
}

#[cfg(test)]
mod tests;
