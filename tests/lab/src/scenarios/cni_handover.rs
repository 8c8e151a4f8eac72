//! flannel's chain of CNI plugins and ours on one node, in turn: whoever is asked releases the
//! pods that the other wired, and the pods of both talk.
//!
//! The chain is the real one: flannel's plugin, bridge, host-local and portmap, with flannel's own
//! conflist, driven by cnitool. Only the file at `/opt/cni/bin/flannel` changes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::agent::Agent;
use crate::cluster::{Servers, pairs, talk};
use crate::flannel::{chain, chain_add, install, prepare};
use crate::go_tools;
use crate::lab::Lab;
use crate::node::Node;
use crate::paths;
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("cni_handover::pods_of_both_plugins_talk", pods_of_both_talk).with_tools(),
    Entry::new("cni_handover::our_del_releases_a_pod_of_flannel", our_del_of_theirs).with_tools(),
    Entry::new("cni_handover::flannels_del_releases_a_pod_of_ours", their_del_of_ours).with_tools(),
    Entry::new("cni_handover::what_flannels_masquerade_leaves_is_said", masquerade_is_left)
        .with_tools(),
];

const RESERVATIONS: &str = "/var/lib/cni/networks/cbr0";
const KEPT: &str = "/var/lib/cni/flannel";
const PINS: &str = "/sys/fs/bpf/tartan/links/pods";

/// A node as flannel's users have it, with our agent in flanneld's place.
fn node_of_flannel(lab: &Lab, flags: &[&str]) -> Result<(Node, Agent)> {
    let node = lab.node()?;
    let mut agent = node.start_agent_with(flags)?;
    agent.wait_ready()?;
    prepare(&node)?;
    Ok((node, agent))
}

fn swap_in_ours(node: &Node) -> Result<()> {
    install(node, "flannel", &paths::binary("tartan-cni")?)
}

fn swap_in_flannels(node: &Node) -> Result<()> {
    install(node, "flannel", &go_tools::path("flannel")?)
}

fn add(node: &Node, name: &str) -> Result<Pod> {
    let pod = node.pod(name)?;
    chain_add(&pod)?;
    Ok(pod)
}

fn is_on_bridge(pod: &Pod) -> Result<bool> {
    let link = pod.host_link()?;
    Ok(pod.node().run(&format!("ip -o link show dev {link}"))?.contains("master cni0"))
}

fn list(node: &Node, directory: &str) -> Result<Vec<String>> {
    let listed = node.shell(&format!("ls -A {directory} 2>/dev/null || true"))?;
    Ok(listed.lines().map(str::to_owned).collect())
}

fn is_reserved(pod: &Pod) -> Result<bool> {
    let path = format!("{RESERVATIONS}/{}", pod.address()?);
    Ok(pod.node().path(Path::new(&path)).exists())
}

fn pods_of_both_talk(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let (node, _agent) = node_of_flannel(&lab, &["--ip-masq"])?;
    let (far, _far_agent) = node_of_flannel(&lab, &["--ip-masq"])?;
    let mut pods = vec![add(&node, "theirs1")?, add(&far, "theirs2")?];
    let _servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    all_talk(&pods)?;
    scenario.note("pods on flannel's bridge talk");
    for (name, node) in [("ours1", &node), ("ours2", &node), ("ours3", &far)] {
        swap_in_ours(node)?;
        pods.push(add(node, name)?);
    }
    let kinds = pods.iter().map(is_on_bridge).collect::<Result<Vec<_>>>()?;
    ensure!(kinds == [true, true, false, false, false], "on the bridge: {kinds:?}");
    ensure!(list(&node, PINS)?.len() == 2, "pins: {:?}", list(&node, PINS)?);
    let _more = pods[2..].iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    all_talk(&pods)?;
    scenario.note("and with pods of ours, in both directions");
    // The way back: ours stay while the bridge gets new ones.
    swap_in_flannels(&node)?;
    let back = add(&node, "theirs3")?;
    ensure!(is_on_bridge(&back)?, "flannel's plugin put a pod somewhere else");
    let _back = Servers::start(&back)?;
    pods.push(back);
    all_talk(&pods)?;
    scenario.note("and with a new pod on the bridge after the return");
    Ok(())
}

fn all_talk(pods: &[Pod]) -> Result<()> {
    let pods: Vec<_> = pods.iter().collect();
    for (from, to) in pairs(&pods) {
        let ping = format!("ping -n -c 1 -W 1 {}", to.address()?);
        eventually("the first packet", Duration::from_secs(5), || from.succeeds(&ping))
            .with_context(|| format!("{} to {}", from.label(), to.label()))?;
        talk(from, to, 100_000)?;
    }
    Ok(())
}

fn our_del_of_theirs(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let (node, _agent) = node_of_flannel(&lab, &["--ip-masq"])?;
    let pod = add(&node, "theirs")?;
    let link = pod.host_link()?;
    ensure!(is_on_bridge(&pod)? && is_reserved(&pod)?, "not as flannel's chain does it");
    let kept = list(&node, KEPT)?;
    scenario.note(format!("flannel's plugin keeps {}", node.read(&format!("{KEPT}/{}", kept[0]))?));
    swap_in_ours(&node)?;
    chain(&pod, "del")?;
    released(&pod, &link)?;
    // Once more, and for a pod whose namespace went first.
    chain(&pod, "del")?;
    swap_in_flannels(&node)?;
    let gone = add(&node, "gone")?;
    let (link, netns) = (gone.host_link()?, gone.netns());
    node.run(&format!("ip netns del {}", gone.name()))?;
    swap_in_ours(&node)?;
    // A plain file: the runtime's path is there, the namespace is not.
    node.shell(&format!("touch {netns}"))?;
    delete_by_plugin(&gone, &kept_for_one(&node)?)?;
    ensure!(!is_reserved(&gone)?, "the address of {} is kept", gone.label());
    ensure!(list(&node, KEPT)?.is_empty(), "kept: {:?}", list(&node, KEPT)?);
    // The test itself holds the namespace open, so the kernel still has the link.
    scenario.note(format!("{link} goes with its namespace"));
    Ok(())
}

fn released(pod: &Pod, link: &str) -> Result<()> {
    let node = pod.node();
    ensure!(!is_reserved(pod)?, "the address of {} is kept", pod.label());
    ensure!(!pod.succeeds("ip link show dev eth0")?, "{} has eth0 still", pod.label());
    ensure!(!node.succeeds(&format!("ip link show dev {link}"))?, "{link} is still there");
    let kept = list(node, KEPT)?;
    ensure!(kept.is_empty(), "kept for {}: {kept:?}", pod.label());
    Ok(())
}

/// The id of the one container for which flannel's plugin keeps a file.
fn kept_for_one(node: &Node) -> Result<String> {
    let mut kept = list(node, KEPT)?;
    ensure!(kept.len() == 1, "kept: {kept:?}");
    kept.pop().context("nothing is kept")
}

/// DEL by our plugin alone; what it said on stderr.
fn delete_by_plugin(pod: &Pod, container: &str) -> Result<String> {
    let runtime = pod.runtime();
    let config = runtime.config()?.to_string();
    let output = runtime.raw("DEL", &config, &[("CNI_CONTAINERID", container)])?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "DEL: {}: {stderr}", output.status);
    Ok(stderr)
}

fn their_del_of_ours(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let (node, _agent) = node_of_flannel(&lab, &["--ip-masq"])?;
    swap_in_ours(&node)?;
    let pod = add(&node, "ours")?;
    let link = pod.host_link()?;
    ensure!(!is_on_bridge(&pod)? && is_reserved(&pod)?, "not as our plugin does it");
    let kept = format!("{KEPT}/{}", kept_for_one(&node)?);
    let content = node.read(&kept)?;
    scenario.note(format!("kept for flannel's plugin: {content}"));
    let content: Value = serde_json::from_str(&content)?;
    ensure!(content["type"] == "bridge" && content["ipMasq"] == false, "{content}");
    let mode = node.run(&format!("stat -c %a {kept}"))?;
    ensure!(mode.trim() == "600", "{kept} has mode {mode}");
    swap_in_flannels(&node)?;
    chain(&pod, "del")?;
    released(&pod, &link)?;
    // Without the file, flannel's plugin has nothing to go by: that is what the file is for.
    swap_in_ours(&node)?;
    let lost = add(&node, "lost")?;
    node.run(&format!("rm {KEPT}/{}", kept_for_one(&node)?))?;
    swap_in_flannels(&node)?;
    chain(&lost, "del")?;
    ensure!(is_reserved(&lost)?, "flannel's plugin released a pod without its file");
    Ok(())
}

fn masquerade_is_left(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let (node, _agent) = node_of_flannel(&lab, &[])?;
    let pod = add(&node, "theirs")?;
    let container = kept_for_one(&node)?;
    let rules = || -> Result<usize> {
        let saved = node.run("iptables-save -t nat")?;
        Ok(saved.lines().filter(|line| line.contains(&container)).count())
    };
    ensure!(rules()? > 0, "the bridge plugin made no rules for {container}");
    swap_in_ours(&node)?;
    let said = delete_by_plugin(&pod, &container)?;
    scenario.note(said.trim());
    ensure!(said.contains(&container) && said.contains("masquerade"), "not said: {said}");
    ensure!(rules()? > 0, "somebody took the rules away: say so no more");
    ensure!(!is_reserved(&pod)?, "the address of {} is kept", pod.label());
    Ok(())
}
