//! Uplinks as people have them, and what becomes of them under a running agent: traffic is back
//! within a second of the link, and nobody restarts anything.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::agent::Agent;
use crate::cluster::{Servers, talk};
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::paths;
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario, skip};
use crate::wire::{GATEWAY, Outside, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("uplinks::down_and_up_again", |s| both_ways(s, down_and_up)).long(),
    Entry::new("uplinks::renamed", |s| both_ways(s, renamed)).long(),
    Entry::new("uplinks::its_mtu_changes", |s| both_ways(s, smaller)).long(),
    Entry::new("uplinks::its_address_changes", |s| both_ways(s, moved)).long(),
    Entry::new("uplinks::a_bridge", |s| both_ways(s, bridged)).long(),
    Entry::new("uplinks::jumbo_frames", |s| both_ways(s, jumbo)).long(),
    // These two run where the kernel has such links: `cargo xtask test --kernels`.
    Entry::new("uplinks::a_bond_loses_a_link", |s| both_ways(s, bonded)).within(200).long(),
    Entry::new("uplinks::a_vlan", |s| both_ways(s, tagged)).within(200).long(),
];

/// How soon traffic is back once the link is.
const BACK: Duration = Duration::from_secs(1);
/// How long it is waited for at all.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two nodes with an agent and a pod each; the first one's uplink is what changes.
struct Pair {
    nodes: [Node; 2],
    pods: [Pod; 2],
    _agents: [Agent; 2],
    _servers: [Servers; 2],
}

impl Pair {
    /// `interface` is what the first node's agent is told.
    fn new(nodes: [Node; 2], backend: &str, interface: &str) -> Result<Self> {
        Self::on(nodes, backend, [interface, "eth0"])
    }

    /// With what each agent is told; names with commas between are several flags.
    fn on(nodes: [Node; 2], backend: &str, interfaces: [&str; 2]) -> Result<Self> {
        let conf = format!(r#"{{"Network":"10.244.0.0/16","FastPath":"on","Backend":{backend}}}"#);
        let start = |node: &Node, interface: &str| -> Result<Agent> {
            node.write(NET_CONF, &conf)?;
            let mut flags = vec!["--lease-dir", paths::LEASES, "--net-config-path", NET_CONF];
            let interfaces = interface.split(',').map(|name| format!("--iface={name}"));
            let interfaces: Vec<_> = interfaces.collect();
            flags.extend(interfaces.iter().map(String::as_str));
            let program = paths::binary("tartand")?;
            let name = [("NODE_NAME", node.name())];
            let mut agent = node.start_agent_as(&program.to_string_lossy(), &flags, &name)?;
            agent.wait_ready()?;
            Ok(agent)
        };
        let agents = [start(&nodes[0], interfaces[0])?, start(&nodes[1], interfaces[1])?];
        let pod = |node: &Node| -> Result<Pod> {
            let pod = node.pod("a")?;
            pod.cni_add()?;
            Ok(pod)
        };
        let pods = [pod(&nodes[0])?, pod(&nodes[1])?];
        let servers = [Servers::start(&pods[0])?, Servers::start(&pods[1])?];
        let this = Self { nodes, pods, _agents: agents, _servers: servers };
        eventually("the pods reach each other", PATIENCE, || this.reaches())?;
        Ok(this)
    }

    fn reaches(&self) -> Result<bool> {
        let ping = |from: &Pod, to: &Pod| -> Result<bool> {
            from.succeeds(&format!("ping -n -c 1 -W 0.1 {}", to.address()?))
        };
        Ok(ping(&self.pods[0], &self.pods[1])? && ping(&self.pods[1], &self.pods[0])?)
    }

    /// Waits until traffic is back, at most a second after `since`, and looks closely then.
    fn is_back(&self, scenario: &Scenario, what: &str, since: Instant) -> Result<()> {
        eventually(&format!("traffic is back after: {what}"), PATIENCE, || self.reaches())?;
        let took = since.elapsed();
        scenario.note(format!("{what}: back after {took:?}"));
        ensure!(took <= BACK, "{what}: {took:?}");
        self.talk()
    }

    /// Talks, and looks whether that went by the fast path.
    fn talk_fast(&self, scenario: &Scenario) -> Result<()> {
        self.talk()?;
        let paths = self.nodes[0].paths()?;
        scenario.note(format!("{paths:?}"));
        let fast = ["pod-remote-fast", "pod-direct-fast"].iter().map(|path| paths.get(path));
        ensure!(fast.sum::<u64>() > 50, "nothing went fast: {paths:?}");
        Ok(())
    }

    fn talk(&self) -> Result<()> {
        talk(&self.pods[0], &self.pods[1], 500_000)?;
        talk(&self.pods[1], &self.pods[0], 500_000)
    }
}

type Change = fn(&Scenario, &Lab, &str) -> Result<()>;

/// With a tunnel and without.
fn both_ways(scenario: &mut Scenario, change: Change) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    for backend in [r#"{"Type":"vxlan"}"#, r#"{"Type":"host-gw"}"#] {
        scenario.note(backend);
        change(scenario, &lab, backend)?;
    }
    Ok(())
}

fn down_and_up(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let pair = Pair::new(lab.nodes()?, backend, "eth0")?;
    let node = &pair.nodes[0];
    node.run("ip link set eth0 down")?;
    ensure!(!pair.reaches()?, "traffic without a link");
    node.run("ip link set eth0 up")?;
    pair.is_back(scenario, "down and up", Instant::now())
}

fn renamed(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let pair = Pair::new(lab.nodes()?, backend, "eth0,uplink0")?;
    let node = &pair.nodes[0];
    node.run("ip link set eth0 down")?;
    node.run("ip link set eth0 name uplink0")?;
    node.run("ip link set uplink0 up")?;
    pair.is_back(scenario, "renamed", Instant::now())
}

fn smaller(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let pair = Pair::new(lab.nodes()?, backend, "eth0")?;
    let node = &pair.nodes[0];
    let overhead = if backend.contains("vxlan") { 50 } else { 0 };
    for mtu in [1400, 1500] {
        node.run(&format!("ip link set eth0 mtu {mtu}"))?;
        let since = Instant::now();
        let wanted = format!("FLANNEL_MTU={}\n", mtu - overhead);
        eventually("subnet.env has the new MTU", PATIENCE, || {
            Ok(node.read("/run/flannel/subnet.env")?.contains(&wanted))
        })?;
        pair.is_back(scenario, &format!("MTU {mtu}"), since)?;
    }
    Ok(())
}

fn moved(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let pair = Pair::new(lab.nodes()?, backend, "eth0")?;
    let node = &pair.nodes[0];
    let [_, _, _, last] = node.address().octets();
    let new = Ipv4Addr::new(172, 30, 0, 200 + last % 50);
    node.run(&format!("ip address add {new}/24 dev eth0"))?;
    node.run(&format!("ip address del {}/24 dev eth0", node.address()))?;
    // The kernel took the first address's route along, or gave its place to the second.
    node.run(&format!("ip address replace {new}/24 dev eth0"))?;
    node.run(&format!("ip route replace default via {GATEWAY} dev eth0"))?;
    let since = Instant::now();
    // Until the agents have followed, packets still go to the old address and are taken there.
    eventually("the other node knows the new address", PATIENCE, || {
        let peers = pair.nodes[1].peer_rows()?;
        Ok(peers.values().any(|row| row.node == new))
    })?;
    pair.is_back(scenario, "another address", since)
}

fn bridged(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let nodes: [Node; 2] = lab.nodes()?;
    let node = &nodes[0];
    node.run("ip link add br0 type bridge forward_delay 0")?;
    node.run("ip address flush dev eth0")?;
    node.run("ip link set eth0 master br0")?;
    use_link(node, "br0")?;
    Pair::new(nodes, backend, "br0")?.talk_fast(scenario)
}

/// Adds a link of a kind that not every kernel has.
fn add(node: &Node, link: &str) -> Result<()> {
    if node.succeeds(&format!("ip link add {link}"))? {
        return Ok(());
    }
    Err(skip(format!("this kernel has no such link: ip link add {link}")))
}

/// Two NICs, one of them in use; its cable is pulled, and the other one takes over.
fn bonded(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let nodes: [Node; 2] = lab.nodes()?;
    let node = &nodes[0];
    let (first, second) = (format!("up-{}", node.name()), format!("up2-{}", node.name()));
    add(node, "bond0 type bond mode active-backup miimon 20")?;
    let to = node.pid();
    Outside.run(&format!("ip link add {second} type veth peer name eth1 netns {to}"))?;
    Outside.run(&format!("ip link set {second} master wire0 up"))?;
    node.run("ip address flush dev eth0")?;
    for nic in ["eth0", "eth1"] {
        node.run(&format!("ip link set {nic} down"))?;
        node.run(&format!("ip link set {nic} master bond0"))?;
    }
    node.run("ip link set bond0 type bond primary eth0")?;
    use_link(node, "bond0")?;
    let pair = Pair::new(nodes, backend, "bond0")?;
    pair.talk_fast(scenario)?;
    Outside.run(&format!("ip link set {first} down"))?;
    pair.is_back(scenario, "the bond's other link", Instant::now())
}

/// Nodes whose traffic is tagged; the tag is the link's matter, and the programs see none.
fn tagged(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let nodes: [Node; 2] = lab.nodes()?;
    for node in &nodes {
        add(node, "link eth0 name eth0.7 type vlan id 7")?;
        node.run("ip address flush dev eth0")?;
        use_link(node, "eth0.7")?;
    }
    Pair::on(nodes, backend, ["eth0.7", "eth0.7"])?.talk_fast(scenario)
}

/// Gives the node's address and its default route to another link.
fn use_link(node: &Node, link: &str) -> Result<()> {
    node.run(&format!("ip link set {link} up"))?;
    node.run(&format!("ip address add {}/24 dev {link}", node.address()))?;
    node.run(&format!("ip route add default via {GATEWAY} dev {link}")).map(drop)
}

fn jumbo(scenario: &Scenario, lab: &Lab, backend: &str) -> Result<()> {
    let nodes: [Node; 2] = lab.nodes()?;
    for node in &nodes {
        Outside.run(&format!("ip link set up-{} mtu 9000", node.name()))?;
        node.run("ip link set eth0 mtu 9000")?;
    }
    Outside.run("ip link set wire0 mtu 9000")?;
    let pair = Pair::new(nodes, backend, "eth0")?;
    pair.talk()?;
    let overhead = if backend.contains("vxlan") { 50 } else { 0 };
    let largest = 9000 - overhead - 28;
    let [from, to] = &pair.pods;
    let ip = to.address()?;
    from.run(&format!("ping -n -M do -c 1 -W 1 -s {largest} {ip}"))?;
    let more = largest + 1;
    ensure!(!from.succeeds(&format!("ping -n -M do -c 1 -W 1 -s {more} {ip}"))?, "too big, but");
    scenario.note(format!("{:?}", pair.nodes[0].paths()?));
    Ok(())
}
