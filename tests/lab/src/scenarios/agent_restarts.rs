//! Agents come and go; packets do not notice.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Member};
use crate::pod::Pod;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, ProbeReport, RrReport, Running};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("agent_restarts::killed_100_times_in_60_s", |s| killed(s, 100, 60)).within(180),
    Entry::new("agent_restarts::programs_replaced_100_times", |s| replaced(s, 100)).within(300),
    Entry::new("agent_restarts::sigterm_leaves_forwarding", sigterm_leaves_forwarding),
];

/// Traffic between all pods of different places: UDP at 1,000 packets per second and pair, and one
/// TCP connection per pair.
pub(super) struct Load {
    probes: Vec<Running<Vec<ProbeReport>>>,
    connections: Vec<Running<RrReport>>,
}

impl Load {
    pub(super) fn start(cluster: &Cluster, seconds: f64) -> Result<Self> {
        let pods: Vec<_> = cluster.pods().collect();
        let mut load = Self { probes: Vec::new(), connections: Vec::new() };
        for from in &pods {
            let others = pods.iter().filter(|to| to.label() != from.label());
            let to = others.map(|to| Ok(to.address()?.into())).collect::<Result<Vec<IpAddr>>>()?;
            load.probes.push(traffic::udp_probe(*from, &to, 1000, seconds)?);
        }
        for (from, to) in cluster.pairs().into_iter().filter(|(from, to)| from.label() < to.label())
        {
            load.connections.push(steady_tcp(from, to, seconds)?);
        }
        Ok(load)
    }

    pub(super) fn finish(self, scenario: &Scenario) -> Result<()> {
        let (sent, lost) = self.losses()?;
        ensure!(lost == 0, "{lost} of {sent} packets were lost");
        scenario.note(format!("{sent} packets, none lost"));
        ensure!(sent > 0, "nothing was sent");
        Ok(())
    }

    /// How many packets were sent, and how many of them lost; every connection lives.
    pub(super) fn losses(self) -> Result<(u64, u64)> {
        let (mut sent, mut lost) = (0, 0);
        for probe in self.probes {
            for report in probe.finish()? {
                sent += report.sent;
                lost += report.lost + report.refused;
            }
        }
        for connection in self.connections {
            let report = connection.finish()?;
            ensure!(report.p99_us < 500_000.0, "a connection stood still: {report:?}");
        }
        Ok((sent, lost))
    }
}

/// Round trips over one connection, 200 a second: a reset or a stall ends them with an error.
fn steady_tcp(from: &Pod, to: &Pod, seconds: f64) -> Result<Running<RrReport>> {
    let line = format!(
        "rr --to {}:{} --over tcp --seconds {seconds} --pause-us 5000",
        to.address()?,
        traffic::ECHO_PORT
    );
    Running::start(from, &line, "")
}

fn killed(scenario: &mut Scenario, times: u32, seconds: u32) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = Cluster::new(&lab, 3, 1)?;
    let servers = cluster.servers()?;
    let load = Load::start(&cluster, f64::from(seconds) + 1.0)?;
    let start = Instant::now();
    for round in 1..=times {
        for member in &mut cluster.members {
            member.stop_agent(Signal::SIGKILL)?;
            member.restart_agent(&[])?;
        }
        let due = Duration::from_secs(seconds.into()) * round / times;
        thread::sleep(due.saturating_sub(start.elapsed()));
    }
    scenario.note(format!("{times} kills of each agent in {:?}", start.elapsed()));
    load.finish(scenario)?;
    drop(servers);
    one_program_per_hook(&cluster)
}

fn replaced(scenario: &mut Scenario, times: u32) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = Cluster::new(&lab, 2, 1)?;
    let servers = cluster.servers()?;
    let load = Load::start(&cluster, f64::from(times) * 0.4 + 2.0)?;
    let start = Instant::now();
    for _ in 0..times {
        for member in &mut cluster.members {
            replace(member)?;
        }
    }
    scenario.note(format!("{times} replacements on each node in {:?}", start.elapsed()));
    load.finish(scenario)?;
    drop(servers);
    one_program_per_hook(&cluster)
}

fn replace(member: &mut Member) -> Result<()> {
    let before = traffic::hooks(&member.node, "eth0")?;
    member.stop_agent(Signal::SIGTERM)?;
    member.restart_agent(&["--replace-programs"])?;
    let after = traffic::hooks(&member.node, "eth0")?;
    ensure!(before != after, "the programs were not replaced: {before:?}");
    Ok(())
}

fn sigterm_leaves_forwarding(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = Cluster::new(&lab, 2, 1)?;
    let _servers = cluster.servers()?;
    for member in &mut cluster.members {
        member.stop_agent(Signal::SIGTERM)?;
    }
    Load::start(&cluster, 2.0)?.finish(scenario)
}

/// Exactly one program of ours per hook, and nothing else.
pub(super) fn one_program_per_hook(cluster: &Cluster) -> Result<()> {
    for member in &cluster.members {
        let on = |link: &str| -> Result<Vec<(String, String)>> {
            let programs = traffic::hooks(&member.node, link)?;
            Ok(programs.into_iter().map(|program| (program.hook, program.name)).collect())
        };
        let owned = |hook: &str, name: &str| (hook.to_owned(), name.to_owned());
        let uplink = on("eth0")?;
        ensure!(uplink == [owned("ingress", "uplink_ingress")], "eth0: {uplink:?}");
        let overlay = on("flannel.1")?;
        let wanted = [owned("ingress", "overlay_ingress"), owned("egress", "overlay_egress")];
        ensure!(overlay == wanted, "flannel.1: {overlay:?}");
        for pod in &member.pods {
            let link = pod.host_link()?;
            let pod = on(&link)?;
            let wanted = [owned("ingress", "pod_egress"), owned("egress", "pod_ingress")];
            ensure!(pod == wanted, "{link}: {pod:?}");
        }
    }
    Ok(())
}
