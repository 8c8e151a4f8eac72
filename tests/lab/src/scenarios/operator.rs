//! What an operator does by hand: look at packets, take a node down again.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::cluster::{Cluster, Member};
use crate::node::Node;
use crate::process::{Place, captured, checked};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("operator::cleanup_removes_what_is_ours_and_nothing_else", cleanup),
    Entry::new("operator::log_shows_packets_and_loses_none", log),
    Entry::new("operator::explain_tells_what_then_happens", explain),
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

/// What is asked about, and then sent.
struct Sent<'a> {
    from: &'a dyn Place,
    source: Ipv4Addr,
    to: Ipv4Addr,
    protocol: &'static str,
    port: u16,
}

impl Sent<'_> {
    /// Sends it. Nobody listens: only the way there counts.
    fn send(&self) -> Result<()> {
        let Self { to, protocol, port, .. } = self;
        let line = format!("timeout 1 bash -c 'echo > /dev/{protocol}/{to}/{port}' || true");
        self.from.shell(&line).map(|_| ())
    }
}

/// Every answer names a counter: it has to move on the node that was asked when such a packet
/// is sent.
fn explain(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 2)?;
    let (here, there) = (&cluster.members[0], &cluster.members[1]);
    let (node, pod) = (&here.node, &here.pods[0]);
    let (source, beside) = (pod.address()?, here.pods[1].address()?);
    let (remote, peer) = (there.pods[0].address()?, there.node.address());
    // Another subnet of the pod network, which no node of two leases.
    let nowhere = Ipv4Addr::from_bits(u32::from(source) ^ 0xf000);
    let packet = |to, protocol, port| Sent { from: pod, source, to, protocol, port };
    let host = Sent { from: node, source: node.address(), to: remote, protocol: "tcp", port: 9 };
    for (asked, sent, verdict, counter) in [
        (node, packet(remote, "tcp", 9), "fast", "pod-remote-fast"),
        (&there.node, packet(remote, "tcp", 9), "fast", "uplink-pod-fast"),
        (node, packet(beside, "tcp", 9), "fast", "pod-local-fast"),
        (node, packet(remote, "udp", 9), "stack", "pod-to-stack"),
        (node, packet(peer, "tcp", 9), "stack", "pod-elsewhere"),
        (node, host, "stack", "overlay-encap"),
        (node, packet(nowhere, "udp", 9), "dropped", "no-peer"),
        (node, packet(peer, "udp", 8472), "dropped", "pod-speaks-tunnel"),
    ] {
        let answer = asking(asked, &sent)?;
        scenario.note(format!("{} -> {} {}: {answer}", sent.source, sent.to, sent.protocol));
        ensure!(
            answer["verdict"] == verdict && answer["counter"] == counter,
            "{counter}: {answer}"
        );
        let before = asked.paths()?.plus(&asked.drops()?);
        sent.send()?;
        let after = asked.paths()?.plus(&asked.drops()?).since(&before);
        ensure!(after.get(counter) > 0, "{counter} was foretold, and happened: {after:?}");
    }
    let stranger =
        captured(node.product("tartanctl")?.args(["explain", "192.0.2.1", "192.0.2.2"]))?;
    let said = String::from_utf8_lossy(&stranger.stderr).into_owned();
    ensure!(said.contains("run this on the node that sends"), "{said}");
    Ok(())
}

/// What `tartanctl explain` says; its exit code tells whether the packet would be dropped.
fn asking(node: &Node, sent: &Sent<'_>) -> Result<Value> {
    let Sent { source, to, protocol, port, .. } = sent;
    let line = format!("explain {source} {to} --protocol {protocol} --port {port} -o json");
    let output = captured(node.product("tartanctl")?.args(line.split(' ')))?;
    let answer: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("{line}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let is_dropped = answer["verdict"] == "dropped";
    ensure!(output.status.success() != is_dropped, "{line} ended with {}", output.status);
    Ok(answer)
}
