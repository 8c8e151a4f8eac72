//! The same over IPv6: pods of IPv6, and a tunnel over IPv6.
//!
//! flannel keeps a device of its own for IPv6, `flannel-v6.1`; the reference here is made like it.

mod generate;
mod ground;
mod model;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use self::generate::Generator6;
use self::ground::{Far, Reference, Side, far_node, own_node};
use self::model::Model6;
use super::generate::{FAST, Generated};
use super::verdict::{Comparison, IPV6};
use super::{Lane, Passage, Seen, number};
use crate::control_plane::{ControlPlane, Options};
use crate::frames::{UDP, udp};
use crate::frames6::{Ipv6, ethernet6};
use crate::lab::Lab;
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::traffic::{ECHO_PORT, EchoReport, Running};
use crate::wire::Wire;

pub(super) fn all(scenario: &mut Scenario, packets: u64) -> Result<()> {
    let packets = usize::try_from(number("TARTAN_PACKETS", packets)?)?;
    let seed = number("TARTAN_SEED", 1)?;
    scenario.note(format!("TARTAN_SEED={seed} TARTAN_PACKETS={packets}"));
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::dual_stack())?;
    let (mut member, pod) = own_node(&lab, &plane)?;
    let (far, target) = far_node(&lab, &plane)?;
    let _echo: Running<EchoReport> = Running::start(&target, "echo --bind ::", "")?;
    let own = Side::published(&plane, &member.node, &pod)?;
    far.adopt(&own)?;
    eventually("the peer is known", Duration::from_secs(10), || {
        pod.succeeds(&format!("ping -n -c 1 -W 1 {}", far.side.pod))
    })?;
    let model = Model6::new(&own, &far.side)?;
    let mut generator = Generator6::new(seed, &own, &far.side)?;
    let cases: Vec<_> = (0..packets).map(|_| generator.packet()).collect();
    let before = (member.node.drops()?, member.node.paths()?);
    let ours = passage(scenario, &pod, &far, &cases, &own)?;
    let drops = member.node.drops()?.since(&before.0);
    let paths = member.node.paths()?.since(&before.1);
    scenario.note(format!("{} came out; drops {drops:?}, paths {paths:?}", ours.len()));
    member.stop_agent(nix::sys::signal::Signal::SIGTERM)?;
    drop((pod, member));
    let theirs = kernels(scenario, &lab, (&own, &far), &cases)?;
    scenario.note(format!("through the kernel's vxlan: {} came out", theirs.len()));
    let mut comparison = Comparison::of(&IPV6);
    for case in &cases {
        let (ours, theirs) = (ours.get(&case.number), theirs.get(&case.number));
        let reason = || model.reason(case);
        comparison.add(reason, case, ours.map(Vec::as_slice), theirs.map(Vec::as_slice));
    }
    scenario.note(&comparison);
    comparison.judge(cases.len(), &drops)
}

/// All packets through node1, whatever carries them there.
fn passage(
    scenario: &Scenario,
    pod: &Pod,
    far: &Far,
    cases: &[Generated],
    own: &Side,
) -> Result<Seen> {
    let started = Instant::now();
    let (station, gateway) = (pod.mac()?, pod.gateway_mac()?);
    let flow = Ipv6::new(own.pod, far.side.pod, UDP);
    let warm_up = flow.build(&flow.summed(udp(FAST, ECHO_PORT, b"warm-up"), 6));
    let lane = Lane { frame: |to, from, packet| ethernet6(to, from, packet), station, gateway };
    let passage = Passage { pod, node: pod.node(), far: &far.node, lane, warm_up };
    let seen = passage.all(scenario, cases)?;
    scenario.note(format!("{} packets in {:.1} s", cases.len(), started.elapsed().as_secs_f64()));
    Ok(seen)
}

/// The same through the kernel's vxlan, as node1 with the same addresses.
fn kernels(
    scenario: &Scenario,
    lab: &Lab,
    (own, far): (&Side, &Far),
    cases: &[Generated],
) -> Result<Seen> {
    let node = lab.node_again(1)?;
    let reference = Reference::new(node, own)?;
    reference.add_peer(&far.side)?;
    let pod = reference.pod("a", own)?;
    pod.run(&format!("ping -n -c 1 -W 2 {}", far.side.pod)).context("the reference")?;
    passage(scenario, &pod, far, cases, own)
}
