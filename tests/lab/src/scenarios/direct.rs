//! Nodes that reach each other without a tunnel: flannel's host-gw, and `DirectRouting` beside the
//! tunnel where a node is not on the link.

mod beside_flannel;
mod underlay;

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::cluster::{Cluster, Member, talk};
use crate::counters::Counts;
use crate::lease::Lease;
use crate::node::NET_CONF;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("direct::host_gw_on_an_offloaded_wire", |s| host_gw(s, Wire::Offloaded)),
    Entry::new("direct::host_gw_on_a_framed_wire", |s| host_gw(s, Wire::Framed)),
    Entry::new("direct::host_gw_without_checksum_offload", |s| host_gw(s, Wire::FramedNoChecksums)),
    Entry::new("direct::through_the_stack_alone", through_the_stack),
    Entry::new("direct::a_bulk_flow_is_fast_without_a_tunnel", bulk_is_fast),
    Entry::new("direct::what_is_deleted_comes_back", repairs).within(120),
    Entry::new("direct::strangers_are_refused", strangers),
    Entry::new("direct::backends_change_in_a_live_cluster", backends_change).within(120),
    Entry::new("direct::neighbours_do_not_notice_a_change_of_backend", neighbours),
    Entry::new("direct::direct_routing_follows_the_underlay", underlay::follows).within(120),
    Entry::new("direct::beside_flannels_host_gw", |s| beside_flannel::run(s, "host-gw", false))
        .within(120)
        .with_tools(),
    Entry::new("direct::beside_flannels_direct_routing", |s| beside_flannel::run(s, "vxlan", true))
        .within(120)
        .with_tools(),
];

/// How long a change may take to show.
const SEEN: Duration = Duration::from_secs(15);
const HOST_GW: &str = r#"{"Type":"host-gw"}"#;
const VXLAN: &str = r#"{"Type":"vxlan"}"#;
const DIRECT_ROUTING: &str = r#"{"Type":"vxlan","DirectRouting":true}"#;

fn net_conf(fast_path: &str, backend: &str) -> String {
    format!(r#"{{"Network":"10.244.0.0/16","FastPath":"{fast_path}","Backend":{backend}}}"#)
}

fn host_gw(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let cluster = super::fast_share::cluster(&lab, 3, 2, &net_conf("on", HOST_GW))?;
    let _servers = cluster.servers()?;
    for (from, to) in cluster.pairs() {
        talk(from, to, 300_000)?;
    }
    for member in &cluster.members {
        for pod in cluster.pods() {
            let ip = pod.address()?;
            let sent = traffic::tcp_bytes(&member.node, ip.into(), 300_000)?;
            ensure!(sent.intact, "{} to {}: {sent:?}", member.node.name(), pod.label());
            pod.run(&format!("ping -n -c 1 -W 2 {}", member.node.address()))?;
        }
        is_as_flannel_makes_it(&cluster, member)?;
        let drops = member.node.drops()?;
        ensure!(drops.total() == 0, "{}: {drops:?}", member.node.name());
    }
    let paths = sum(&cluster)?;
    scenario.note(format!("{paths:?}"));
    for path in ["pod-direct-fast", "link-pod-fast", "link-to-stack", "stack-to-link"] {
        ensure!(paths.get(path) > 0, "nothing went {path}: {paths:?}");
    }
    Ok(())
}

/// subnet.env with the link's MTU, a route to each other node's pods, no overlay device.
fn is_as_flannel_makes_it(cluster: &Cluster, member: &Member) -> Result<()> {
    let node = &member.node;
    let env = node.read("/run/flannel/subnet.env")?;
    ensure!(env.contains("FLANNEL_MTU=1500\n"), "{env}");
    ensure!(!node.succeeds("ip link show flannel.1")?, "there is an overlay device");
    let routes = node.run("ip route show")?;
    for other in cluster.members.iter().filter(|other| other.node.name() != node.name()) {
        let wanted = format!("{} via {} dev eth0", other.subnet()?, other.node.address());
        ensure!(routes.contains(&wanted), "{}: no {wanted} in {routes}", node.name());
    }
    checked(node.product("tartanctl")?.arg("status")).map(drop)
}

fn sum(cluster: &Cluster) -> Result<Counts> {
    let mut all = Counts::default();
    for member in &cluster.members {
        all = all.plus(&member.node.paths()?);
    }
    Ok(all)
}

fn through_the_stack(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let cluster = super::fast_share::cluster(&lab, 2, 2, &net_conf("off", HOST_GW))?;
    let _servers = cluster.servers()?;
    for (from, to) in cluster.pairs() {
        talk(from, to, 300_000)?;
    }
    let paths = sum(&cluster)?;
    let fast = paths.get("pod-direct-fast") + paths.get("link-pod-fast");
    ensure!(fast == 0 && paths.get("link-to-stack") > 100, "{paths:?}");
    Ok(())
}

fn bulk_is_fast(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    for (mode, backend) in [("on", HOST_GW), ("after-accept", HOST_GW), ("on", DIRECT_ROUTING)] {
        let cluster = super::fast_share::cluster(&lab, 2, 1, &net_conf(mode, backend))?;
        let _servers = cluster.servers()?;
        let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
        let before = sum(&cluster)?;
        let sent = traffic::tcp_bytes(&one.pods[0], two.pods[0].address()?.into(), 50_000_000)?;
        ensure!(sent.intact, "{sent:?}");
        let added = sum(&cluster)?.since(&before);
        scenario.note(format!("{mode}, {backend}: {added:?}"));
        let fast = added.get("pod-direct-fast") + added.get("link-pod-fast");
        let slow = added.get("pod-to-stack") + added.get("link-to-stack");
        ensure!(fast > 100 && fast >= 99 * slow, "{mode}, {backend}: {added:?}");
        let tunnelled = added.get("pod-remote-fast") + added.get("uplink-pod-fast");
        ensure!(tunnelled == 0, "{mode}, {backend}: {added:?}");
    }
    Ok(())
}

/// What is deleted, how it shows that it is there, and how to delete it. `OTHER` stands for the
/// other node's subnet, `GATEWAY` for this node's gateway.
const VICTIMS: &[(&str, &str, &str)] = &[
    ("the route to a peer", "ip route show OTHER | grep -q via", "ip route del OTHER"),
    (
        "the gateway's address",
        "ip addr show lo | grep -q GATEWAY/32",
        "ip addr del GATEWAY/32 dev lo",
    ),
    (
        "the program behind the stack",
        "test -e /sys/fs/bpf/tartan/links/uplink_egress",
        "rm /sys/fs/bpf/tartan/links/uplink_egress",
    ),
];

fn repairs(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = super::fast_share::cluster(&lab, 2, 1, &net_conf("off", HOST_GW))?;
    let _servers = cluster.servers()?;
    let [here, there] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let gateway = here.subnet()?.hosts().next().unwrap_or(Ipv4Addr::UNSPECIFIED).to_string();
    let other = there.subnet()?.to_string();
    for (what, shows, delete) in VICTIMS {
        let [shows, delete] =
            [shows, delete].map(|text| text.replace("OTHER", &other).replace("GATEWAY", &gateway));
        here.node.shell(&shows)?;
        here.node.shell(&delete)?;
        eventually(&format!("{what} is back"), SEEN, || Ok(here.node.shell(&shows).is_ok()))?;
        talk(&here.pods[0], &there.pods[0], 10_000)?;
    }
    // A node that goes takes its route along; what is not ours stays.
    here.node.run("ip route add 10.244.99.0/24 via 172.30.0.1")?;
    let gone = there.subnet()?;
    cluster.members[1].stop_agent(Signal::SIGTERM)?;
    Lease::remove(gone)?;
    let here = &cluster.members[0];
    eventually("the route to a node that is gone goes", SEEN, || {
        Ok(!here.node.run("ip route show")?.contains(&other))
    })?;
    ensure!(here.node.run("ip route show")?.contains("10.244.99.0/24"), "a stranger's route went");
    Ok(())
}

/// Pod addresses that nobody on the link has, sent by a host of the link.
fn strangers(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    for backend in [HOST_GW, VXLAN] {
        let cluster = super::fast_share::cluster(&lab, 1, 1, &net_conf("on", backend))?;
        let member = &cluster.members[0];
        let pod = member.pods[0].address()?;
        let stranger = lab.outsider(if backend == VXLAN { "other" } else { "stranger" })?;
        let own = member.subnet()?.broadcast();
        for source in [Ipv4Addr::new(10, 244, 77, 7), own] {
            stranger.run(&format!("ip address add {source}/32 dev lo"))?;
            stranger.run(&format!(
                "ip route replace {pod}/32 via {} src {source}",
                member.node.address()
            ))?;
            let before = member.node.drops()?;
            ensure!(!stranger.succeeds(&format!("ping -n -c 2 -i 0.2 -W 1 {pod}"))?, "an answer");
            let added = member.node.drops()?.since(&before);
            ensure!(added.get("off-link-source") == 2, "{backend}, {source}: {added:?}");
        }
        // By its own address it is a client like any other.
        stranger.run(&format!("ip route replace {pod}/32 via {}", member.node.address()))?;
        stranger.run(&format!("ping -n -c 1 -W 2 {pod}"))?;
    }
    Ok(())
}

/// vxlan, then with `DirectRouting`, then back: one node after the other, beside traffic.
fn backends_change(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let mut cluster = super::fast_share::cluster(&lab, 3, 1, &net_conf("on", VXLAN))?;
    let _servers = cluster.servers()?;
    let to: Vec<_> =
        cluster.pods().skip(1).map(|pod| Ok(pod.address()?.into())).collect::<Result<_>>()?;
    let probe = traffic::udp_probe(&cluster.members[0].pods[0], &to, 200, 120.0)?;
    for backend in [DIRECT_ROUTING, VXLAN] {
        for member in &mut cluster.members {
            member.node.write(NET_CONF, &net_conf("on", backend))?;
            member.stop_agent(Signal::SIGTERM)?;
            member.restart_agent(&[])?;
        }
        let before = sum(&cluster)?;
        for (from, to) in cluster.pairs() {
            talk(from, to, 100_000)?;
        }
        let added = sum(&cluster)?.since(&before);
        let (direct, tunnel) = (added.get("pod-direct-fast"), added.get("pod-remote-fast"));
        ensure!((direct > tunnel) == (backend == DIRECT_ROUTING), "{backend}: {added:?}");
    }
    for report in probe.stop()? {
        ensure!(report.lost == 0 && report.refused == 0, "packets were lost: {report:?}");
    }
    Ok(())
}

/// vxlan, then host-gw, then back on one node: its pods, whose packets go through the host stack,
/// lose nothing when the gateway's address moves and the overlay device goes and comes.
fn neighbours(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = super::fast_share::cluster(&lab, 1, 2, &net_conf("off", VXLAN))?;
    let _servers = cluster.servers()?;
    let member = &mut cluster.members[0];
    let to = member.pods[1].address()?.into();
    let probe = traffic::udp_probe(&member.pods[0], &[to], 1000, 120.0)?;
    for (backend, has_device) in [(HOST_GW, false), (VXLAN, true)] {
        member.node.write(NET_CONF, &net_conf("off", backend))?;
        member.stop_agent(Signal::SIGTERM)?;
        member.restart_agent(&[])?;
        let there = member.node.succeeds("ip link show flannel.1")?;
        ensure!(there == has_device, "{backend}: an overlay device: {there}");
        let on_lo = member.node.run("ip address show lo")?.contains("10.244.");
        ensure!(on_lo != has_device, "{backend}: the gateway on lo: {on_lo}");
    }
    let report = probe.stop()?;
    scenario.note(format!("{report:?}"));
    ensure!(
        report.iter().all(|one| one.lost + one.refused == 0 && one.received > 100),
        "{report:?}"
    );
    Ok(())
}
