//! The agent needs CAP_BPF and CAP_NET_ADMIN, and nothing else.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::agent::Agent;
use crate::cluster::{Servers, pairs, talk};
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("least_privilege::bpf_and_net_admin_are_enough", two_capabilities).within(400)];

/// Runs what follows with these two capabilities and no way to get more.
const SETPRIV: [&str; 4] =
    ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf,+net_admin", "--no-new-privs"];
/// Bits 12 and 39 (`linux/capability.h`).
const BPF_AND_NET_ADMIN: &str = "0000008000001000";

fn two_capabilities(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let (mut nodes, mut agents, mut pods) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (node, agent, two) = member(&lab)?;
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

fn member(lab: &Lab) -> Result<(Node, Agent, [Pod; 2])> {
    let node = lab.node()?;
    let mut agent = node.start_agent_under(&SETPRIV, &[])?;
    agent.wait_ready()?;
    let status = node.run(&format!("cat /proc/{}/status", agent.pid()))?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.context("no CapEff")?.trim();
    ensure!(effective == BPF_AND_NET_ADMIN, "the agent runs with capabilities {effective}");
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
