//! What the node knew last: missing, of somebody else, broken, or impossible to write.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::starts::{MEMORY, remembers};
use super::{HEALTH_PORT, IN_STEP, readyz};
use crate::agent::Agent;
use crate::control_plane::Options;
use crate::kube_cluster::KubeCluster;
use crate::node::Node;
use crate::paths::LOGS;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

/// Long enough for several tries.
const WHILE: Duration = Duration::from_millis(1500);
/// The agent tries again to write its memory within this.
const WRITTEN: Duration = Duration::from_secs(20);
const DIRECTORY: &str = "/var/lib/tartan";
const FLAGS: [&str; 2] = ["--healthz-port", HEALTH_PORT];

pub(super) fn waits(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = KubeCluster::new(&lab, &Options::default(), 1, 0)?;
    let member = &mut cluster.members[0];
    remembers(member, &["node1"])?;
    member.stop_agent(Signal::SIGTERM)?;
    let good = member.node.read(MEMORY)?;

    for (what, mount) in [
        ("a read-only disk", format!("mount -t tmpfs -o ro none {DIRECTORY}")),
        (
            "a full disk",
            format!("mount -t tmpfs -o size=4k none {DIRECTORY}; echo 1 > {DIRECTORY}/full"),
        ),
    ] {
        member.node.shell(&mount)?;
        member.start_agent(&FLAGS)?;
        complains(&member.node, what)?;
        member.node.run(&format!("umount {DIRECTORY}"))?;
        eventually("the complaint ends with its reason", WRITTEN, || {
            Ok(complaint(&member.node)?.is_none())
        })?;
        member.stop_agent(Signal::SIGTERM)?;
        scenario.note(format!("{what} is told and hurts nobody"));
    }

    cluster.plane.kill(0)?;
    let member = &cluster.members[0];
    let node = &member.node;
    let mut other_network: Value = serde_json::from_str(&good)?;
    other_network["own"]["subnet"] = "10.9.1.0/24".into();
    for (what, text, line) in [
        ("another node's", good.replace("node1", "node7"), "is of another node or network"),
        ("another network's", other_network.to_string(), "is of another node or network"),
        ("half", good[..good.len() / 2].to_owned(), "cannot read what was known last"),
        ("empty", String::new(), "cannot read what was known last"),
        ("no", "[1,2".repeat(40_000), "cannot read what was known last"),
    ] {
        node.write(MEMORY, &text)?;
        let before = lines(node, line)?;
        let agent = node.start_kube_agent_with(&member.kubeconfig, &FLAGS)?;
        waiting(node, &agent).with_context(|| format!("with {what} memory"))?;
        let told = lines(node, line)? - before;
        ensure!(told == 1, "{what} memory is told {told} times");
        agent.stop(Signal::SIGTERM)?;
        scenario.note(format!("with {what} memory the agent waits"));
    }

    fs::remove_file(node.path(MEMORY))?;
    let mut agent = node.start_kube_agent_with(&member.kubeconfig, &FLAGS)?;
    waiting(node, &agent)?;
    cluster.plane.restart(0)?;
    eventually(
        "the agent is ready once the API server is there",
        IN_STEP,
        || Ok(agent.is_ready()),
    )?;
    agent.wait_ready()
}

/// Alive, not ready, and says why.
fn waiting(node: &Node, agent: &Agent) -> Result<()> {
    thread::sleep(WHILE);
    let alive = fs::read_to_string(format!("/proc/{}/stat", agent.pid()))?;
    ensure!(!alive.contains(") Z "), "the agent has ended:\n{}", agent.log_tail());
    ensure!(!agent.is_ready(), "the agent is ready without knowing anything");
    let (code, text) = readyz(node)?;
    ensure!(code == "503", "/readyz says {code}: {text}");
    ensure!(text.contains("[-]lease failed: ") && text.contains("refused"), "no reason: {text}");
    Ok(())
}

fn lines(node: &Node, text: &str) -> Result<usize> {
    let log = fs::read_to_string(format!("{LOGS}/tartand-{}.log", node.name()))?;
    Ok(log.lines().filter(|line| line.contains(text)).count())
}

fn complaint(node: &Node) -> Result<Option<String>> {
    let state: Value = serde_json::from_str(&node.read("/run/flannel/tartan.json")?)?;
    let problems = state["problems"].as_array().cloned().unwrap_or_default();
    let texts = problems.iter().filter_map(Value::as_str);
    Ok(texts.map(str::to_owned).find(|text| text.contains(MEMORY)))
}

/// The state names the file; the node is ready all the same.
fn complains(node: &Node, what: &str) -> Result<()> {
    eventually(
        &format!("{what} is told in the state"),
        WRITTEN,
        || Ok(complaint(node)?.is_some()),
    )?;
    let (code, text) = readyz(node)?;
    ensure!(code == "200", "with {what} /readyz says {code}: {text}");
    Ok(())
}
