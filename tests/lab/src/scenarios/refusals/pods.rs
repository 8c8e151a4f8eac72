//! What a pod can forge, on a node that would masquerade it.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};

use super::ground::{Case, From, Ground, MARK, PORT};
use crate::forge::{TUNNEL_PORT, TunnelFrame};
use crate::frames::{Ipv4, UDP, ethernet};
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::GATEWAY;

/// Every kind of forgery from a pod.
pub(in crate::scenarios) fn cases(ground: &Ground) -> Result<Vec<Case>> {
    let [own, other, third] = &ground.marks;
    let pod = |name, reason, frames| Case { name, reason, from: From::Pod, frames };
    let speaks = |receivers: &[Ipv4Addr]| speaks(ground, receivers);
    Ok(vec![
        pod("a pod in the name of others", "spoofed-source", spoofed(ground)?),
        pod(
            "a pod speaks the tunnel to its own node",
            "pod-speaks-tunnel",
            speaks(&[own.address])?,
        ),
        pod(
            "a pod speaks the tunnel to other nodes",
            "pod-speaks-tunnel",
            speaks(&[other.address, third.address])?,
        ),
        pod(
            "a pod speaks the tunnel to overlay addresses",
            "pod-speaks-tunnel",
            speaks(&[own.vtep_address, other.vtep_address, third.vtep_address])?,
        ),
    ])
}

fn spoofed(ground: &Ground) -> Result<Vec<Vec<u8>>> {
    let [own, other, third] = &ground.marks;
    let neighbour = ground.pod(1).address()?;
    let [a, b, c, _] = own.pod.octets();
    let sources = [
        neighbour,
        other.pod,
        own.address,
        other.address,
        own.vtep_address,
        Ipv4Addr::new(a, b, c, 1),
        Ipv4Addr::new(a, b, c, 200),
        Ipv4Addr::new(203, 0, 113, 7),
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::UNSPECIFIED,
    ];
    let destinations = [neighbour, other.pod, third.pod, own.address, other.address, GATEWAY];
    let (gateway, mac) = (ground.pod(0).gateway_mac()?, ground.pod(0).mac()?);
    let frames = sources.iter().flat_map(|source| {
        destinations.map(|destination| {
            let packet = Ipv4::new(*source, destination, UDP).udp(PORT, PORT, MARK);
            ethernet(gateway, mac, &packet)
        })
    });
    Ok(frames.collect())
}

/// The pod's own tunnel packets: one that is right in every field but the sender, and two that
/// hide the port behind IP options or in a first fragment.
fn speaks(ground: &Ground, receivers: &[Ipv4Addr]) -> Result<Vec<Vec<u8>>> {
    let mut frames = Vec::new();
    for receiver in receivers {
        let good = from_pod(ground, *receiver)?;
        let mut optional = good.clone();
        optional.outer.options = vec![1; 8];
        let first = good.fragments(48, 77).into_iter().next().context("no fragment")?;
        frames.extend([good.build(), optional.build(), first]);
    }
    Ok(frames)
}

/// What the target's first pod would send if it could speak the tunnel: the inner packet would be
/// right for the node that `receiver` belongs to, from this node.
fn from_pod(ground: &Ground, receiver: Ipv4Addr) -> Result<TunnelFrame> {
    let [own, others @ ..] = &ground.marks;
    let there = others.iter().find(|mark| [mark.address, mark.vtep_address].contains(&receiver));
    let (vtep, destination) = match there {
        Some(other) => (other.vtep, other.pod),
        None => (own.vtep, ground.pod(1).address()?),
    };
    let inner = Ipv4::new(own.pod, destination, UDP).udp(PORT, PORT, MARK);
    let (gateway, mac) = (ground.pod(0).gateway_mac()?, ground.pod(0).mac()?);
    Ok(TunnelFrame::new((own.pod, mac), (receiver, gateway), vtep, inner))
}

/// Makes the node masquerade its pods, as flannel and many administrators do.
pub(in crate::scenarios) fn masquerade(ground: &Ground) -> Result<()> {
    let rule = "-s 10.244.0.0/16 ! -d 10.244.0.0/16 -j MASQUERADE";
    let node = &ground.target().node;
    node.run(&format!("iptables -w -t nat -A POSTROUTING {rule}")).map(drop)
}

/// Masquerading does launder what a pod sends to another node on any other port, and the pod's
/// packet would be accepted if it came from the node's address: only the refusal stands between.
pub(in crate::scenarios) fn laundering_would_work(
    scenario: &Scenario,
    ground: &Ground,
) -> Result<()> {
    other_ports_are_laundered(ground)?;
    laundered_packets_arrive(ground)?;
    scenario.note(format!("{} would launder", ground.target().node.label()));
    Ok(())
}

fn other_ports_are_laundered(ground: &Ground) -> Result<()> {
    let [own, other, _] = &ground.marks;
    let mut sent = from_pod(ground, other.address)?;
    sent.port = TUNNEL_PORT + 1;
    let filter = format!("--udp-port {} --count 1 --seconds 5", sent.port);
    let capture = traffic::sniff(&ground.sender().node, "eth0", &filter)?;
    traffic::raw_send(ground.pod(0), "eth0", &[sent.build()], 1)?;
    let captured = capture.finish()?.frames;
    let laundered = captured.first().context("the pod's packet did not leave its node")?;
    let source = laundered.bytes.get(26..30).context("no outer source")?;
    ensure!(source == own.address.octets(), "not masqueraded: {source:?}");
    Ok(())
}

/// The pod's packet as it would look after masquerading.
fn laundered_packets_arrive(ground: &Ground) -> Result<()> {
    let [own, other, _] = &ground.marks;
    let mut frame = from_pod(ground, other.address)?;
    (frame.outer.source, frame.source, frame.next_hop) = (own.address, own.mac, other.mac);
    let sink = traffic::udp_sink(&ground.sender().pods[0], None)?;
    traffic::raw_send(&ground.target().node, "eth0", &[frame.build()], 10)?;
    let received = super::settled(sink)?;
    ensure!(received == 10, "{received} of 10 laundered packets arrived");
    Ok(())
}
