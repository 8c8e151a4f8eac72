//! A path MTU of 1400 on the wire: outer packets arrive in fragments, and whole all the same.

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{Cluster, Servers, talk};
use crate::pod::Pod;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("outer_fragments::arrive_through_the_kernels_device", arrive),
    Entry::new("outer_fragments::arrive_when_pods_go_fast", arrive_fast),
];

const ON: &str = r#"{"Network":"10.244.0.0/16","FastPath":"on","Backend":{"Type":"vxlan"}}"#;
/// Big pings: their outer packets are above the path MTU and below that of the links.
const PINGS: u64 = 20;

fn arrive(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Routed { path_mtu: 1400 })?;
    let cluster = Cluster::new(&lab, 2, 1)?;
    exchange(scenario, &cluster)
}

fn arrive_fast(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Routed { path_mtu: 1400 })?;
    let cluster = super::fast_share::cluster(&lab, 2, 1, ON)?;
    exchange(scenario, &cluster)
}

fn exchange(scenario: &Scenario, cluster: &Cluster) -> Result<()> {
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let (from, to) = (&one.pods[0], &two.pods[0]);
    let _servers = [Servers::start(from)?, Servers::start(to)?];
    for (a, b) in [(from, to), (to, from)] {
        talk(a, b, 3_000_000)?;
        big_pings(scenario, a, b)?;
        big_datagrams(scenario, a, b)?;
    }
    Ok(())
}

/// Pings of 1428 bytes, with and without permission to fragment the inner packet: the outer one is
/// fragmented by the router in any case.
fn big_pings(scenario: &Scenario, from: &Pod, to: &Pod) -> Result<()> {
    let receiver = to.node();
    let before = receiver.paths()?;
    let fragments = traffic::sniff(receiver, "eth0", "--snap 34")?;
    for discovery in ["do", "dont"] {
        let ip = to.address()?;
        from.run(&format!("ping -n -c {PINGS} -i 0.01 -W 2 -M {discovery} -s 1400 {ip}"))?;
    }
    let added = receiver.paths()?.since(&before);
    let seen = fragments.stop()?.frames.iter().filter(|frame| is_fragment(&frame.bytes)).count();
    scenario.note(format!("to {}: {seen} fragments, {added:?}", to.label()));
    ensure!(seen as u64 >= 4 * PINGS, "only {seen} fragments on the wire");
    ensure!(added.get("uplink-to-device") >= 4 * PINGS, "left to the device: {added:?}");
    ensure!(added.get("overlay-accepted") >= 2 * PINGS, "accepted behind it: {added:?}");
    Ok(())
}

/// Datagrams of 1000 fit the path; those of 1400 come in fragments, those of 4000 are fragmented
/// inside the tunnel as well.
fn big_datagrams(scenario: &Scenario, from: &Pod, to: &Pod) -> Result<()> {
    for size in [1000, 1400, 4000] {
        let to = format!("{}:{}", to.address()?, traffic::ECHO_PORT);
        let line = format!("udp-probe --to {to} --pps 200 --seconds 1 --size {size}");
        let reports: Vec<traffic::ProbeReport> =
            traffic::Running::start(from, &line, "")?.finish()?;
        let report = reports.first().context("no report")?;
        scenario.note(format!("{size} bytes: {} of {}", report.received, report.sent));
        ensure!(report.sent >= 150 && report.lost + report.refused == 0, "{size}: {report:?}");
    }
    Ok(())
}

fn is_fragment(frame: &[u8]) -> bool {
    let is_ipv4 = frame.get(12..14) == Some(&[8, 0]);
    is_ipv4 && frame.get(20..22).is_some_and(|field| field[0] & 0x3f != 0 || field[1] != 0)
}
