//! Nodes that flannel's device and bridge serve are taken over one by one under traffic, and one
//! of them is given back: nobody loses a packet.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::agent::Agent;
use crate::cluster::{Servers, pairs, talk};
use crate::kernel_vxlan::KernelVxlanNode;
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, ProbeReport, RrReport, Running};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("takeover_device::there_and_back_on_an_offloaded_wire", |s| {
        there_and_back(s, Wire::Offloaded)
    })
    .within(120),
    Entry::new("takeover_device::there_and_back_on_a_framed_wire", |s| {
        there_and_back(s, Wire::Framed)
    })
    .within(120),
    Entry::new("takeover_device::outer_fragments_arrive", outer_fragments).within(120),
    Entry::new("takeover_device::what_was_not_accepted_stays_out", what_was_not_accepted),
    Entry::new("takeover_device::another_device_is_refused", another_device),
    Entry::new("takeover_device::a_deleted_device_comes_back_as_ours", deleted_device),
];

const SUBNETS: [&str; 3] = ["10.244.11.0/24", "10.244.12.0/24", "10.244.13.0/24"];
const BULK: u64 = 20_000_000;
/// More than one swap takes, so that traffic runs before, during and after it.
const SECONDS: f64 = 4.0;

/// Three nodes as flannel has them, with a pod each on its bridge.
struct Before {
    nodes: Vec<KernelVxlanNode>,
    pods: Vec<Pod>,
    _servers: Vec<Servers>,
}

impl Before {
    fn new(lab: &Lab) -> Result<Self> {
        let subnets = SUBNETS.iter().map(|subnet| Ok(subnet.parse()?));
        let subnets = subnets.collect::<Result<Vec<_>>>()?;
        let node = |subnet| KernelVxlanNode::new(lab.node()?, subnet);
        let nodes = subnets.into_iter().map(node).collect::<Result<Vec<_>>>()?;
        nodes.iter().try_for_each(KernelVxlanNode::publish)?;
        nodes.iter().try_for_each(KernelVxlanNode::adopt_leases)?;
        let pods = nodes.iter().map(bridge_pod).collect::<Result<Vec<_>>>()?;
        let servers = pods.iter().map(Servers::start).collect::<Result<_>>()?;
        Ok(Self { nodes, pods, _servers: servers })
    }
}

/// A pod on the bridge, with the reservation that `host-local` makes for it.
fn bridge_pod(node: &KernelVxlanNode) -> Result<Pod> {
    let pod = node.pod("old")?;
    let (address, id) = (pod.address()?, pod.container_id());
    let reservations = "/var/lib/cni/networks/cbr0";
    node.node().shell(&format!(
        "mkdir -p {reservations}; printf '{id}\r\neth0' > {reservations}/{address}"
    ))?;
    Ok(pod)
}

/// 1,000 datagrams a second and a live TCP connection between every two pods.
struct Traffic {
    probes: Vec<Running<Vec<ProbeReport>>>,
    connections: Vec<Running<RrReport>>,
}

impl Traffic {
    fn start(pods: &[Pod]) -> Result<Self> {
        let mut traffic = Self { probes: Vec::new(), connections: Vec::new() };
        for (from, to) in pairs(&pods.iter().collect::<Vec<_>>()) {
            if from.label() < to.label() {
                traffic.probe(from, to)?;
            }
        }
        Ok(traffic)
    }

    fn probe(&mut self, from: &Pod, to: &Pod) -> Result<()> {
        let ip: IpAddr = to.address()?.into();
        self.probes.push(traffic::udp_probe(from, &[ip], 1000, SECONDS)?);
        let line = format!(
            "rr --to {ip}:{} --over tcp --seconds {SECONDS} --pause-us 5000",
            traffic::ECHO_PORT
        );
        self.connections.push(Running::start(from, &line, "")?);
        Ok(())
    }

    /// Every datagram came back, and no connection stood still or broke.
    fn finish(self, scenario: &Scenario, what: &str) -> Result<()> {
        let (mut sent, mut gap) = (0, 0.0_f64);
        for probe in self.probes {
            for report in probe.finish()? {
                ensure!(report.lost + report.refused == 0, "{what}: {report:?}");
                sent += report.sent;
                gap = gap.max(report.max_gap_ms);
            }
        }
        for connection in self.connections {
            let report = connection.finish()?;
            ensure!(report.p99_us < 200_000.0, "{what}: a connection stood still: {report:?}");
        }
        ensure!(sent > 0, "{what}: nothing was sent");
        scenario.note(format!("{what}: {sent} datagrams, none lost, longest gap {gap:.1} ms"));
        Ok(())
    }
}

fn there_and_back(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let before = Before::new(&lab)?;
    let mut agents = Vec::new();
    for node in &before.nodes {
        agents.push(take_over(scenario, node, &before.pods)?);
    }
    let mut pods = before.pods.clone();
    for node in &before.nodes {
        let pod = node.node().pod("new")?;
        pod.cni_add()?;
        pods.push(pod);
    }
    let _servers = pods[3..].iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let started = Instant::now();
    for (from, to) in pairs(&pods.iter().collect::<Vec<_>>()) {
        talk(from, to, BULK / 10)?;
    }
    scenario.note(format!("old and new pods, all pairs talk: {:?}", started.elapsed()));
    merged_segments_come_through_the_device(scenario, &before)?;
    let first = before.nodes.first().context("no node")?;
    give_back(scenario, first, agents.remove(0), &pods)
}

/// Starts the agent under traffic.
fn take_over(scenario: &Scenario, node: &KernelVxlanNode, pods: &[Pod]) -> Result<Agent> {
    let device = |node: &Node| node.run("ip -o link show dev flannel.1");
    let name = node.node().name();
    let before = device(node.node())?;
    let traffic = Traffic::start(pods)?;
    thread::sleep(Duration::from_millis(700));
    let started = Instant::now();
    let agent = node.node().start_agent()?;
    scenario.note(format!("{name}: ready after {:?}", started.elapsed()));
    traffic.finish(scenario, &format!("{name} taken over"))?;
    let after = device(node.node())?;
    ensure!(before == after, "the device changed: {before} is now {after}");
    only_one_route(node)?;
    Ok(agent)
}

/// One route for the pod network, none to a single peer; flannel's entries are untouched.
fn only_one_route(node: &KernelVxlanNode) -> Result<()> {
    let routes = node.node().run("ip route show dev flannel.1")?;
    ensure!(
        routes.lines().count() == 1 && routes.contains("10.244.0.0/16 via 169.254.1.1"),
        "routes: {routes}"
    );
    let fdb = node.node().run("bridge fdb show dev flannel.1")?;
    ensure!(fdb.lines().count() == 2, "forwarding entries: {fdb}");
    let hooks = traffic::hooks(node.node(), "flannel.1")?;
    ensure!(hooks.len() == 2, "hooks: {hooks:?}");
    Ok(())
}

/// GSO packets for pods on a bridge are decapsulated by the kernel's device, which gives no tunnel
/// key: the guard knows them by their tag.
fn merged_segments_come_through_the_device(scenario: &Scenario, before: &Before) -> Result<()> {
    let (from, to) = (&before.pods[0], &before.pods[1]);
    let node = before.nodes[1].node();
    let (paths, drops) = (node.paths()?, node.drops()?);
    let started = Instant::now();
    let sent = traffic::tcp_bytes(from, to.address()?.into(), BULK * 10)?;
    let (paths, drops) = (node.paths()?.since(&paths), node.drops()?.since(&drops));
    scenario.note(format!("{} bytes in {:?}: {paths:?}", sent.sent, started.elapsed()));
    ensure!(sent.intact, "{sent:?}");
    ensure!(paths.get("uplink-to-device") > 100, "left to the device: {paths:?}");
    ensure!(drops.total() == 0, "refused: {drops:?}");
    Ok(())
}

/// What flannel does at its start, then `tartanctl cleanup`, all under traffic.
fn give_back(
    scenario: &Scenario,
    node: &KernelVxlanNode,
    agent: Agent,
    pods: &[Pod],
) -> Result<()> {
    let traffic = Traffic::start(pods)?;
    thread::sleep(Duration::from_millis(500));
    agent.stop(Signal::SIGTERM)?;
    node.adopt_leases()?;
    let said = checked(node.node().product("tartanctl")?.arg("cleanup"))?;
    traffic.finish(scenario, &format!("{} given back", node.node().name()))?;
    ensure!(said.contains("neighbour 169.254.1.1 from flannel.1"), "{said}");
    let shown = node.node().run("ip address show dev flannel.1")?;
    ensure!(
        shown.contains("10.244.11.0/32") && !shown.contains("10.244.11.1/32"),
        "addresses: {shown}"
    );
    let left = node.node().shell(
        "ip neigh show 169.254.1.1; ip route show proto 84; \
         ls -d /sys/fs/bpf/tartan /run/flannel/tartan.json 2>/dev/null || true",
    )?;
    ensure!(left.trim().is_empty(), "left: {left}");
    ensure!(node.node().path("/run/flannel/subnet.env").exists(), "subnet.env is flannel's");
    ensure!(traffic::hooks(node.node(), "flannel.1")?.is_empty(), "programs on flannel.1");
    let all: Vec<_> = pods.iter().collect();
    pairs(&all).into_iter().try_for_each(|(from, to)| talk(from, to, BULK / 10))
}

/// A path MTU below that of the links: the router fragments outer packets, and what the kernel
/// reassembles comes up without a key.
fn outer_fragments(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Routed { path_mtu: 1400 })?;
    let before = Before::new(&lab)?;
    let _agents =
        before.nodes.iter().map(|node| node.node().start_agent()).collect::<Result<Vec<_>>>()?;
    for (from, to) in pairs(&before.pods.iter().collect::<Vec<_>>()) {
        from.run(&format!("ping -n -c 20 -i 0.01 -W 2 -s 1400 {}", to.address()?))?;
        talk(from, to, BULK / 10)?;
    }
    Ok(())
}

/// The device knows no sender: what came by another way than the uplink's hook is refused.
fn what_was_not_accepted(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let before = Before::new(&lab)?;
    let node = before.nodes[0].node();
    let agent = node.start_agent()?;
    let (from, to) = (&before.pods[1], before.pods[0].address()?);
    let ping = format!("ping -n -c 1 -W 1 {to}");
    ensure!(from.succeeds(&ping)?, "the uplink's hook is in place and accepts");
    agent.stop(Signal::SIGTERM)?;
    node.run("rm /sys/fs/bpf/tartan/links/uplink_ingress")?;
    eventually("the hook is gone", Duration::from_secs(5), || {
        Ok(traffic::hooks(node, "eth0")?.is_empty())
    })?;
    let drops = node.drops()?;
    ensure!(!from.succeeds(&ping)?, "an unjudged packet came through");
    let drops = node.drops()?.since(&drops);
    scenario.note(format!("{drops:?}"));
    ensure!(drops.get("no-tunnel-key") > 0, "{drops:?}");
    let _agent = node.start_agent()?;
    ensure!(from.succeeds(&ping)?, "the agent puts the hook back");
    Ok(())
}

fn another_device(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    for (make, word) in [
        ("type bridge", "not a vxlan device"),
        ("type vxlan id 7 dev eth0 dstport 8472", "VNI 7 instead of 1"),
        ("type vxlan id 1 dev eth0 dstport 4789", "UDP port 4789 instead of 8472"),
    ] {
        node.run(&format!("ip link add flannel.1 {make}"))?;
        let shown = node.run("ip -d link show dev flannel.1")?;
        let log = refused(&node, word)?;
        ensure!(log.contains("ip link del flannel.1"), "{log}");
        ensure!(shown == node.run("ip -d link show dev flannel.1")?, "the device changed");
        node.run("ip link del flannel.1")?;
        scenario.note(format!("{make}: refused"));
    }
    Ok(())
}

/// What the agent says, whether it ends over the device or tries again.
fn refused(node: &Node, word: &str) -> Result<String> {
    let agent = node.start_agent_with(&[])?;
    let said = eventually("the agent complains", Duration::from_secs(10), || {
        Ok(agent.log_tail().contains(word))
    });
    let log = agent.log_tail();
    said.with_context(|| log.clone())?;
    ensure!(!agent.is_ready(), "ready all the same: {log}");
    Ok(log)
}

fn deleted_device(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let before = Before::new(&lab)?;
    let node = before.nodes[0].node();
    let _agent = node.start_agent()?;
    let mac = crate::pod::link_mac(node, "flannel.1")?;
    node.run("ip link del flannel.1")?;
    let is_ours = || {
        let shown = node.shell("ip -d link show dev flannel.1 || true")?;
        Ok(shown.contains("external"))
    };
    eventually("the device comes back as ours", Duration::from_secs(5), is_ours)?;
    ensure!(crate::pod::link_mac(node, "flannel.1")? == mac, "with another MAC address");
    let (from, to) = (&before.pods[1], &before.pods[0]);
    let ping = format!("ping -n -c 1 -W 1 {}", to.address()?);
    eventually("packets arrive", Duration::from_secs(5), || from.succeeds(&ping))?;
    talk(from, to, BULK)?;
    talk(to, from, BULK)
}
