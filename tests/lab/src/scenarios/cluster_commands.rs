//! `tartan-lab cluster` as its user sees it: in a lab inside the lab, so that nothing else comes
//! and goes meanwhile.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::leftovers::Inventory;
use crate::process::{captured, eventually, shown};
use crate::sandbox::{myself, reap_all};
use crate::scenario::{Entry, Scenario};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("cluster_commands::a_cluster_lives_by_its_commands", by_commands)
        .within(90)
        .with_tools(),
    Entry::new("cluster_commands::a_killed_supervisor_leaves_nothing", killed_supervisor)
        .within(90)
        .with_tools(),
    Entry::new("cluster_commands::an_interrupted_start_leaves_nothing", interrupted_start)
        .within(60)
        .with_tools(),
    Entry::new("cluster_commands::a_whole_cluster_lives_by_its_commands", whole_cluster)
        .within(400)
        .with_tools()
        .with_kubelets()
        .long(),
];

/// Where a cluster writes outside of its lab.
const DIRECTORY: &str = "/run/tartan-cluster";
/// How long a program may take until it is there again.
const BACK: Duration = Duration::from_secs(20);

fn cluster(words: &[&str]) -> Command {
    let mut command = myself();
    command.arg("cluster").args(words);
    command
}

/// Runs an action: everything that it printed. It must end with this code.
fn ends_with(code: i32, words: &[&str]) -> Result<String> {
    let mut command = cluster(words);
    let Output { status, stdout, stderr } = captured(&mut command)?;
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    ensure!(status.code() == Some(code), "{}: {status}, not {code}: {said}", shown(&command));
    Ok(said)
}

fn succeeds(words: &[&str]) -> Result<String> {
    ends_with(0, words)
}

fn report() -> Result<Value> {
    let output = captured(&mut cluster(&["status", "-o", "json"]))?;
    serde_json::from_slice(&output.stdout).context("status gives no JSON")
}

/// What `down` must have left: nothing.
fn nothing_left(before: &Inventory) -> Result<()> {
    ensure!(!Path::new(DIRECTORY).exists(), "{DIRECTORY} is still there");
    // What outlived its parents is ours.
    reap_all()?;
    let left = before.left_since()?;
    ensure!(left.is_empty(), "left: {left:#?}");
    Ok(())
}

fn by_commands(scenario: &mut Scenario) -> Result<()> {
    let before = Inventory::take()?;
    ensure!(ends_with(3, &["status"])?.contains("No cluster is up"));
    let up = succeeds(&["up", "--tier", "l1", "--nodes", "2"])?;
    scenario.note(&up);
    ensure!(up.contains("PASS") && up.contains("cluster down"), "up said: {up}");
    ensure!(Inventory::take()? != before, "the inventory does not see a cluster");
    let second = ends_with(1, &["up", "--tier", "l1"])?;
    ensure!(second.contains("a cluster is up already (2 nodes"), "a second up said: {second}");
    healthy(2)?;
    node_commands()?;
    faults(scenario)?;
    succeeds(&["down"])?;
    nothing_left(&before)?;
    ensure!(succeeds(&["down"])?.contains("nothing of one is left"));
    Ok(())
}

fn healthy(nodes: usize) -> Result<()> {
    let report = report()?;
    let all = report["nodes"].as_array().context("no nodes")?;
    ensure!(all.len() == nodes, "{report}");
    ensure!(all.iter().all(|node| node["ready"]["status"] == "True"), "{report}");
    ensure!(report["problems"] == Value::Array(Vec::new()), "{report}");
    Ok(())
}

fn node_commands() -> Result<()> {
    ensure!(succeeds(&["exec", "node2", "--", "hostname"])?.trim() == "node2");
    ends_with(7, &["exec", "node1", "sh", "-c", "exit 7"])?;
    ensure!(ends_with(127, &["exec", "node1", "nonsense"])?.contains("no program nonsense"));
    let wrong = ends_with(1, &["exec", "node9", "true"])?;
    ensure!(wrong.contains("the nodes are node1 and node2"), "a wrong node: {wrong}");
    let peers = succeeds(&["exec", "node1", "tartanctl", "peers"])?;
    ensure!(peers.contains("node2"), "peers of node1: {peers}");
    ensure!(!succeeds(&["logs", "node1", "agent", "--tail", "5"])?.trim().is_empty());
    let wrong = ends_with(1, &["logs", "node9"])?;
    ensure!(wrong.contains("neither a node nor a program"), "a wrong log: {wrong}");
    ensure!(succeeds(&["kubeconfig"])?.contains("certificate-authority-data"));
    Ok(())
}

fn faults(scenario: &mut Scenario) -> Result<()> {
    succeeds(&["fault", "kill", "node1", "agent"])?;
    eventually("tartand of node1 came back", BACK, || {
        let agent = &report()?["nodes"][0]["programs"][0];
        Ok(agent["restarts"] == 1 && agent["state"] == "running")
    })?;
    for (break_it, end_it) in [
        (vec!["api", "stop"], vec!["api", "cont"]),
        (vec!["api", "kill"], vec!["api", "restart"]),
        (vec!["api", "blackhole", "node2", "600"], vec!["api", "blackhole", "node2", "0"]),
        (vec!["kill", "node2", "agent", "--keep-down"], vec!["start", "node2", "agent"]),
        (vec!["node", "node2", "stop"], vec!["node", "node2", "start"]),
    ] {
        let said = succeeds(&[&["fault"], &break_it[..]].concat())?;
        let end = format!("fault {}", end_it.join(" "));
        ensure!(said.trim_end().ends_with(&end), "{break_it:?} said: {said}");
        let faults = report()?["faults"].to_string();
        ensure!(faults.contains(&end_it.join(" ")), "{break_it:?} is not reported: {faults}");
        scenario.note(succeeds(&[&["fault"], &end_it[..]].concat())?.trim());
        eventually("nothing is wrong again", BACK, || healthy(2).map(|()| true))?;
    }
    scenario.note(succeeds(&["fault", "node", "node1", "reboot"])?.trim());
    healthy(2)
}

fn supervisor() -> Result<Pid> {
    let text = fs::read_to_string(format!("{DIRECTORY}/supervisor"))?;
    Ok(Pid::from_raw(text.parse()?))
}

fn killed_supervisor(_: &mut Scenario) -> Result<()> {
    let before = Inventory::take()?;
    succeeds(&["up", "--tier", "l1", "--nodes", "1"])?;
    kill(supervisor()?, Signal::SIGKILL)?;
    eventually("status knows", BACK, || Ok(ends_with(3, &["status"]).is_ok()))?;
    let said = ends_with(3, &["status"])?;
    ensure!(said.contains("was killed"), "status said: {said}");
    succeeds(&["down"])?;
    nothing_left(&before)?;
    // What is stale is no hindrance either.
    succeeds(&["up", "--tier", "l1", "--nodes", "1"])?;
    kill(supervisor()?, Signal::SIGKILL)?;
    eventually("the lock is free", BACK, || Ok(ends_with(3, &["status"]).is_ok()))?;
    let said = succeeds(&["up", "--tier", "l1", "--nodes", "1", "--exit"])?;
    ensure!(said.contains("PASS") && said.contains("nothing of it is left"), "up said: {said}");
    nothing_left(&before)
}

fn interrupted_start(scenario: &mut Scenario) -> Result<()> {
    let before = Inventory::take()?;
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut up = cluster(&["up", "--tier", "l1"]);
        let mut up = up.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let waited = eventually("the start is under way", BACK, || {
            Ok(fs::read_to_string(format!("{DIRECTORY}/up.log"))?.contains("kube-apiserver"))
        });
        scenario.note(format!("{signal} while the first node comes up"));
        kill(Pid::from_raw(i32::try_from(up.id())?), signal)?;
        ended(&mut up, signal)?;
        waited?;
        eventually("the supervisor has seen it", BACK, || Ok(!Path::new(DIRECTORY).exists()))?;
        nothing_left(&before)?;
    }
    Ok(())
}

fn ended(up: &mut Child, signal: Signal) -> Result<()> {
    let status = up.wait()?;
    let expected = (signal == Signal::SIGINT).then_some(128 + Signal::SIGINT as i32);
    ensure!(status.code() == expected, "after {signal}: {status}");
    Ok(())
}

fn whole_cluster(scenario: &mut Scenario) -> Result<()> {
    let before = Inventory::take()?;
    let up = succeeds(&["up", "--nodes", "2"])?;
    scenario.note(&up);
    healthy(2)?;
    let nodes = succeeds(&["kubectl", "get", "nodes", "-o", "name"])?;
    ensure!(nodes.split_whitespace().eq(["node/node1", "node/node2"]), "kubectl said: {nodes}");
    applied_from_here()?;
    let said = succeeds(&["kubectl", "exec", "toolbox-node1", "--", "hostname"])?;
    ensure!(said.trim() == "toolbox-node1", "kubectl exec said: {said}");
    for program in ["kubelet", "containerd", "kube-proxy", "agent"] {
        succeeds(&["fault", "kill", "node1", program])?;
        eventually(&format!("{program} came back"), BACK, || {
            let programs = report()?["nodes"][0]["programs"].take();
            let programs = programs.as_array().context("no programs")?;
            let mut same = programs.iter().filter(|one| one["name"] == program);
            Ok(same.any(|one| one["restarts"] == 1 && one["state"] == "running"))
        })?;
    }
    scenario.note(succeeds(&["fault", "node", "node2", "reboot"])?.trim());
    eventually("nothing is wrong again", BACK * 3, || healthy(2).map(|()| true))?;
    kill(supervisor()?, Signal::SIGKILL)?;
    eventually("status knows", BACK, || Ok(ends_with(3, &["status"]).is_ok()))?;
    succeeds(&["down"])?;
    nothing_left(&before)
}

/// By standard input, and by a file that only this side sees.
fn applied_from_here() -> Result<()> {
    let object = |name: &str| {
        format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}}}}"#)
    };
    let mut apply = cluster(&["kubectl", "apply", "-f", "-"]);
    let mut apply = apply.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    apply.stdin.take().context("no input")?.write_all(object("by-input").as_bytes())?;
    ensure!(apply.wait()?.success(), "kubectl apply -f - failed");
    fs::write("/tmp/by-file.json", object("by-file"))?;
    let mut apply = cluster(&["kubectl", "apply", "-f", "./by-file.json"]);
    ensure!(captured(apply.current_dir("/tmp"))?.status.success(), "kubectl apply -f FILE failed");
    let all = succeeds(&["kubectl", "get", "configmaps", "-o", "name"])?;
    ensure!(all.contains("by-input") && all.contains("by-file"), "there is: {all}");
    Ok(())
}
