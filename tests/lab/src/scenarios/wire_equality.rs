//! What Tartan puts on the wire equals what the kernel's vxlan puts there, field by field.
//!
//! The same node exists twice, one after the other, with the same addresses: first under Tartan,
//! then under the kernel's vxlan. Its pod sends the same packets both times.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::cluster::Member;
use crate::frames::{Fields, Ipv4, UDP, ethernet, vxlan_fields};
use crate::kernel_vxlan::KernelVxlanNode;
use crate::lab::Lab;
use crate::lease::Lease;
use crate::pod::Pod;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, ECHO_PORT, EchoReport, Running};
use crate::wire::{GATEWAY, Outside, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("wire_equality::headers_equal_the_kernels", headers_equal),
    Entry::new("wire_equality::the_kernel_equals_itself", the_kernel_equals_itself),
];

/// What each packet became on the wire, by the packet's name.
type Sent = Vec<(String, Fields)>;

/// Source port of the flow that goes fast.
const FAST: u16 = 3999;

/// Chosen by the sender of each packet: flow entropy, identification, and the sums over them.
const FREE: [&str; 4] = ["udp source port", "udp checksum", "outer id", "outer header checksum"];

fn headers_equal(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let member = Member::new(lab.node()?, 0)?;
    let (receiver, target, _echo) = receiver(&lab)?;
    receiver.adopt_leases()?;
    let (lease, ours) = tartan_side(member, &target)?;
    let theirs = kernel_side(&lab, lease, &receiver, &target)?;
    compare_all(scenario, &ours, &theirs)
}

/// The comparison itself must not see differences where there are none, nor miss one.
fn the_kernel_equals_itself(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    drop(lab.node()?);
    let (receiver, target, _echo) = receiver(&lab)?;
    let sides = ["06:00:00:00:00:01", "06:00:00:00:00:01", "06:00:00:00:00:02"].map(|vtep| {
        let subnet = "10.244.1.0/24".parse()?;
        let node = GATEWAY;
        let lease = Lease { name: String::new(), subnet, node, vtep: vtep.to_owned() };
        kernel_side(&lab, lease, &receiver, &target)
    });
    let [one, same, other] = sides;
    let (one, same, other) = (one?, same?, other?);
    compare_all(scenario, &one, &same)?;
    ensure!(compare_all(scenario, &one, &other).is_err(), "another VTEP went unnoticed");
    Ok(())
}

fn receiver(lab: &Lab) -> Result<(KernelVxlanNode, Pod, Running<EchoReport>)> {
    let receiver = KernelVxlanNode::new(lab.node()?, "10.244.200.0/24".parse()?)?;
    receiver.publish()?;
    let target = receiver.pod("t")?;
    let echo = traffic::echo(&target, None)?;
    Ok((receiver, target, echo))
}

/// Captures everything under the kernel's vxlan, as node1 with this lease.
fn kernel_side(lab: &Lab, lease: Lease, receiver: &KernelVxlanNode, target: &Pod) -> Result<Sent> {
    let kernel = KernelVxlanNode::with_vtep(lab.node_again(1)?, lease.subnet, lease.vtep)?;
    kernel.add_peer(receiver.lease())?;
    receiver.add_peer(kernel.lease())?;
    let pod = kernel.pod("a")?;
    pod.run(&format!("ping -n -c 1 -W 2 {}", target.address()?))?;
    send_all(&pod, target.address()?)
}

fn compare_all(scenario: &Scenario, ours: &Sent, theirs: &Sent) -> Result<()> {
    ensure!(ours.len() == theirs.len() && !ours.is_empty(), "different packets");
    for ((name, ours), (_, theirs)) in ours.iter().zip(theirs) {
        compare(name, ours, theirs)?;
        scenario.note(format!("{name}: {} fields equal", ours.len()));
    }
    Ok(())
}

/// Captures everything under Tartan, then ends the node.
fn tartan_side(mut member: Member, target: &Pod) -> Result<(Lease, Sent)> {
    let pod = member.add_pod("a")?;
    crate::process::eventually("the peer is known", Duration::from_secs(5), || {
        pod.succeeds(&format!("ping -n -c 1 -W 1 {}", target.address()?))
    })?;
    let before = member.node.paths()?;
    let captured = send_all(&pod, target.address()?)?;
    let added = member.node.paths()?.since(&before);
    // Fragments always take the stack.
    ensure!(added.get("pod-remote-fast") >= 8, "too few went fast: {added:?}");
    ensure!(added.get("overlay-encap") >= 8, "too few went through the stack: {added:?}");
    let lease = Lease::all()?.into_iter().find(|lease| lease.name == member.node.name());
    Ok((lease.context("the node has no lease")?, captured))
}

/// Packets of a pod: name, and the IPv4 packet. Those from `FAST` belong to one flow, which goes
/// fast once its first packets were answered; each other one is a flow of its own, and its first
/// packet takes the stack.
fn packets(from: Ipv4Addr, to: Ipv4Addr) -> Vec<(String, Vec<u8>)> {
    let plain = Ipv4::new(from, to, UDP);
    let mut variants = vec![("plain", plain.clone(), 13)];
    for (name, tos) in [("DSCP EF", 0xb8), ("ECT(0)", 2), ("ECT(1)", 1), ("CE", 3)] {
        variants.push((name, Ipv4 { tos, ..plain.clone() }, 13));
    }
    for (name, ttl) in [("TTL 2", 2), ("TTL 255", 255)] {
        variants.push((name, Ipv4 { ttl, ..plain.clone() }, 13));
    }
    for (name, fragment) in [("do not fragment", 0x4000), ("first fragment", 0x2000)] {
        variants.push((name, Ipv4 { fragment, ..plain.clone() }, 16));
    }
    variants.push(("1450 bytes", plain, 1422));
    let mut packets = Vec::new();
    for (number, (name, header, size)) in (4000..).zip(&variants) {
        let payload = vec![0x77; *size];
        packets.push((format!("stack: {name}"), header.udp(number, ECHO_PORT, &payload)));
    }
    for (name, header, size) in &variants {
        packets.push((format!("fast: {name}"), header.udp(FAST, ECHO_PORT, &vec![0x77; *size])));
    }
    packets
}

/// Lets the flow from `FAST` become a direct one, where there is such a thing.
fn warm_up(pod: &Pod, to: Ipv4Addr) -> Result<()> {
    let flow = Ipv4::new(pod.address()?, to, UDP).udp(FAST, ECHO_PORT, b"warm-up");
    let frame = ethernet(pod.gateway_mac()?, pod.mac()?, &flow);
    for _ in 0..3 {
        traffic::raw_send(pod, "eth0", std::slice::from_ref(&frame), 1)?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Sends each packet and captures what the node puts on the wire for it.
fn send_all(pod: &Pod, to: Ipv4Addr) -> Result<Sent> {
    let from = pod.address()?;
    let (source, gateway) = (pod.mac()?, pod.gateway_mac()?);
    let wire = format!("up-{}", pod.node().name());
    warm_up(pod, to)?;
    let mut captured = Vec::new();
    for (name, packet) in packets(from, to) {
        let capture = traffic::sniff(&Outside, &wire, "--udp-port 8472 --seconds 2")?;
        let frame = ethernet(gateway, source, &packet);
        traffic::raw_send(pod, "eth0", &[frame], 1)?;
        thread::sleep(Duration::from_millis(30));
        let frames = capture.stop()?.frames;
        // Away from the node: the wire's end receives it.
        let mine = frames.iter().find(|frame| !frame.outgoing);
        let mine = mine.with_context(|| format!("{name}: nothing on the wire"))?;
        let fields = vxlan_fields(&mine.bytes).with_context(|| name.clone())?;
        captured.push((name, fields));
    }
    Ok(captured)
}

fn compare(name: &str, ours: &Fields, theirs: &Fields) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "{name}: different headers");
    for ((field, mine), (_, kernels)) in ours.iter().zip(theirs) {
        if mine != kernels && !FREE.contains(&field.as_str()) {
            bail!("{name}: {field} is {mine}, the kernel's is {kernels}");
        }
    }
    Ok(())
}
