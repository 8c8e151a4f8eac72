//! A node of flannel's taken over with its IPv6 pods: flannel's second device serves them until
//! our device is made, which takes its place.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use super::alone::SOON;
use super::{DUAL, FLANNELS, address6, dual_node, pod6, serve};
use crate::control_plane::{ControlPlane, Options, User};
use crate::flannel::{FlannelNode, prepare};
use crate::kube_cluster::{KubeMember, register};
use crate::lab::Lab;
use crate::node::{CONFLIST, NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Wire;

const OURS: &str = r#"{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"tartan-cni"}]}"#;
const TWIN: &str = "ip -o link show dev flannel-v6.1";

/// A node of both families that the real flannel runs, and its pod.
fn flannels(lab: &Lab, plane: &ControlPlane) -> Result<(FlannelNode, Pod)> {
    let node = dual_node(lab, FLANNELS)?;
    node.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    prepare(&node)?;
    node.write(NET_CONF, FLANNELS)?;
    register(plane, &node)?;
    let agent = FlannelNode::start_prepared(&node, &plane.kubeconfig(&User::agent(node.name()))?)?;
    let pod = agent.add_pod("a")?;
    pod.run("ip link set eth0 mtu 1430")?;
    let own = address6(&node);
    eventually("flannel's pod reaches its node", SOON, || {
        pod.succeeds(&format!("ping -n -c 1 -W 1 {own}"))
    })?;
    Ok((agent, pod))
}

fn answers(from: &Pod, to: IpAddr) -> Result<()> {
    eventually(&format!("{to} answers"), SOON, || from.succeeds(&format!("ping -n -c 1 -W 1 {to}")))
}

pub(super) fn both_families(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::dual_stack())?;
    let (mut theirs, old) = flannels(&lab, &plane)?;
    let (_far, other) = flannels(&lab, &plane)?;
    let node = theirs.node().clone();
    let _servers = serve(&other)?;
    answers(&old, pod6(&other)?)?;
    let probe = traffic::udp_probe(&old, &[pod6(&other)?], 500, 6.0)?;
    theirs.stop(Signal::SIGTERM)?;
    node.write(NET_CONF, DUAL)?;
    node.write(CONFLIST, OURS)?;
    let mut member = KubeMember::registered(&plane, node.clone())?;
    member.start_agent(&["--ip-masq"])?;
    let reports = probe.finish()?;
    scenario.note(format!("while the agents change: {reports:?}"));
    ensure!(reports.iter().all(|report| report.lost == 0 && report.refused == 0), "{reports:?}");
    let state = member.state()?;
    let says = |word: &str| state["problems"].to_string().contains(word);
    ensure!(says("made by flannel") && says("learns of no new node"), "{}", state["problems"]);
    ensure!(node.succeeds(TWIN)?, "flannel's second device is gone");
    let new = member.add_pod("b")?;
    answers(&new, pod6(&other)?)?;
    made_anew(scenario, &node, &[&old, &new], &other)?;
    eventually("nothing is wrong any more", SOON, || {
        Ok(member.state()?["problems"].as_array().is_some_and(Vec::is_empty))
    })
}

/// What an operator is told to do.
fn made_anew(scenario: &Scenario, node: &Node, pods: &[&Pod], other: &Pod) -> Result<()> {
    node.run("ip link del flannel.1")?;
    for pod in pods {
        answers(pod, pod6(other)?)?;
        answers(pod, other.address()?.into())?;
        answers(other, pod6(pod)?)?;
    }
    scenario.note(node.run("ip -d -o link show dev flannel.1")?);
    ensure!(!node.succeeds(TWIN)?, "flannel's second device is still there");
    Ok(())
}
