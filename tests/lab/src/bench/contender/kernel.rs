//! What the kernel does by itself: its own sockets, routes between bridges, vxlan between bridges.

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;

use super::Pair;
use crate::bench::ground::Ground;
use crate::kernel_vxlan::KernelVxlanNode;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::Place as _;

const VXLAN: [&str; 3] = ["10.245.0.0/16", "10.245.1.0/24", "10.245.2.0/24"];
const HOST_GW: [&str; 3] = ["10.246.0.0/16", "10.246.1.0/24", "10.246.2.0/24"];
const BRIDGE: &str = "cni0";
/// That of the uplink: nothing is put in front of a packet.
const MTU: u16 = 1500;

pub(super) fn host(ground: &Ground) -> Result<Pair> {
    let nodes: [Node; 2] = ground.lab.nodes()?;
    let [one, two] = nodes.clone();
    let address = two.address().into();
    Ok(Pair { from: Box::new(one), to: Box::new(two), address, nodes, held: Vec::new() })
}

pub(super) fn vxlan(ground: &Ground) -> Result<Pair> {
    let [network, first, second] = VXLAN;
    let one = KernelVxlanNode::new(ground.lab.node()?, first.parse()?)?;
    let two = KernelVxlanNode::new(ground.lab.node()?, second.parse()?)?;
    one.add_peer(two.lease())?;
    two.add_peer(one.lease())?;
    for node in [&one, &two] {
        node.masquerade(network.parse()?)?;
    }
    let (from, to) = (one.pod("a")?, two.pod("a")?);
    let nodes = [one.node().clone(), two.node().clone()];
    pair(from, to, nodes)
}

/// As flannel's backend `host-gw` and its bridge set nodes of one link up.
pub(super) fn host_gw(ground: &Ground) -> Result<Pair> {
    let [network, subnets @ ..] = HOST_GW;
    let (network, nodes): (Ipv4Net, [Node; 2]) = (network.parse()?, ground.lab.nodes()?);
    let [one, two] = subnets.map(str::parse::<Ipv4Net>);
    let (one, two) = (one?, two?);
    let [first, second] = &nodes;
    let from = bridged_pod(first, one)?;
    let to = bridged_pod(second, two)?;
    for (node, own, peer, peers) in [(first, one, second, two), (second, two, first, one)] {
        node.run(&format!("ip route add {peers} via {} dev eth0", peer.address()))?;
        masquerade(node, network, own)?;
    }
    pair(from, to, nodes)
}

fn pair(from: Pod, to: Pod, nodes: [Node; 2]) -> Result<Pair> {
    let address = to.address()?.into();
    Ok(Pair { from: Box::new(from), to: Box::new(to), address, nodes, held: Vec::new() })
}

/// A bridge with the subnet's first address, and a pod with its second one.
fn bridged_pod(node: &Node, subnet: Ipv4Net) -> Result<Pod> {
    let mut hosts = subnet.hosts();
    let (gateway, own) = (hosts.next(), hosts.next());
    let (gateway, own) = gateway.zip(own).context("the subnet has no room for a pod")?;
    let length = subnet.prefix_len();
    node.sysctl("net.ipv4.ip_forward", "1")?;
    node.run(&format!("ip link add {BRIDGE} mtu {MTU} type bridge forward_delay 0"))?;
    node.run(&format!("ip address add {gateway}/{length} dev {BRIDGE}"))?;
    node.run(&format!("ip link set {BRIDGE} up"))?;
    let pod = node.pod("a")?;
    pod.link("veth0001", Ipv4Net::new(own, length)?, MTU)?;
    node.run(&format!("ip link set veth0001 master {BRIDGE}"))?;
    node.run("bridge link set dev veth0001 hairpin on")?;
    Ok(pod)
}

/// flannel's masquerade and forward rules, as [`KernelVxlanNode::masquerade`] makes them.
fn masquerade(node: &Node, network: Ipv4Net, subnet: Ipv4Net) -> Result<()> {
    for rule in [
        format!("-t nat -A POSTROUTING -s {subnet} -d {network} -j RETURN"),
        format!("-t nat -A POSTROUTING -s {network} -d {subnet} -j RETURN"),
        format!("-t nat -A POSTROUTING -s {network} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully"),
        format!("-t nat -A POSTROUTING ! -s {network} -d {network} -j MASQUERADE --random-fully"),
        format!("-A FORWARD -s {network} -j ACCEPT"),
        format!("-A FORWARD -d {network} -j ACCEPT"),
    ] {
        node.run(&format!("iptables -w {rule}"))?;
    }
    Ok(())
}
