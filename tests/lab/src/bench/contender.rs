//! Who is measured: four pairs of nodes on one wire.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use serde::Serialize;

use super::wires::WireKind;
use crate::cluster::Member;
use crate::kernel_vxlan::KernelVxlanNode;
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::process::Place;

/// A way for packets from one node's end to another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Name {
    /// Sockets of the nodes themselves.
    Host,
    /// Pods on a bridge, the kernel's vxlan between the nodes, as flannel sets them up.
    KernelVxlan,
    /// Tartan with `FastPath: on`.
    TartanFast,
    /// Tartan with `FastPath: off`.
    TartanStack,
}

impl Name {
    pub(super) const ALL: [Self; 4] =
        [Self::Host, Self::KernelVxlan, Self::TartanFast, Self::TartanStack];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::KernelVxlan => "kernel vxlan",
            Self::TartanFast => "Tartan fast",
            Self::TartanStack => "Tartan stack",
        }
    }
}

/// One pair of nodes and the two places between which traffic flows.
pub(super) struct Contender {
    pub(super) name: Name,
    pub(super) from: Box<dyn Place>,
    pub(super) to: Box<dyn Place>,
    pub(super) address: IpAddr,
    pub(super) nodes: [Node; 2],
    /// The agents run as long as this lives.
    members: Vec<Member>,
}

/// The pods' network of the Tartan nodes.
const TARTAN_NETWORK: &str = "10.244.0.0/16";
/// The pods' network of the kernel vxlan nodes.
const KERNEL_NETWORK: &str = "10.245.0.0/16";

impl Contender {
    pub(super) fn new(name: Name, lab: &Lab) -> Result<Self> {
        let made = match name {
            Name::Host => host(lab),
            Name::KernelVxlan => kernel_vxlan(lab),
            Name::TartanFast => tartan(lab, name, "on"),
            Name::TartanStack => tartan(lab, name, "off"),
        };
        let this = made.with_context(|| format!("cannot set up {}", name.text()))?;
        for node in &this.nodes {
            node.track_connections()?;
        }
        Ok(this)
    }

    pub(super) fn set_wire(&self, wire: WireKind) -> Result<()> {
        self.nodes.iter().try_for_each(|node| wire.set(node))
    }

    /// Whether the nodes run Tartan.
    pub(super) fn is_tartan(&self) -> bool {
        !self.members.is_empty()
    }

    /// Entries of the first node's connection tracking.
    pub(super) fn tracked(&self) -> Result<u64> {
        let [node, _] = &self.nodes;
        let text = node.run("cat /proc/sys/net/netfilter/nf_conntrack_count")?;
        text.trim().parse().context("no number of tracked connections")
    }
}

fn host(lab: &Lab) -> Result<Contender> {
    let nodes: [Node; 2] = lab.nodes()?;
    let [one, two] = nodes.clone();
    let address = two.address().into();
    Ok(Contender {
        name: Name::Host,
        from: Box::new(one),
        to: Box::new(two),
        address,
        nodes,
        members: Vec::new(),
    })
}

fn kernel_vxlan(lab: &Lab) -> Result<Contender> {
    let one = KernelVxlanNode::new(lab.node()?, "10.245.1.0/24".parse()?)?;
    let two = KernelVxlanNode::new(lab.node()?, "10.245.2.0/24".parse()?)?;
    one.add_peer(two.lease())?;
    two.add_peer(one.lease())?;
    for node in [&one, &two] {
        node.masquerade(KERNEL_NETWORK.parse()?)?;
    }
    let (from, to) = (one.pod("a")?, two.pod("a")?);
    let address = to.address()?.into();
    let nodes = [one.node().clone(), two.node().clone()];
    let (from, to) = (Box::new(from), Box::new(to));
    Ok(Contender { name: Name::KernelVxlan, from, to, address, nodes, members: Vec::new() })
}

fn tartan(lab: &Lab, name: Name, fast_path: &str) -> Result<Contender> {
    let nodes: [Node; 2] = lab.nodes()?;
    let mut members = Vec::new();
    for node in &nodes {
        node.write(NET_CONF, &net_conf(fast_path))?;
        let member = Member::new(node.clone(), 1)?;
        masquerade(node, member.subnet()?)?;
        members.push(member);
    }
    let pod = |number: usize| {
        let pod = members.get(number).and_then(|member| member.pods.first());
        pod.cloned().context("no such pod")
    };
    let (from, to) = (pod(0)?, pod(1)?);
    let address = to.address()?.into();
    Ok(Contender { name, from: Box::new(from), to: Box::new(to), address, nodes, members })
}

fn net_conf(fast_path: &str) -> String {
    serde_json::json!({
        "Network": TARTAN_NETWORK,
        "FastPath": fast_path,
        "Backend": { "Type": "vxlan", "VNI": 1, "Port": 8472 },
    })
    .to_string()
}

/// The same rules as [`KernelVxlanNode::masquerade`] makes: what goes through the host stack
/// meets as many of them.
fn masquerade(node: &Node, subnet: Ipv4Net) -> Result<()> {
    let network = TARTAN_NETWORK;
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
