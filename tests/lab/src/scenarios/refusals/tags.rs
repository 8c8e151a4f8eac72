//! VLAN tags in front of a packet: what they would hide is judged all the same, and a pod's own
//! tags stay on its node.

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::ground::{Case, From, Ground, MARK};
use super::witness::{Heard, Witnesses};
use super::{pods, wire};
use crate::frames::{Ipv4, ethernet};
use crate::hex;
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Wire;

const ON: &str = r#"{"Network":"10.244.0.0/16","FastPath":"on","Backend":{"Type":"vxlan"}}"#;

/// VLAN tags of VLAN 0 in front of the frame's type (IEEE 802.1p): the kernel takes up to two of
/// them off and treats the rest as if they had never been there.
fn tagged(frame: &[u8], tags: usize) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &[0x81, 0, 0, 0].repeat(tags), rest].concat()
}

pub(super) fn on_the_wire(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::new(scenario.lab(Wire::Offloaded)?, None)?;
    let sinks = Witnesses::start(&ground)?;
    let foreign = Ipv4 { source: ground.marks[2].pod, ..ground.inner() };
    let foreign = ground.frame(&foreign);
    let mut unknown = wire::good(&ground);
    unknown.outer.source = ground.stranger.address();
    for tags in [1, 2] {
        for (frame, reason) in [(&foreign, "foreign-source"), (&unknown, "unknown-sender")] {
            let frames = vec![tagged(&frame.build(), tags)];
            let case = Case { name: "behind priority tags", reason, from: From::Sender, frames };
            ground.refused(scenario, &case, 100)?;
        }
    }
    let heard = sinks.heard()?;
    ensure!(heard.datagrams.is_empty(), "something got through: {heard:?}");
    Ok(())
}

pub(super) fn in_a_pod(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::new(scenario.lab(Wire::Offloaded)?, None)?;
    pods::masquerade(&ground)?;
    let witnesses = Witnesses::start(&ground)?;
    let before = ground.target().node.drops()?;
    let mut sent = 0;
    for case in pods::cases(&ground)? {
        for tags in [1, 2] {
            let frames: Vec<_> = case.frames.iter().map(|frame| tagged(frame, tags)).collect();
            sent += traffic::raw_send(ground.pod(0), "eth0", &frames, 1)?.sent;
        }
    }
    super::wait_for(&ground, &before, sent);
    let added = ground.target().node.drops()?.since(&before);
    let heard = witnesses.heard()?;
    let silent = heard == Heard::default();
    ensure!(silent, "of {sent}, counted {added:?}, got through: {heard:?}");
    let behind_one = added.get("spoofed-source") + added.get("pod-speaks-tunnel");
    let total = behind_one + added.get("stacked-tags");
    ensure!(total == sent && added.total() == sent, "of {sent}, counted {added:?}");
    Ok(())
}

/// The host's stack drops what a pod sends into a VLAN that the node does not have; so must the
/// fast path, which would put the tag on the node's own wire.
pub(super) fn to_the_wire(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::new(scenario.lab(Wire::Offloaded)?, Some(ON))?;
    let pod = ground.pod(0);
    let packet = opening(&ground);
    let plain = ethernet(pod.gateway_mac()?, pod.mac()?, &packet);
    let (addresses, rest) = plain.split_at(12);
    let tagged = [addresses, &[0x81, 0, 0, 100], rest].concat();
    // A capture sees a tag that stands in the frame, not one that the device adds.
    let node = &ground.target().node;
    node.run("ethtool -K eth0 txvlan off")?;
    let marked = format!("--contains {}", hex::encode(MARK));
    let wire = traffic::sniff(node, "eth0", &marked)?;
    let arrived = traffic::sniff(&ground.sender().pods[0], "eth0", &marked)?;
    traffic::raw_send(pod, "eth0", &[tagged], 10)?;
    traffic::raw_send(pod, "eth0", &[plain], 1)?;
    thread::sleep(Duration::from_millis(100));
    let (wire, arrived) = (wire.stop()?.frames, arrived.stop()?.frames.len());
    let hopped = wire.iter().filter(|frame| frame.bytes.get(12..14) == Some(&[0x81, 0])).count();
    scenario.note(format!("{} on the wire, {hopped} in VLAN 100, {arrived} arrived", wire.len()));
    ensure!(!wire.is_empty() && arrived >= 1, "not even the plain packet left");
    ensure!(hopped == 0, "{hopped} of 10 tagged frames of a pod are in VLAN 100 of the wire");
    ensure!(arrived == 1, "{arrived} arrived of one without a tag and ten with one");
    Ok(())
}

/// A SYN with the mark behind it: where the fast path is on it is direct at once.
fn opening(ground: &Ground) -> Vec<u8> {
    const TCP: u8 = 6;
    let mut segment = vec![0x9c, 0x40, 0x1b, 0x58, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2];
    segment.extend([0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(MARK);
    Ipv4::new(ground.marks[0].pod, ground.marks[1].pod, TCP).build(&segment)
}
