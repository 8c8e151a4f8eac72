//! How much of a bulk flow goes fast: nearly all of it, or nothing where the fast path is off.

use anyhow::{Result, ensure};

use crate::cluster::{Cluster, Member, Servers};
use crate::counters::Counts;
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::Place as _;
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("fast_share::on_sends_a_bulk_flow_fast", |s| share(s, "on", Wire::Framed)),
    Entry::new("fast_share::on_sends_a_bulk_flow_fast_on_an_offloaded_wire", |s| {
        share(s, "on", Wire::Offloaded)
    }),
    Entry::new("fast_share::after_accept_sends_a_long_flow_fast", |s| {
        share(s, "after-accept", Wire::Framed)
    }),
    Entry::new("fast_share::off_sends_nothing_fast", |s| share(s, "off", Wire::Framed)),
];

const FAST: [&str; 3] = ["pod-local-fast", "pod-remote-fast", "uplink-pod-fast"];
/// Through the host stack, counted where they enter it.
const SLOW: [&str; 3] = ["pod-to-stack", "uplink-to-stack", "uplink-to-device"];

/// Nodes whose agents read this net-conf.
pub(super) fn cluster(lab: &Lab, nodes: usize, pods: usize, net_conf: &str) -> Result<Cluster> {
    let nodes = (0..nodes).map(|_| lab.node()).collect::<Result<Vec<_>>>()?;
    members(&nodes, pods, net_conf)
}

/// The same on nodes that are there already.
pub(super) fn members(nodes: &[Node], pods: usize, net_conf: &str) -> Result<Cluster> {
    let member = |node: &Node| {
        node.write(NET_CONF, net_conf)?;
        Member::new(node.clone(), pods)
    };
    Ok(Cluster { members: nodes.iter().map(member).collect::<Result<_>>()? })
}

fn share(scenario: &mut Scenario, mode: &str, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let net_conf = format!(
        r#"{{"Network":"10.244.0.0/16","FastPath":"{mode}","Backend":{{"Type":"vxlan"}}}}"#
    );
    let cluster = cluster(&lab, 2, 2, &net_conf)?;
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let _servers = [Servers::start(&one.pods[1])?, Servers::start(&two.pods[0])?];
    for to in [&two.pods[0], &one.pods[1]] {
        let added = bulk(&cluster, &one.pods[0], to)?;
        let sum = |names: [&str; 3]| names.iter().map(|name| added.get(name)).sum::<u64>();
        let (fast, slow) = (sum(FAST), sum(SLOW));
        scenario.note(format!("{mode}, to {}: {fast} fast, {slow} slow: {added:?}", to.label()));
        if mode == "off" {
            ensure!(fast == 0 && slow > 100, "off, but {fast} fast and {slow} slow");
        } else {
            ensure!(fast > 100 && fast >= 99 * slow, "{mode}: {fast} fast, {slow} slow");
        }
    }
    Ok(())
}

/// Packets on all paths of all nodes during one bulk transfer.
fn bulk(cluster: &Cluster, from: &Pod, to: &Pod) -> Result<Counts> {
    let all = || {
        let each = cluster.members.iter().map(|member| member.node.paths());
        each.collect::<Result<Vec<_>>>()
    };
    let before = all()?;
    let sent = traffic::tcp_bytes(from, to.address()?.into(), 200_000_000)?;
    ensure!(sent.intact, "{sent:?}");
    let added = all()?.into_iter().zip(&before).map(|(now, before)| now.since(before));
    Ok(added.fold(Counts::default(), |sum, counts| sum.plus(&counts)))
}
