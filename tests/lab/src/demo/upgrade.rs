//! An agent killed, and upgraded in place, while packets flow.

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

use super::show::{self, Show};
use crate::cluster::{Cluster, Member};
use crate::node::Node;
use crate::pod::Pod;
use crate::traffic::{self, ProbeReport};

/// Datagrams per second and flow.
const RATE: u32 = 1000;
/// How long the flows go on; the events take about half of it.
const SECONDS: f64 = 6.0;
const PAUSE: Duration = Duration::from_millis(700);

pub(super) fn show(show: &mut Show, cluster: &mut Cluster) -> Result<()> {
    show::heading("An agent dies and is upgraded under traffic");
    let flows = flows(cluster)?;
    let count: usize = flows.iter().map(|(_, to)| to.len()).sum();
    println!("  {count} flows (each pod to one of its node and one of the next), each with");
    println!("  {RATE} UDP packets per second to an echo and back, for {SECONDS} s.\n");
    let probes = flows
        .iter()
        .map(|(from, to)| traffic::udp_probe(from, to, RATE, SECONDS))
        .collect::<Result<Vec<_>>>()?;
    let member = cluster.members.get_mut(1).context("no second node")?;
    let events = disturb(member);
    let mut reports = Vec::new();
    for probe in probes {
        reports.extend(probe.finish()?);
    }
    events?;
    account(show, &reports);
    Ok(())
}

/// For each pod its neighbour on the node and its namesake on the next node.
fn flows(cluster: &Cluster) -> Result<Vec<(Pod, Vec<IpAddr>)>> {
    let mut flows = Vec::new();
    for (index, member) in cluster.members.iter().enumerate() {
        let next = &cluster.members[(index + 1) % cluster.members.len()];
        for (number, pod) in member.pods.iter().enumerate() {
            let neighbour = &member.pods[(number + 1) % member.pods.len()];
            let namesake = next.pods.get(number).context("nodes with different pods")?;
            flows
                .push((pod.clone(), vec![neighbour.address()?.into(), namesake.address()?.into()]));
        }
    }
    Ok(flows)
}

fn disturb(member: &mut Member) -> Result<()> {
    let name = member.node.name().to_owned();
    thread::sleep(PAUSE);
    show::progress(&format!("SIGKILL to the agent of {name}"));
    member.stop_agent(Signal::SIGKILL)?;
    thread::sleep(PAUSE);
    member.restart_agent(&[])?;
    show::progress(&format!("a new agent of {name} adopted what is pinned"));
    thread::sleep(PAUSE);
    let before = program(&member.node)?;
    member.stop_agent(Signal::SIGTERM)?;
    member.restart_agent(&["--replace-programs"])?;
    let after = program(&member.node)?;
    show::progress(&format!("upgraded in place: {before} became {after}"));
    Ok(())
}

/// The program at the node's uplink, as the kernel knows it.
fn program(node: &Node) -> Result<String> {
    let programs = traffic::hooks(node, "eth0")?;
    let program = programs.first().context("no program at the uplink")?;
    Ok(format!("{} #{}", program.name, program.id))
}

fn account(show: &mut Show, reports: &[ProbeReport]) {
    let sum = |of: fn(&ProbeReport) -> u64| reports.iter().map(of).sum::<u64>();
    let (sent, lost) = (sum(|r| r.sent), sum(|r| r.lost + r.refused));
    let gap = reports.iter().map(|report| report.max_gap_ms).fold(0.0, f64::max);
    println!("  longest silence of a flow: {gap:.1} ms; duplicates: {}", sum(|r| r.duplicates));
    show.claim(lost == 0 && sent > 0, &format!("{lost} of {sent} packets lost"));
}
