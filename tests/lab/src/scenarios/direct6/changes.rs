//! What changes while packets flow: routes, nodes, the underlay, the configuration.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::ground::{Families, Ground, SEEN, peers6, pod6, subnet6, wire6};
use super::{DIRECT_ROUTING, HOST_GW, VXLAN, serve};
use crate::cluster::{pairs, reach};
use crate::kube_cluster::KubeMember;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Wire;

pub(super) fn repairs(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let families = Families::Both;
    let mut ground = Ground::new(&lab, families, &families.net_conf("off", HOST_GW), (2, 1))?;
    let _servers = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let (other, via) = (subnet6(&ground.ours[1])?, wire6(&ground.ours[1].node));
    let node = ground.ours[0].node.clone();
    let shows = format!("ip -6 route show {other} | grep -q 'via {via} dev eth0 proto 84'");
    for deletion in [
        format!("ip -6 route del {other}"),
        format!("ip -6 route replace {other} via fd30::99 dev eth0 proto 84"),
        "rm /sys/fs/bpf/tartan/links/uplink_egress".to_owned(),
    ] {
        node.shell(&shows)?;
        node.shell(&deletion)?;
        eventually(&format!("the route is there after {deletion}"), SEEN, || {
            Ok(node.shell(&shows).is_ok())
        })?;
        reach(&ground.pods[0], pod6(&ground.pods[1])?, 10_000)?;
        scenario.note(deletion);
    }
    eventually("the program is back", SEEN, || {
        node.succeeds("test -e /sys/fs/bpf/tartan/links/uplink_egress")
    })?;
    // A node that goes takes its route along; what is not ours stays.
    node.run("ip -6 route add fd00:10:244:99::/64 via fd30::1")?;
    ground.ours[1].stop_agent(Signal::SIGTERM)?;
    ground.plane.admin().delete_node(ground.ours[1].node.name())?;
    eventually("the route to a node that is gone goes", SEEN, || {
        Ok(!node.run("ip -6 route show")?.contains(&other))
    })?;
    let left = node.run("ip -6 route show")?;
    ensure!(left.contains("fd00:10:244:99::/64"), "a stranger's route went: {left}");
    Ok(())
}

/// The first and the third node see each other by way of the second, then directly, then again by
/// way of the second, over IPv6 alone: the way between their IPv6 pods changes with it, the way to
/// the second does not, nor does IPv4's.
pub(super) fn underlay(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let families = Families::Both;
    let plane = families.plane(&lab)?;
    let net_conf = families.net_conf("on", DIRECT_ROUTING);
    let nodes: Vec<Node> =
        (0..3).map(|_| families.node(&lab, &plane, &net_conf)).collect::<Result<_>>()?;
    let [one, two, three] = &nodes[..] else { anyhow::bail!("not three nodes") };
    let detour = [(one, three), (three, one)];
    let via = wire6(two);
    let by_detour = |verb: &str| -> Result<()> {
        detour.iter().try_for_each(|(node, other)| {
            node.run(&format!("ip -6 route {verb} {}/128 via {via}", wire6(other))).map(drop)
        })
    };
    by_detour("add")?;
    let ground = Ground::on(families, plane, nodes.clone(), 1)?;
    let _servers = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    ways(&ground.ours, ["tunnel", "direct"])?;
    for (from, to) in pairs(&pods) {
        reach(from, pod6(to)?, 200_000)?;
    }
    for (verb, wanted) in [("del", "direct"), ("add", "tunnel"), ("del", "direct")] {
        let before = ground.sum(Node::paths)?;
        by_detour(verb)?;
        ways(&ground.ours, [wanted, "direct"])?;
        reach(pods[0], pod6(pods[2])?, 200_000)?;
        reach(pods[2], pod6(pods[0])?, 200_000)?;
        let added = ground.sum(Node::paths)?.since(&before);
        scenario.note(format!("{wanted}: {added:?}"));
        let path = if wanted == "direct" { "pod-direct-fast" } else { "pod-remote-fast" };
        ensure!(added.get(path) > 50, "{wanted}: {added:?}");
    }
    ground.nothing_is_wrong(scenario)
}

/// How the first node's agent sends to the third and to the second, and which routes follow.
fn ways(members: &[KubeMember], wanted: [&str; 2]) -> Result<()> {
    let [one, two, three] = members else { anyhow::bail!("not three nodes") };
    let mode = |state: &serde_json::Value, node: &KubeMember| {
        let peers = peers6(state);
        let peer = peers.iter().find(|peer| peer["node_name"] == node.node.name());
        peer.map(|peer| peer["mode"].clone())
    };
    for (member, other) in [(one, three), (three, one)] {
        eventually("the ways to the other nodes", SEEN, || {
            let state = member.state()?;
            let found = [mode(&state, other), mode(&state, two)];
            Ok(found == wanted.map(|way| Some(way.into())))
        })
        .with_context(|| format!("{wanted:?}: {:?}", member.state().map(|state| peers6(&state))))?;
    }
    let route = one.node.run(&format!("ip -6 route show {}", subnet6(three)?))?;
    ensure!(route.contains("via") == (wanted[0] == "direct"), "{wanted:?}: {route}");
    Ok(())
}

fn restart(member: &mut KubeMember, net_conf: &str) -> Result<()> {
    member.node.write(NET_CONF, net_conf)?;
    member.stop_agent(Signal::SIGTERM)?;
    member.start_agent(&["--ip-masq"])
}

/// vxlan, then with `DirectRouting`, then back: one node after the other, beside traffic.
pub(super) fn backends(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let families = Families::Both;
    let mut ground = Ground::new(&lab, families, &families.net_conf("on", VXLAN), (3, 1))?;
    let _servers = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let to: Vec<IpAddr> = ground.pods.iter().skip(1).map(pod6).collect::<Result<_>>()?;
    let probe = traffic::udp_probe(&ground.pods[0], &to, 200, 160.0)?;
    for backend in [DIRECT_ROUTING, VXLAN] {
        for member in &mut ground.ours {
            restart(member, &families.net_conf("on", backend))?;
        }
        ground.await_peers(2)?;
        let before = ground.sum(Node::paths)?;
        let pods: Vec<&Pod> = ground.pods.iter().collect();
        for (from, to) in pairs(&pods) {
            reach(from, pod6(to)?, 100_000)?;
        }
        let added = ground.sum(Node::paths)?.since(&before);
        scenario.note(format!("{backend}: {added:?}"));
        let (direct, tunnel) = (added.get("pod-direct-fast"), added.get("pod-remote-fast"));
        ensure!((direct > tunnel) == (backend == DIRECT_ROUTING), "{backend}: {added:?}");
    }
    for report in probe.stop()? {
        scenario.note(format!("{report:?}"));
        ensure!(report.lost == 0 && report.refused == 0, "packets were lost: {report:?}");
    }
    ground.nothing_is_wrong(scenario)
}

/// vxlan, then host-gw, then back on one node: its pods, whose packets go through the host stack,
/// lose nothing when the overlay device goes and comes.
pub(super) fn neighbours(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let families = Families::Both;
    let mut ground = Ground::new(&lab, families, &families.net_conf("off", VXLAN), (1, 2))?;
    let _servers = serve(&ground.pods[1])?;
    let probe = traffic::udp_probe(&ground.pods[0], &[pod6(&ground.pods[1])?], 1000, 120.0)?;
    for (backend, has_device) in [(HOST_GW, false), (VXLAN, true)] {
        let member = &mut ground.ours[0];
        restart(member, &families.net_conf("off", backend))?;
        let there = member.node.succeeds("ip link show flannel.1")?;
        ensure!(there == has_device, "{backend}: an overlay device: {there}");
    }
    let report = probe.stop()?;
    scenario.note(format!("{report:?}"));
    let is_whole = report.iter().all(|one| one.lost + one.refused == 0 && one.received > 100);
    ensure!(is_whole, "{report:?}");
    Ok(())
}
