//! What keeps the agent from starting.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{tells, things, unchanged};
use crate::cluster::{Cluster, Member};
use crate::lease::Lease;
use crate::node::{NET_CONF, Node};
use crate::process::{Place as _, checked, eventually};
use crate::scenario::Scenario;
use crate::traffic::{EchoReport, Running};
use crate::wire::Wire;

/// Starts the agent, which must end by itself with a failure and one line of error with all these
/// words, and leave the node as it was.
pub(super) fn refuses(node: &Node, launcher: &[&str], words: &[&str]) -> Result<()> {
    let before = things(node)?;
    let (code, log) = node.start_agent_under(launcher, &[])?.wait_end()?;
    ensure!(code.is_some_and(|code| code != 0), "exit code {code:?}: {log}");
    // The agent of an earlier attempt wrote into the same log.
    let last = log.lines().last().unwrap_or_default();
    ensure!(last.contains("ERROR"), "the last line is no error: {log}");
    tells(last, words, "the error")?;
    let this_run = log.rsplit("INFO tartand ").next().unwrap_or_default();
    let errors = this_run.lines().filter(|line| line.contains("ERROR")).count();
    ensure!(errors == 1, "{errors} errors: {this_run}");
    unchanged(node, &before, last)
}

fn lease(name: &str, subnet: &str, node: &str) -> Result<Lease> {
    let vtep = "06:00:00:00:00:77".to_owned();
    Ok(Lease { name: name.to_owned(), subnet: subnet.parse()?, node: node.parse()?, vtep })
}

/// A lease that overlaps a running node's own: one warning, no peer, and the others go on.
pub(super) fn overlapping_leases(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 1)?;
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let (a, b) = (&one.pods[0], &two.pods[0]);
    let ping = format!("ping -n -c 1 -W 1 {}", b.address()?);
    eventually("they know each other", Duration::from_secs(5), || a.succeeds(&ping))?;
    let network_before = things(&one.node)?;
    let intruder = lease("intruder", "10.244.0.0/22", "172.30.0.99")?;
    intruder.publish()?;
    eventually("the warning", Duration::from_secs(5), || {
        Ok(one.agent()?.log_tail().contains("10.244.0.0/22"))
    })?;
    let log = one.agent()?.log_tail();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("10.244.0.0/22")).collect();
    ensure!(lines.len() == 1, "not one line: {lines:#?}");
    tells(lines[0], &["WARN", "intruder", "overlap"], "the warning")?;
    let peers = checked(one.node.product("tartanctl")?.args(["peers", "-o", "json"]))?;
    scenario.note(&peers);
    ensure!(peers.contains("intruder"), "tartanctl peers does not tell of it: {peers}");
    a.run(&ping)?;
    let state = "/run/flannel/tartan.json";
    let differs = |line: &&String| !line.contains(state) && !line.contains("10.244.0.0-22");
    let after = things(&one.node)?;
    let changes: Vec<_> = after.symmetric_difference(&network_before).filter(differs).collect();
    ensure!(changes.is_empty(), "changed: {changes:#?}");
    intruder.withdraw()
}

pub(super) fn address_of_another_node(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    lease("twin", "10.244.9.0/24", &node.address().to_string())?.publish()?;
    refuses(&node, &[], &["twin", &node.address().to_string(), "--public-ip"])
}

pub(super) fn full_pool(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    let bounds = r#""SubnetMin":"10.244.1.0","SubnetMax":"10.244.2.0""#;
    node.write(NET_CONF, &format!(r#"{{"Network":"10.244.0.0/16",{bounds}}}"#))?;
    lease("one", "10.244.1.0/24", "172.30.0.91")?.publish()?;
    lease("two", "10.244.2.0/24", "172.30.0.92")?.publish()?;
    refuses(&node, &[], &["out of subnets", "all 2 subnets", "SubnetMax"])
}

pub(super) fn missing_interface(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    node.run("ip address flush dev eth0")?;
    refuses(&node, &[], &["IPv4 address", "eth0", "--iface"])?;
    node.run("ip link set eth0 down")?;
    node.run("ip link set eth0 name wan0")?;
    refuses(&node, &[], &["eth0", "wan0", "--iface"])
}

pub(super) fn bpffs_not_mounted(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    node.run("umount /sys/fs/bpf")?;
    refuses(&node, &[], &["/sys/fs/bpf", "mount -t bpf"])
}

pub(super) fn port_taken(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    let _owner: Running<EchoReport> = Running::start(&node, "echo --port 8472", "")?;
    refuses(&node, &[], &["UDP port 8472", "in use", "Backend.Port"])
}

pub(super) fn without_cap_bpf(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let setpriv = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+net_admin"];
    refuses(&lab.node()?, &setpriv, &["permission denied", "CAP_BPF"])
}

pub(super) fn without_cap_net_admin(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let setpriv = ["setpriv", "--inh-caps=-all", "--bounding-set=-all,+bpf"];
    refuses(&lab.node()?, &setpriv, &["permission denied", "CAP_NET_ADMIN"])
}

pub(super) fn second_agent(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 1)?;
    let first = format!("process {}", member.agent()?.pid());
    refuses(&member.node, &[], &["another tartand", &first, "stop it first"])?;
    ensure!(member.agent()?.is_ready(), "the first agent is not ready any more");
    Ok(())
}

/// A device of another network is not taken over, nor touched.
pub(super) fn foreign_overlay(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    node.run("ip link add flannel.1 type vxlan id 7 dstport 8472 dev eth0 nolearning")?;
    refuses(&node, &[], &["flannel.1", "VNI 7 instead of 1", "ip link del flannel.1"])
}
