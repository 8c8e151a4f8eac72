//! Nobody gets a packet into the pod network who must not: 10,000 forged packets, none delivered,
//! each counted under its own reason.

pub(super) mod ground;
pub(super) mod pods;
mod tags;
pub(super) mod wire;
pub(super) mod witness;

use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use self::ground::{Ground, MARK, PORT, exactly};
use self::witness::Witnesses;
use crate::forge::TunnelFrame;
use crate::frames::{Ipv4, UDP, ethernet};
use crate::process::{Place, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, Running, UdpSinkReport};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("refusals::ten_thousand_on_an_offloaded_wire", |s| all(s, Wire::Offloaded))
        .within(120),
    Entry::new("refusals::ten_thousand_on_a_framed_wire", |s| all(s, Wire::Framed)).within(120),
    Entry::new("refusals::what_the_kernel_decapsulates_is_judged_too", kernels_device),
    Entry::new("refusals::a_broadcast_vtep_does_not_pass_in_fragments", vtep_in_fragments),
    Entry::new("refusals::priority_tags_hide_nothing_on_the_wire", tags::on_the_wire),
    Entry::new("refusals::priority_tags_hide_nothing_in_a_pod", tags::in_a_pod),
    Entry::new("refusals::a_pods_vlan_tag_does_not_reach_the_wire", tags::to_the_wire),
];

/// Forged packets in all.
const TOTAL: usize = 10_000;
/// Good ones, before and after: the test could fail.
const GOOD: u64 = 100;

fn all(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let ground = Ground::new(scenario.lab(wire)?, None)?;
    ten_thousand(scenario, &ground)
}

/// Forged packets of every kind at a ground's target.
pub(super) fn ten_thousand(scenario: &Scenario, ground: &Ground) -> Result<()> {
    pods::masquerade(ground)?;
    // The kernel itself would refuse packets for 127.0.0.1 from a wire; kube-proxy changes that.
    ground.target().node.sysctl("net.ipv4.conf.all.route_localnet", "1")?;
    good_ones_arrive(ground)?;
    pods::laundering_would_work(scenario, ground)?;
    let witnesses = Witnesses::start(ground)?;
    let mut cases = wire::cases(ground);
    cases.extend(pods::cases(ground)?);
    let (share, rest) = (TOTAL / cases.len(), TOTAL % cases.len());
    for (number, case) in cases.iter().enumerate() {
        ground.refused(scenario, case, share + usize::from(number < rest))?;
    }
    thread::sleep(Duration::from_millis(200));
    witnesses.heard_nothing()?;
    scenario.note(format!("{TOTAL} of {} kinds, none delivered", cases.len()));
    good_ones_arrive(ground)
}

/// The same frame without a fault reaches the pod, and the node where it is for the node; a pod's
/// own packet reaches other pods.
fn good_ones_arrive(ground: &Ground) -> Result<()> {
    let before = ground.target().node.drops()?;
    let to_pod = wire::good(ground).build();
    arrives(ground.pod(0), &to_pod, &ground.sender().node)?;
    let destination = ground.marks[0].vtep_address;
    let to_node = ground.frame(&Ipv4 { destination, ..ground.inner() }).build();
    arrives(&ground.target().node, &to_node, &ground.sender().node)?;
    let liar = ground.pod(0);
    for other in [ground.pod(1), &ground.sender().pods[0]] {
        let packet = Ipv4::new(liar.address()?, other.address()?, UDP).udp(PORT, PORT, MARK);
        let frame = ethernet(liar.gateway_mac()?, liar.mac()?, &packet);
        arrives(other, &frame, liar)?;
    }
    let refused = ground.target().node.drops()?.since(&before);
    ensure!(refused.total() == 0, "good packets were refused: {refused:?}");
    Ok(())
}

fn arrives(to: &dyn Place, frame: &[u8], from: &dyn Place) -> Result<()> {
    let sink = traffic::udp_sink(to, None)?;
    traffic::raw_send(from, "eth0", &[frame.to_vec()], GOOD)?;
    let received = settled(sink)?;
    ensure!(received == GOOD, "{received} of {GOOD} good packets reached {}", to.label());
    Ok(())
}

/// What a sink received, after a moment for the last ones.
fn settled(sink: Running<UdpSinkReport>) -> Result<u64> {
    thread::sleep(Duration::from_millis(100));
    Ok(sink.stop()?.received)
}

/// Packets that only the kernel's device can decapsulate meet the same rule behind it: whole
/// packets from fragments, and tunnel packets to another address of the host.
fn kernels_device(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::new(scenario.lab(Wire::Offloaded)?, None)?;
    let [target, ..] = &ground.marks;
    let elsewhere = "172.30.0.211".parse()?;
    ground.target().node.run(&format!("ip address add {elsewhere}/24 dev eth0"))?;
    whole_fragments_arrive(&ground)?;
    let sinks = Witnesses::start(&ground)?;
    let foreign = Ipv4 { source: ground.marks[2].pod, ..ground.inner() };
    let outside = Ipv4 { destination: target.address, ..ground.inner() };
    for (frame, reason) in [
        (ground.frame(&foreign), "foreign-source"),
        (ground.frame(&outside), "inner-destination"),
        (TunnelFrame { inner_type: 0x86dd, ..wire::good(&ground) }, "inner-protocol"),
    ] {
        in_fragments(&ground, &frame, reason)?;
        scenario.note(format!("in fragments: {reason}"));
    }
    let mut astray = wire::good(&ground);
    astray.outer.destination = elsewhere;
    let before = ground.target().node.drops()?;
    traffic::raw_send(&ground.sender().node, "eth0", &[astray.build()], GOOD)?;
    wait_for(&ground, &before, GOOD);
    exactly(&ground.target().node.drops()?.since(&before), "not-for-this-node", GOOD)?;
    shreds(&ground)?;
    let heard = sinks.heard()?;
    ensure!(heard.datagrams.is_empty(), "something got through: {heard:?}");
    Ok(())
}

/// No tunnel packets to the eye: fragments without a beginning, and frames without a whole outer
/// IP header. Nobody counts them, nobody gets them.
fn shreds(ground: &Ground) -> Result<()> {
    let good = wire::good(ground);
    let mut frames: Vec<_> = (14..34).map(|length| good.cut(length)).collect();
    frames.extend(good.fragments(24, 99).into_iter().skip(1));
    let before = ground.target().node.drops()?;
    traffic::raw_send(&ground.sender().node, "eth0", &frames, 10)?;
    thread::sleep(Duration::from_millis(100));
    let added = ground.target().node.drops()?.since(&before);
    ensure!(added.total() == 0, "shreds were counted as tunnel packets: {added:?}");
    Ok(())
}

fn whole_fragments_arrive(ground: &Ground) -> Result<()> {
    let sink = traffic::udp_sink(ground.pod(0), None)?;
    send_in_fragments(ground, &wire::good(ground), 0)?;
    let received = settled(sink)?;
    ensure!(received == GOOD, "{received} of {GOOD} fragmented packets arrived");
    Ok(())
}

fn in_fragments(ground: &Ground, frame: &TunnelFrame, reason: &str) -> Result<()> {
    let before = ground.target().node.drops()?;
    send_in_fragments(ground, frame, 0x4000)?;
    wait_for(ground, &before, GOOD);
    exactly(&ground.target().node.drops()?.since(&before), reason, GOOD)
}

fn send_in_fragments(ground: &Ground, frame: &TunnelFrame, first_id: u16) -> Result<()> {
    let ids = (0..u16::try_from(GOOD)?).map(|number| first_id + number);
    let frames: Vec<_> = ids.flat_map(|id| frame.fragments(64, id)).collect();
    traffic::raw_send(&ground.sender().node, "eth0", &frames, 1).map(drop)
}

fn wait_for(ground: &Ground, before: &crate::counters::Counts, count: u64) {
    // Too few are told by the comparison that follows.
    let _ = eventually("all are counted", Duration::from_secs(1), || {
        Ok(ground.target().node.drops()?.since(before).total() >= count)
    });
}

/// The outer headers of a reassembled packet are gone, but not its inner MAC: the same rule holds.
fn vtep_in_fragments(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::new(scenario.lab(Wire::Offloaded)?, None)?;
    let sinks = Witnesses::start(&ground)?;
    let own = Ipv4 { destination: ground.marks[0].vtep_address, ..ground.inner() };
    let before = ground.target().node.drops()?;
    let macs = [[0xff; 6], [0x01, 0, 0x5e, 0, 0, 1], ground.marks[2].vtep];
    for (number, vtep) in macs.into_iter().enumerate() {
        for inner in [&ground.inner(), &own] {
            let frame = TunnelFrame { vtep, ..ground.frame(inner) };
            send_in_fragments(&ground, &frame, u16::try_from(number)? * 1000)?;
        }
    }
    wait_for(&ground, &before, 6 * GOOD);
    let added = ground.target().node.drops()?.since(&before);
    let heard = sinks.heard()?;
    ensure!(heard.datagrams.is_empty(), "got through: {heard:?}, counted {added:?}");
    exactly(&added, "wrong-vtep-mac", 6 * GOOD)
}
