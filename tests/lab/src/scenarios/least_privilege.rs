//! The agent needs the capabilities of its manifest and nothing else, and on a new kernel one less.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tartan_datapath::Release;

use crate::agent::Agent;
use crate::cluster::{Servers, pairs, talk};
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("least_privilege::the_manifests_capabilities_are_enough", the_manifests).within(400),
    Entry::new(
        "least_privilege::a_new_kernel_needs_no_perfmon_an_old_one_names_it",
        without_perfmon,
    )
    .within(400),
];

/// Some capabilities, and no way to get more.
struct Rights {
    /// Runs what follows with them.
    command: [&'static str; 4],
    /// As in `CapEff`: bits 12, 38 and 39 (`linux/capability.h`).
    effective: &'static str,
}

const MANIFESTS: Rights = Rights {
    command: [
        "setpriv",
        "--inh-caps=-all",
        "--bounding-set=-all,+bpf,+net_admin,+perfmon",
        "--no-new-privs",
    ],
    effective: "000000c000001000",
};
const WITHOUT_PERFMON: Rights = Rights {
    command: [
        "setpriv",
        "--inh-caps=-all",
        "--bounding-set=-all,+bpf,+net_admin",
        "--no-new-privs",
    ],
    effective: "0000008000001000",
};

/// The first kernel whose verifier puts barriers where it would refuse.
const BARRIERS: Release = Release(6, 17);

fn the_manifests(scenario: &mut Scenario) -> Result<()> {
    work_with(scenario, &MANIFESTS)
}

fn without_perfmon(scenario: &mut Scenario) -> Result<()> {
    let release: Release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().parse()?;
    if release >= BARRIERS {
        return work_with(scenario, &WITHOUT_PERFMON);
    }
    let lab = scenario.lab(Wire::Framed)?;
    let agent = lab.node()?.start_agent_under(&WITHOUT_PERFMON.command, &[])?;
    let (code, log) = agent.wait_end()?;
    ensure!(code.is_some_and(|code| code != 0), "exit code {code:?}: {log}");
    let last = log.lines().last().unwrap_or_default();
    ensure!(last.contains("add PERFMON to the capabilities"), "it says only: {last}");
    Ok(())
}

fn work_with(scenario: &mut Scenario, rights: &Rights) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let (mut nodes, mut agents, mut pods) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (node, agent, two) = member(&lab, rights)?;
        nodes.push(node);
        agents.push(agent);
        pods.extend(two);
    }
    let _servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let pods: Vec<_> = pods.iter().collect();
    for (from, to) in pairs(&pods) {
        let ping = format!("ping -n -c 1 -W 1 {}", to.address()?);
        eventually("they know each other", Duration::from_secs(5), || from.succeeds(&ping))?;
        talk(from, to, 100_000)?;
    }
    for node in &nodes {
        no_problems(scenario, node)?;
    }
    Ok(())
}

fn member(lab: &Lab, rights: &Rights) -> Result<(Node, Agent, [Pod; 2])> {
    let node = lab.node()?;
    let mut agent = node.start_agent_under(&rights.command, &[])?;
    agent.wait_ready()?;
    let status = node.run(&format!("cat /proc/{}/status", agent.pid()))?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.context("no CapEff")?.trim();
    ensure!(effective == rights.effective, "the agent runs with capabilities {effective}");
    let pods = [node.pod("a")?, node.pod("b")?];
    for pod in &pods {
        pod.cni_add()?;
    }
    Ok((node, agent, pods))
}

fn no_problems(scenario: &Scenario, node: &Node) -> Result<()> {
    let status = checked(node.product("tartanctl")?.args(["status", "-o", "json"]))?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    scenario.note(&status);
    let problems = status["problems"].as_array().context("the status tells of no problems")?;
    ensure!(problems.is_empty(), "{}: {problems:?}", node.name());
    Ok(())
}
