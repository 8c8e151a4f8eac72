//! Three Tartan nodes, two pods each: everybody talks to everybody, and flows go fast.

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, Servers, talk};
use crate::pod::Pod;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("all_pairs::on_an_offloaded_wire", |s| all(s, Wire::Offloaded)),
    Entry::new("all_pairs::on_a_framed_wire", |s| all(s, Wire::Framed)),
    Entry::new("all_pairs::without_checksum_offload", |s| all(s, Wire::FramedNoChecksums)),
    Entry::new("all_pairs::over_a_path_mtu_of_1400", |s| all(s, Wire::Routed { path_mtu: 1400 })),
    Entry::new("all_pairs::hosts_and_pods_of_two_nodes", hosts_and_pods),
    Entry::new("all_pairs::a_bulk_flow_is_fast", bulk_is_fast),
];

fn all(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let cluster = Cluster::new(&lab, 3, 2)?;
    let _servers = cluster.servers()?;
    for (from, to) in cluster.pairs() {
        talk(from, to, 300_000)?;
    }
    Ok(())
}

fn hosts_and_pods(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 1)?;
    for member in &cluster.members {
        for pod in cluster.pods() {
            let ip = pod.address()?;
            member.node.run(&format!("ping -n -c 1 -W 2 {ip}"))?;
            let _servers = Servers::start(pod)?;
            let sent = traffic::tcp_bytes(&member.node, ip.into(), 300_000)?;
            ensure!(sent.intact, "{} to {}: {sent:?}", member.node.label(), pod.label());
            pod.run(&format!("ping -n -c 1 -W 2 {}", member.node.address()))?;
        }
    }
    Ok(())
}

fn bulk_is_fast(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let cluster = Cluster::new(&lab, 2, 2)?;
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let [a, b] = &one.pods[..] else { anyhow::bail!("not two pods") };
    let _servers = [Servers::start(b)?, Servers::start(&two.pods[0])?];
    for (to, wanted) in [(b, "pod-local-fast"), (&two.pods[0], "pod-remote-fast")] {
        let percent = fast_percent(scenario, a, to, wanted)?;
        ensure!(percent >= 99.0, "to {}: {percent:.2} % {wanted}", to.label());
    }
    Ok(())
}

/// How many of the sending node's packets between pods took the wanted path.
#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn fast_percent(scenario: &Scenario, from: &Pod, to: &Pod, wanted: &str) -> Result<f64> {
    let before = from.node().paths()?;
    let sent = traffic::tcp_bytes(from, to.address()?.into(), 50_000_000)?;
    ensure!(sent.intact, "{sent:?}");
    let added = from.node().paths()?.since(&before);
    scenario.note(format!("to {}: {added:?}", to.label()));
    let fast = added.get(wanted);
    let others = ["pod-local-fast", "pod-remote-fast", "pod-to-stack"];
    let all: u64 = others.iter().map(|name| added.get(name)).sum();
    Ok(fast as f64 * 100.0 / all.max(1) as f64)
}
