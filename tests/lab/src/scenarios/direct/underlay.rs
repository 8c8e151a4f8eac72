//! `DirectRouting` goes by what the underlay is like now.

use anyhow::{Result, ensure};

use super::{DIRECT_ROUTING, SEEN, net_conf};
use crate::cluster::{Member, talk};
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

/// The first and the third node see each other by way of the second, then directly, then again by
/// way of the second: the way between their pods changes with it, and the way to the second does
/// not.
pub(super) fn follows(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let nodes: [_; 3] = lab.nodes()?;
    let [one, two, three] = &nodes;
    for (node, other) in [(one, three), (three, one)] {
        node.run(&format!("ip route add {}/32 via {}", other.address(), two.address()))?;
    }
    two.sysctl("net.ipv4.conf.all.send_redirects", "0")?;
    two.sysctl("net.ipv4.conf.eth0.send_redirects", "0")?;
    two.sysctl("net.ipv4.ip_forward", "1")?;
    let cluster = super::super::fast_share::members(&nodes, 1, &net_conf("on", DIRECT_ROUTING))?;
    let _servers = cluster.servers()?;
    let [first, _, last] = &cluster.members[..] else { anyhow::bail!("not three nodes") };
    ways(&cluster.members, ["tunnel", "direct"])?;
    for (from, to) in cluster.pairs() {
        talk(from, to, 200_000)?;
    }
    for (node, other) in [(one, three), (three, one)] {
        node.run(&format!("ip route del {}/32", other.address()))?;
    }
    ways(&cluster.members, ["direct", "direct"])?;
    talk(&first.pods[0], &last.pods[0], 200_000)?;
    for (node, other) in [(one, three), (three, one)] {
        node.run(&format!("ip route add {}/32 via {}", other.address(), two.address()))?;
    }
    ways(&cluster.members, ["tunnel", "direct"])?;
    talk(&first.pods[0], &last.pods[0], 200_000)?;
    for member in &cluster.members {
        let drops = member.node.drops()?;
        scenario.note(format!("{}: {:?}, {drops:?}", member.node.name(), member.node.paths()?));
    }
    Ok(())
}

/// How the first node's agent sends to the third and to the second.
fn ways(members: &[Member], wanted: [&str; 2]) -> Result<()> {
    let [one, two, three] = members else { anyhow::bail!("not three nodes") };
    let mut found = String::new();
    let awaited = eventually("the ways to the other nodes", SEEN, || {
        let state: serde_json::Value =
            serde_json::from_str(&one.node.read("/run/flannel/tartan.json")?)?;
        found = state["peers"].to_string();
        let way = |node: &Member| {
            let peers = state["peers"].as_array().into_iter().flatten();
            let name = node.node.name();
            peers.clone().find(|peer| peer["node_name"] == name).map(|peer| peer["mode"].clone())
        };
        Ok(way(three) == Some(wanted[0].into()) && way(two) == Some(wanted[1].into()))
    });
    ensure!(awaited.is_ok(), "not {wanted:?}: {found}");
    let route = one.node.run(&format!("ip route show {}", three.subnet()?))?;
    ensure!(route.contains("via") == (wanted[0] == "direct"), "{wanted:?}: {route}");
    Ok(())
}
