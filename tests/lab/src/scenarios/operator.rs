//! What an operator does by hand: look at packets, take a node down again.

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Member};
use crate::node::Node;
use crate::process::{Place as _, captured, checked};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("operator::cleanup_removes_what_is_ours_and_nothing_else", cleanup),
    Entry::new("operator::log_shows_packets_and_loses_none", log),
];

/// Everything of the node that cleanup could touch.
fn inventory(node: &Node) -> Result<String> {
    node.shell(
        "ip -o link | sed 's/@.*//' | cut -d' ' -f2; ip -4 route; ip -o -4 addr | cut -d' ' -f2-7; \
         find /sys/fs/bpf /run/flannel | sort",
    )
}

fn cleanup(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    node.shell("mkdir -p /run/flannel /sys/fs/bpf/strangers; ip link add stranger type bridge")?;
    let before = inventory(&node)?;
    let mut member = Member::new(node, 1)?;

    let refused = captured(member.node.product("tartanctl")?.arg("cleanup"))?;
    ensure!(!refused.status.success(), "cleanup went on under a running agent");
    member.stop_agent(Signal::SIGTERM)?;
    member.pods[0].cni_del()?;

    let set_up = inventory(&member.node)?;
    let listed = checked(member.node.product("tartanctl")?.args(["cleanup", "--dry-run"]))?;
    for named in ["flannel.1", "links/uplink_ingress", "maps/FLOWS", "subnet.env"] {
        ensure!(listed.contains(named), "--dry-run does not list {named}:\n{listed}");
    }
    ensure!(inventory(&member.node)? == set_up, "--dry-run changed something");

    checked(member.node.product("tartanctl")?.arg("cleanup"))?;
    let after = inventory(&member.node)?;
    ensure!(after == before, "before:\n{before}\nafter:\n{after}");
    let again = checked(member.node.product("tartanctl")?.arg("cleanup"))?;
    ensure!(again.contains("Nothing"), "a second cleanup found something: {again}");
    Ok(())
}

fn log(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 1)?;
    let _servers = cluster.servers()?;
    let (here, there) = (&cluster.members[0], &cluster.members[1]);
    let (from, to) = (&here.pods[0], there.pods[0].address()?);
    let before = traffic::hooks(&here.node, "eth0")?;
    let probe = traffic::udp_probe(from, &[to.into()], 1000, 4.0)?;
    let arguments = ["log", "--path", "pod-remote-fast", "--seconds", "2"];
    let lines = checked(here.node.product("tartanctl")?.args(arguments))?;
    let expected = format!("{} -> {to} UDP", from.address()?);
    let matching = lines.lines().filter(|line| line.contains(&expected)).count();
    scenario.note(format!("{matching} lines like {:?}", lines.lines().next()));
    ensure!(matching > 500, "hardly a packet was logged:\n{}", crate::scenario::tail(&lines, 5));
    for report in probe.finish()? {
        ensure!(report.lost == 0, "packets were lost while programs were swapped: {report:?}");
    }
    let after = traffic::hooks(&here.node, "eth0")?;
    ensure!(before == after, "other programs than before: {before:?}, {after:?}");
    let wrong = captured(here.node.product("tartanctl")?.args(["log", "--reason", "bogus"]))?;
    ensure!(!wrong.status.success(), "an unknown reason was taken");
    Ok(())
}
