//! IPv6 pods whose nodes have no IPv6 address: their packets go in the tunnel over IPv4.

mod forged;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::ipv6::{DUAL, Ground, dual_node, pod6, serve};
use crate::cluster::{Servers, pairs, reach, talk};
use crate::ipv6;
use crate::kube_cluster::published;
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("cross::ipv6_pods_of_nodes_without_ipv6_on_a_framed_wire", |s| {
        all(s, Wire::Framed, "on")
    })
    .within(120)
    .with_tools(),
    Entry::new("cross::each_pair_of_a_mixed_cluster_uses_the_right_tunnel", mixed)
        .within(120)
        .with_tools(),
    Entry::new("cross::forged_ipv6_in_the_tunnel_over_ipv4_is_refused", forged::refusals)
        .within(90)
        .with_tools(),
    Entry::new("cross::ipv6_pods_of_nodes_without_ipv6_on_an_offloaded_wire", |s| {
        all(s, Wire::Offloaded, "on")
    })
    .within(120)
    .with_tools()
    .long(),
    Entry::new("cross::ipv6_pods_of_nodes_without_ipv6_without_checksum_offload", |s| {
        all(s, Wire::FramedNoChecksums, "on")
    })
    .within(120)
    .with_tools()
    .long(),
    Entry::new("cross::through_the_host_stack_alone", |s| all(s, Wire::Framed, "off"))
        .within(120)
        .with_tools()
        .long(),
    Entry::new("cross::after_the_host_stack_accepted", |s| all(s, Wire::Framed, "after-accept"))
        .within(120)
        .with_tools()
        .long(),
    Entry::new("cross::bulk_flows_are_fast", bulk_is_fast).within(90).with_tools().long(),
    Entry::new("cross::what_is_too_big_is_told", too_big).within(90).with_tools().long(),
    Entry::new("cross::what_is_deleted_comes_back", repairs).within(90).with_tools().long(),
    Entry::new("cross::a_node_that_gains_an_ipv6_address_leaves_ipv4", gains)
        .within(120)
        .with_tools()
        .long(),
];

const LIMIT: Duration = Duration::from_secs(20);

/// A node with IPv6 pods and no IPv6 address.
fn bare_node(lab: &Lab, fast_path: &str) -> Result<Node> {
    let node = lab.node()?;
    let conf = DUAL.replace(r#""FastPath":"on""#, &format!(r#""FastPath":"{fast_path}""#));
    node.write(NET_CONF, &conf)?;
    Ok(node)
}

fn bare(lab: &Lab, nodes: usize, pods: usize, fast_path: &str) -> Result<Ground> {
    let all = (0..nodes).map(|_| bare_node(lab, fast_path)).collect::<Result<Vec<_>>>()?;
    Ground::of(lab, all, pods, &[])
}

/// Both families between all pods, and between hosts and pods; nothing is dropped.
fn all(scenario: &mut Scenario, wire: Wire, fast_path: &str) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let ground = bare(&lab, 3, 2, fast_path)?;
    let servers6 = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    for (from, to) in pairs(&pods) {
        let ip = pod6(to)?;
        reach(from, ip, 300_000)
            .with_context(|| format!("from {} to {}", from.label(), to.label()))?;
        // Larger than any link: in fragments, through the stack.
        from.run(&format!("ping -n -c 1 -W 2 -s 9000 {ip}"))?;
    }
    for member in &ground.ours {
        for pod in &ground.pods {
            reach(&member.node, pod6(pod)?, 100_000)
                .with_context(|| format!("from {} to {}", member.node.label(), pod.label()))?;
        }
    }
    drop(servers6);
    let (first, last) = (&ground.pods[0], &ground.pods[5]);
    let _servers = Servers::start(last)?;
    talk(first, last, 300_000).context("over IPv4")?;
    said(scenario, &ground)?;
    ground.nothing_dropped(scenario)
}

/// The node says what it does and why, and publishes nothing of IPv6.
fn said(scenario: &Scenario, ground: &Ground) -> Result<()> {
    let member = &ground.ours[0];
    let state = member.state()?;
    ensure!(state["problems"].as_array().is_some_and(Vec::is_empty), "{}", state["problems"]);
    let status = member.node.product("tartanctl")?.arg("status").output()?.stdout;
    let status = String::from_utf8_lossy(&status).into_owned();
    scenario.note(&status);
    ensure!(
        status.contains("over IPv4, to all nodes: eth0 has no global IPv6 address"),
        "{status}"
    );
    let peers = member.node.product("tartanctl")?.arg("peers").output()?.stdout;
    let peers = String::from_utf8_lossy(&peers).into_owned();
    ensure!(peers.matches("tunnel over IPv4").count() == ground.ours.len() - 1, "{peers}");
    let published = published(ground.plane.admin(), member.node.name())?;
    ensure!(!published.keys().any(|key| key.contains("v6")), "{published:?}");
    let (from, to) = (pod6(&ground.pods[0])?, pod6(&ground.pods[2])?);
    let ends = ["explain".to_owned(), from.to_string(), to.to_string()];
    let answer = member.node.product("tartanctl")?.args(ends).output()?;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    ensure!(answer.contains("over IPv4 (this node has no IPv6 address)"), "{answer}");
    let route = ground.pods[0].run("ip -6 route show default")?;
    ensure!(route.contains("mtu 1450"), "{route}");
    Ok(())
}

/// Frames with a packet between two pods, by their outer family.
fn outer_families(from: &Pod, to: &Pod) -> Result<(usize, usize)> {
    let IpAddr::V6(address) = pod6(to)? else { anyhow::bail!("no IPv6") };
    let bytes = format!("{:032x}", address.to_bits());
    let sniffer = traffic::sniff(to.node(), "eth0", &format!("--contains {bytes}"))?;
    from.run(&format!("ping -n -c 3 -i 0.2 -W 2 {address}"))?;
    // What the sniffer has not looked at yet.
    std::thread::sleep(Duration::from_millis(100));
    let kind = |frame: &[u8]| frame.get(12..14).map(<[u8]>::to_vec);
    let frames = sniffer.stop()?.frames;
    let count = |wanted: [u8; 2]| {
        let is_it = |frame: &&traffic::CapturedFrame| kind(&frame.bytes) == Some(wanted.to_vec());
        frames.iter().filter(is_it).count()
    };
    Ok((count([8, 0]), count([0x86, 0xdd])))
}

fn goes_over(from: &Pod, to: &Pod, ipv4: bool) -> Result<()> {
    let (v4, v6) = outer_families(from, to)?;
    let (used, other) = if ipv4 { (v4, v6) } else { (v6, v4) };
    let labels = (from.label(), to.label());
    ensure!(used >= 4 && other == 0, "{labels:?}: {v4} frames over IPv4, {v6} over IPv6");
    Ok(())
}

/// Two nodes with an IPv6 address, one without.
fn mixed(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let nodes = vec![dual_node(&lab, DUAL)?, dual_node(&lab, DUAL)?, bare_node(&lab, "on")?];
    let ground = Ground::of(&lab, nodes, 1, &[])?;
    let [a, b, without] = &ground.pods[..] else { anyhow::bail!("not three pods") };
    let servers = [serve(a)?, serve(b)?, serve(without)?];
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    for (from, to) in pairs(&pods) {
        reached(from, to)?;
        reach(from, pod6(to)?, 1_000_000)
            .with_context(|| format!("from {} to {}", from.label(), to.label()))?;
        let crossing = [from, to].iter().any(|pod| on_one_node(pod, without));
        goes_over(from, to, crossing)?;
    }
    drop(servers);
    let status = ground.ours[0].node.product("tartanctl")?.arg("status").output()?.stdout;
    let status = String::from_utf8_lossy(&status).into_owned();
    let name = without.node().name();
    ensure!(status.contains(&format!("over IPv4 to {name}: they publish no")), "{status}");
    ground.nothing_dropped(scenario)
}

fn on_one_node(one: &Pod, other: &Pod) -> bool {
    one.node().name() == other.node().name()
}

/// The first packet of a fresh node may wait for a neighbour in vain.
fn reached(from: &Pod, to: &Pod) -> Result<()> {
    let ip = pod6(to)?;
    eventually("the pod answers", LIMIT, || from.succeeds(&format!("ping -n -c 1 -W 1 {ip}")))
}

fn bulk_is_fast(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let ground = bare(&lab, 2, 1, "on")?;
    let [a, far] = &ground.pods[..] else { anyhow::bail!("not two pods") };
    let _servers = serve(far)?;
    let before = ground.counts(Node::paths)?;
    let sent = traffic::tcp_bytes(a, pod6(far)?, 50_000_000)?;
    ensure!(sent.intact, "{sent:?}");
    let added = ground.counts(Node::paths)?.since(&before);
    scenario.note(format!("{added:?}"));
    let slow = ["pod-to-stack", "uplink-to-stack", "uplink-to-device"];
    let slow: u64 = slow.iter().map(|name| added.get(name)).sum();
    for fast in ["pod-remote-fast", "uplink-pod-fast"] {
        ensure!(added.get(fast) > 100 && added.get(fast) >= 99 * slow, "{fast}: {added:?}");
    }
    Ok(())
}

/// The room is that of a tunnel over IPv4, and a pod that believes its link's MTU is told.
fn too_big(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let ground = bare(&lab, 2, 1, "on")?;
    let [a, b] = &ground.pods[..] else { anyhow::bail!("not two pods") };
    let ip = pod6(b)?;
    a.run(&format!("ping -n -c 1 -W 2 -M do -s 1402 {ip}"))?;
    a.run("ip link set eth0 mtu 1500")?;
    let routes = a.run("ip -6 route show default")?;
    let gateway = routes.split_whitespace().skip_while(|word| *word != "via").nth(1);
    let gateway = gateway.with_context(|| format!("no gateway: {routes}"))?;
    a.run(&format!("ip -6 route add {ip}/128 via {gateway} dev eth0"))?;
    let refused = a.succeeds(&format!("ping -n -c 1 -W 2 -M do -s 1403 {ip}"))?;
    ensure!(!refused, "1451 bytes went through");
    let learned = a.run(&format!("ip -6 route get {ip}"))?;
    ensure!(learned.contains("mtu 1450"), "{learned}");
    let _servers = serve(b)?;
    reach(a, ip, 1_000_000)?;
    ground.nothing_dropped(scenario)
}

fn repairs(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let ground = bare(&lab, 2, 1, "off")?;
    let [a, b] = &ground.pods[..] else { anyhow::bail!("not two pods") };
    let node = &ground.ours[1].node;
    let address = node.run("ip -6 -o address show dev flannel.1 scope global")?;
    scenario.note(&address);
    for broken in [
        "ip -6 route del fd00:10:244::/56",
        "ip -6 address flush dev flannel.1 scope global",
        "ip link del flannel.1",
    ] {
        reached(a, b)?;
        node.run(broken)?;
        let ip = pod6(a)?;
        eventually(broken, LIMIT, || b.succeeds(&format!("ping -n -c 1 -W 1 {ip}")))?;
        eventually(broken, LIMIT, || {
            let now = node.run("ip -6 -o address show dev flannel.1 scope global")?;
            Ok(now.lines().count() == address.lines().count())
        })?;
        reached(a, b).context(broken)?;
    }
    Ok(())
}

/// An address that comes is published and used without a restart, and one that goes is taken back.
fn gains(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let nodes = vec![dual_node(&lab, DUAL)?, bare_node(&lab, "on")?];
    let mut ground = Ground::of(&lab, nodes, 1, &[])?;
    let [a, b] = &ground.pods[..] else { anyhow::bail!("not two pods") };
    let node = ground.ours[1].node.clone();
    reached(a, b)?;
    goes_over(a, b, true)?;
    ipv6::plug6(&node, node.address())?;
    settles(&ground, Some(ipv6::address6(node.address())))?;
    reached(a, b)?;
    goes_over(a, b, false)?;
    goes_over(b, a, false)?;
    node.run("ip -6 address flush dev eth0 scope global")?;
    settles(&ground, None)?;
    reached(a, b)?;
    goes_over(a, b, true)?;
    goes_over(b, a, true)?;
    ground.ours[1].stop_agent(Signal::SIGTERM)?;
    goes_over(&ground.pods[0], &ground.pods[1], true).context("without the agent")?;
    scenario.note("over IPv4, over IPv6, and back");
    Ok(())
}

/// Until node 2 publishes this IPv6 address, and node 1 sends to it.
fn settles(ground: &Ground, address: Option<Ipv6Addr>) -> Result<()> {
    let [one, two] = &ground.ours[..] else { anyhow::bail!("not two nodes") };
    let wanted = address.map(|address| address.to_string());
    let sent_to = wanted.clone().unwrap_or_else(|| two.node.address().to_string());
    eventually("the address is published and used", LIMIT, || {
        let all = published(ground.plane.admin(), two.node.name())?;
        let state = one.state()?;
        Ok(all.get("public-ipv6") == wanted.as_ref()
            && all.contains_key("backend-v6-data") == wanted.is_some()
            && state["peers6"][0]["public_ip"] == sent_to.as_str())
    })
}
