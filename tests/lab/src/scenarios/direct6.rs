//! Nodes that reach each other's IPv6 pods without a tunnel: host-gw and `DirectRouting`, beside
//! IPv4 and without it.

mod beside_flannel;
mod changes;
mod ground;
mod refusals;

use anyhow::{Context as _, Result, ensure};

use self::ground::{Families, Ground, pod6, subnet6, wire6};
use super::ipv6::serve;
use crate::cluster::{Servers, pairs, reach, talk};
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, checked};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("direct6::host_gw_on_an_offloaded_wire", |s| {
        host_gw(s, Families::Both, Wire::Offloaded)
    })
    .within(180)
    .with_tools(),
    Entry::new("direct6::host_gw_on_a_framed_wire", |s| host_gw(s, Families::Both, Wire::Framed))
        .within(180)
        .with_tools(),
    Entry::new("direct6::host_gw_without_checksum_offload", |s| {
        host_gw(s, Families::Both, Wire::FramedNoChecksums)
    })
    .within(180)
    .with_tools(),
    Entry::new("direct6::host_gw_without_ipv4", |s| host_gw(s, Families::Ipv6, Wire::Framed))
        .within(180)
        .with_tools(),
    Entry::new("direct6::a_bulk_flow_is_fast_without_a_tunnel", |s| bulk_is_fast(s, "on", HOST_GW))
        .within(120)
        .with_tools(),
    Entry::new("direct6::so_it_is_with_direct_routing", |s| bulk_is_fast(s, "on", DIRECT_ROUTING))
        .within(120)
        .with_tools(),
    Entry::new("direct6::so_it_is_once_the_stack_accepted_it", |s| {
        bulk_is_fast(s, "after-accept", HOST_GW)
    })
    .within(120)
    .with_tools(),
    Entry::new("direct6::through_the_stack_alone", through_the_stack).within(120).with_tools(),
    Entry::new("direct6::what_is_deleted_comes_back", changes::repairs).within(120).with_tools(),
    Entry::new("direct6::direct_routing_follows_the_underlay", changes::underlay)
        .within(180)
        .with_tools(),
    Entry::new("direct6::backends_change_in_a_live_cluster", changes::backends)
        .within(180)
        .with_tools(),
    Entry::new("direct6::neighbours_do_not_notice_a_change_of_backend", changes::neighbours)
        .within(120)
        .with_tools(),
    Entry::new("direct6::strangers_are_refused", |s| refusals::strangers(s, HOST_GW))
        .within(120)
        .with_tools(),
    Entry::new("direct6::strangers_are_refused_beside_a_tunnel", |s| refusals::strangers(s, VXLAN))
        .within(120)
        .with_tools(),
    Entry::new("direct6::beside_flannels_host_gw", |s| {
        beside_flannel::run(s, Families::Both, HOST_GW)
    })
    .within(180)
    .with_tools(),
    Entry::new("direct6::beside_flannels_host_gw_without_ipv4", |s| {
        beside_flannel::run(s, Families::Ipv6, HOST_GW)
    })
    .within(180)
    .with_tools(),
    Entry::new("direct6::beside_flannels_direct_routing", |s| {
        beside_flannel::run(s, Families::Both, DIRECT_ROUTING)
    })
    .within(180)
    .with_tools(),
    Entry::new("direct6::flannels_host_gw_is_taken_over", beside_flannel::taken_over)
        .within(180)
        .with_tools(),
];

const HOST_GW: &str = r#"{"Type":"host-gw"}"#;
const VXLAN: &str = r#"{"Type":"vxlan"}"#;
const DIRECT_ROUTING: &str = r#"{"Type":"vxlan","DirectRouting":true}"#;

fn host_gw(scenario: &mut Scenario, families: Families, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let ground = Ground::new(&lab, families, &families.net_conf("on", HOST_GW), (3, 2))?;
    let servers6 = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    for (from, to) in pairs(&pods) {
        let ip = pod6(to)?;
        reach(from, ip, 300_000)
            .with_context(|| format!("from {} to {}", from.label(), to.label()))?;
        // Larger than any link: in fragments, through the stack.
        from.run(&format!("ping -n -c 1 -W 2 -s 9000 {ip}"))?;
        // What the link takes, to the last byte.
        from.run(&format!("ping -n -c 1 -W 2 -M do -s 1452 {ip}"))?;
    }
    for member in &ground.ours {
        for pod in &ground.pods {
            reach(&member.node, pod6(pod)?, 100_000)
                .with_context(|| format!("from {} to {}", member.node.label(), pod.label()))?;
            pod.run(&format!("ping -n -c 1 -W 2 {}", wire6(&member.node)))?;
        }
    }
    as_flannel_makes_it(scenario, &ground)?;
    ground.nothing_is_wrong(scenario)?;
    let paths = ground.sum(Node::paths)?;
    for path in ["pod-direct-fast", "link-pod-fast", "link-to-stack", "stack-to-link"] {
        ensure!(paths.get(path) > 0, "nothing went {path}: {paths:?}");
    }
    drop(servers6);
    both_families(&ground)
}

/// IPv4 has all that it has without IPv6.
fn both_families(ground: &Ground) -> Result<()> {
    if ground.families == Families::Ipv6 {
        return Ok(());
    }
    let _servers = ground.pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    pairs(&pods).into_iter().try_for_each(|(from, to)| talk(from, to, 50_000))
}

/// The link's MTU for both families, a route to each other node's pods, no overlay device; and
/// what an operator is told.
fn as_flannel_makes_it(scenario: &Scenario, ground: &Ground) -> Result<()> {
    for member in &ground.ours {
        let node = &member.node;
        let env = node.read("/run/flannel/subnet.env")?;
        ensure!(env.contains("FLANNEL_MTU=1500\n"), "{env}");
        ensure!(!node.succeeds("ip link show flannel.1")?, "there is an overlay device");
        let routes = node.run("ip -6 route show")?;
        for other in ground.ours.iter().filter(|other| other.node.name() != node.name()) {
            let wanted = format!("{} via {} dev eth0", subnet6(other)?, wire6(&other.node));
            ensure!(routes.contains(&wanted), "{}: no {wanted} in {routes}", node.name());
        }
    }
    let shown = ground.pods[0].shell("ip -6 route show; ip link show dev eth0")?;
    ensure!(shown.contains("mtu 1500") && !shown.contains("mtu 1430"), "{shown}");
    let node = &ground.ours[0].node;
    let status = checked(node.product("tartanctl")?.arg("status"))?;
    ensure!(status.contains("2 peers on the link"), "{status}");
    let listed = checked(node.product("tartanctl")?.arg("peers"))?;
    ensure!(listed.matches("direct").count() >= 2 && !listed.contains("tunnel"), "{listed}");
    let ends = [pod6(&ground.pods[0])?.to_string(), pod6(&ground.pods[2])?.to_string()];
    let explained = checked(node.product("tartanctl")?.arg("explain").args(&ends))?;
    ensure!(explained.contains("pod-direct-fast"), "{explained}");
    scenario.note(format!("{status}{listed}{explained}"));
    Ok(())
}

fn bulk_is_fast(scenario: &mut Scenario, mode: &str, backend: &str) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let families = Families::Both;
    let ground = Ground::new(&lab, families, &families.net_conf(mode, backend), (2, 1))?;
    let _servers = serve(&ground.pods[1])?;
    let before = ground.sum(Node::paths)?;
    let sent = traffic::tcp_bytes(&ground.pods[0], pod6(&ground.pods[1])?, 50_000_000)?;
    ensure!(sent.intact, "{sent:?}");
    let added = ground.sum(Node::paths)?.since(&before);
    scenario.note(format!("{mode}, {backend}: {added:?}"));
    let fast = added.get("pod-direct-fast") + added.get("link-pod-fast");
    let slow = added.get("pod-to-stack") + added.get("link-to-stack");
    ensure!(fast > 100 && fast >= 99 * slow, "{mode}, {backend}: {added:?}");
    let tunnelled = added.get("pod-remote-fast") + added.get("uplink-pod-fast");
    ensure!(tunnelled == 0, "{mode}, {backend}: {added:?}");
    Ok(())
}

fn through_the_stack(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let families = Families::Both;
    let ground = Ground::new(&lab, families, &families.net_conf("off", HOST_GW), (2, 2))?;
    let _servers = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    for (from, to) in pairs(&pods) {
        reach(from, pod6(to)?, 300_000)?;
    }
    let paths = ground.sum(Node::paths)?;
    let fast = paths.get("pod-direct-fast") + paths.get("link-pod-fast");
    ensure!(fast == 0 && paths.get("link-to-stack") > 100, "{paths:?}");
    ground.nothing_is_wrong(scenario)
}
